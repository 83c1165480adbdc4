from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import (
    random_head_dim_absent,
    random_layer_types,
    random_rope,
    random_rope_parameters,
    random_sizes,
)
from families.ranking import sigmoid_top_k
from families.shapes import Shapes, biased_attention, decoder, is_dense, next_token_layer
from families.spoil import correction_in_weights, correction_without_effect

BASE: Config = {
    "architectures": ["HYV3ForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 62,
    "enable_attention_fp32_softmax": False,
    "enable_lm_head_fp32": True,
    "enable_moe_fp32_combine": False,
    "eos_token_id": 63,
    "expert_hidden_dim": 12,
    "first_k_dense_replace": 1,
    "head_dim": 16,
    "intermediate_size": 24,
    "mlp_bias": False,
    "moe_intermediate_size": 12,
    "moe_router_enable_expert_bias": True,
    "moe_router_use_sigmoid": True,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 1,
    "num_shared_experts": 1,
    "pad_token_id": 61,
    "qk_norm": True,
    "rms_norm_eps": 1e-05,
    "rope_parameters": {"rope_theta": 11158840.0, "rope_type": "default"},
    "route_norm": True,
    "router_scaling_factor": 2.826,
    "transformers_version": "5.6.0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    biased_attention(s, layer, {"head_dim": 128, **c}, n, "head")


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    """mlp_bias is for the dense layers and the shared experts."""
    block, hidden, bias = f"{layer}.mlp", int(c["hidden_size"]), bool(c.get("mlp_bias"))
    if is_dense(c, n, 1):
        s.gated_mlp(block, c["intermediate_size"], hidden, bias=bias)
        return
    width = int(c["moe_intermediate_size"])
    s.linear(f"{block}.router.gate", c["num_experts"], hidden)
    s[f"{block}.expert_bias"] = (c["num_experts"],)
    s.experts(block, c["num_experts"], width, hidden)
    s.gated_mlp(f"{block}.shared_mlp", width * int(c.get("num_shared_experts", 1)), hidden, bias=bias)


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "enable_moe_fp32_combine": d.one(True, False, ABSENT),
        "first_k_dense_replace": d.one(0, 1, 2, ABSENT),  # of no effect
        "intermediate_size": d.within(5, 90),
        "mlp_bias": d.one(True, False, ABSENT),
        "moe_intermediate_size": d.within(5, 70),
        "num_shared_experts": d.one(1, 2, 3, ABSENT),
        "router_scaling_factor": d.one(2.826, 1.0, 0.5, ABSENT),
    }
    random_sizes(d, c, own_head_dim=True)
    random_head_dim_absent(d, c)
    c["mlp_layer_types"] = random_layer_types(d, c["num_hidden_layers"], "dense", "sparse")
    form = d.one("v4", "v5", "absent")
    c["rope_parameters"] = random_rope_parameters(d, c) if form == "v5" else ABSENT
    if form == "v4":
        random_rope(d, c)
    return c


ONE_MOE: Config = {**ONE, "mlp_layer_types": ["sparse"]}
CASES = (
    case("default", without={"router_scaling_factor": 1.0}, spoil=correction_in_weights),
    case(
        "bias",
        {
            "attention_bias": True,
            "mlp_bias": True,
            "mlp_layer_types": ["sparse", "dense", "sparse"],
            "num_experts": 4,
            "num_hidden_layers": 3,
            "num_shared_experts": 2,
        },
        {"mlp_bias": False},
        layout="mlx",
        style="v5",
    ),
    # layer 1 has experts, whatever first_k_dense_replace says
    case(
        "absent",
        {
            "attention_bias": ABSENT,
            "first_k_dense_replace": 2,
            "head_dim": ABSENT,
            "mlp_bias": ABSENT,
            "num_attention_heads": 1,
            "num_experts": 4,
            "num_key_value_heads": 1,
            "num_shared_experts": ABSENT,
            "rms_norm_eps": ABSENT,
            "rope_parameters": ABSENT,
            "router_scaling_factor": ABSENT,
        },
        {"rope_theta": 10000.0},
        layout="fused",
        n_prompt=30,
    ),
    case(
        "negative-bias",
        {**ONE_MOE, "num_experts_per_tok": 3},
        spoil=correction_without_effect,
        draws={"expert_bias": (-1.5, 0.2)},
        layout="fused",
        style="v5",
        shards=2,
    ),
    case("mtp", ONE_MOE, mtp=True, shards=2, unaligned=True),
    case(
        "odd",
        {
            **ONE_MOE,
            "head_dim": 10,
            "hidden_size": 40,
            "moe_intermediate_size": 19,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
            "rms_norm_eps": 0.01,
            "tie_word_embeddings": True,
            "vocab_size": 61,
            "bos_token_id": 0,
            "eos_token_id": 60,
            "pad_token_id": 1,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F16",),
        layout="mlx",
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="hy_v3",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=sigmoid_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 128,
        "mlp_layer_types": ["sparse"],
        "moe_intermediate_size": 24,
        "num_experts": 8,
        "pad_token_id": 29,
    },
    structure={"num_experts": 4, "attention_bias": True, "mlp_bias": True},
    fused_names=(
        (".mlp.router.gate.", ".mlp.gate."),
        (".mlp.expert_bias", ".mlp.e_score_correction_bias"),
        (".mlp.shared_mlp.", ".mlp.shared_experts."),
    ),
    f32=("expert_bias",),
    draws={"expert_bias": (0.0, 0.2)},
    mtp=partial(next_token_layer, attention=attention, ffn=ffn),
)
