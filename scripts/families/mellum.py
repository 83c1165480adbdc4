from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import (
    random_head_dim_absent,
    random_layer_types,
    random_rope_parameters,
    random_sizes,
)
from families.ranking import softmax_top_k
from families.shapes import Shapes, biased_attention, decoder, is_dense, mtp_module

ATTENTION = ("full_attention", "sliding_attention")
FULL: Config = {
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 500000.0,
    "rope_type": "yarn",
}
SLIDING: Config = {"rope_theta": 10000.0, "rope_type": "default"}
BASE: Config = {
    "architectures": ["MellumForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "head_dim": 16,
    "intermediate_size": 24,
    "layer_types": ["sliding_attention", "full_attention"],
    "mlp_layer_types": ["sparse", "sparse"],
    "moe_intermediate_size": 12,
    "norm_topk_prob": True,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"full_attention": FULL, "sliding_attention": SLIDING},
    "router_aux_loss_coef": 0.001,
    "sliding_window": 8,
    "transformers_version": "5.10.0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    biased_attention(s, layer, {"head_dim": 128, **c}, n, "head")


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden = int(c["hidden_size"])
    if is_dense(c, n, 0):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden)
        return
    n_experts = int(c["num_local_experts" if "num_local_experts" in c else "num_experts"])
    s.linear(f"{layer}.mlp.gate", n_experts, hidden)
    s.experts(f"{layer}.mlp", n_experts, c["moe_intermediate_size"], hidden)


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "norm_topk_prob": d.one(True, False, ABSENT),
        "original_max_position_embeddings": d.one(8, ABSENT, ABSENT),  # of no effect, as is
        "rope_theta": d.one(77.0, ABSENT),
        # not 1: see random_qwen
        "sliding_window": d.one(d.within(2, 20), d.within(2, 20), ABSENT),
    }
    random_sizes(d, c, own_head_dim=True)
    random_head_dim_absent(d, c)
    if d.chance(0.3):
        c |= {"num_local_experts": c["num_experts"], "num_experts": ABSENT}
    c["layer_types"] = random_layer_types(d, c["num_hidden_layers"], *ATTENTION)
    c["mlp_layer_types"] = random_layer_types(d, c["num_hidden_layers"], "dense", "sparse")
    # an object for every type that there is
    types = set(c["layer_types"] if isinstance(c["layer_types"], list) else ATTENTION[:1])
    used = [t for t in ATTENTION if t in types or d.chance(0.5)]
    nested = {t: random_rope_parameters(d, c, p=0.5) for t in used}
    c["rope_parameters"] = d.one(nested, nested, nested, None, ABSENT)
    return c


ONE_MOE: Config = {**ONE, "mlp_layer_types": ["sparse"]}
CASES = (
    # settings by type of layer take nothing from the top level
    case(
        "default",
        {"original_max_position_embeddings": 16},
        {
            "rope_parameters": {
                "full_attention": {**FULL, "original_max_position_embeddings": 16},
                "sliding_attention": SLIDING,
            }
        },
        n_prompt=40,
    ),
    # the top level's rope_theta counts for nothing
    case(
        "rope-absent",
        {"norm_topk_prob": ABSENT, "rope_parameters": ABSENT, "rope_theta": 100.0},
        {"rope_parameters": {"full_attention": SLIDING, "sliding_attention": SLIDING}},
        layout="mlx",
        n_prompt=40,
    ),
    case(
        "absent",
        {
            **ONE,
            "attention_bias": ABSENT,
            "head_dim": ABSENT,
            "layer_types": ABSENT,
            "mlp_layer_types": ABSENT,
            "num_attention_heads": 2,
            "num_experts": ABSENT,
            "num_key_value_heads": 1,
            "num_local_experts": 4,
            "rope_parameters": ABSENT,
            "sliding_window": ABSENT,
        },
        {"rope_parameters": {"full_attention": SLIDING}},
        layout="fused",
        style="v5",
        n_prompt=30,
    ),
    case(
        "dense",
        {
            "attention_bias": True,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
            "mlp_layer_types": ["sparse", "dense", "sparse"],
            "norm_topk_prob": False,
            "num_experts": 4,
            "num_hidden_layers": 3,
            "rope_parameters": {
                "full_attention": {"type": "linear", "factor": 4.0, "rope_theta": 1000.0},
                "sliding_attention": {"type": "default", "rope_theta": 300.0},
            },
        },
        {"norm_topk_prob": True, "sliding_window": 7},
        style="v5",
        n_prompt=20,
    ),
    case("mtp", {**ONE_MOE, "layer_types": ["sliding_attention"]}, mtp=True, shards=2, unaligned=True),
    case(
        "odd",
        {
            **ONE_MOE,
            "head_dim": 10,
            "hidden_size": 40,
            "layer_types": ["full_attention"],
            "moe_intermediate_size": 19,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
            "rms_norm_eps": 0.01,
            "tie_word_embeddings": True,
            "vocab_size": 61,
            "bos_token_id": 0,
            "eos_token_id": 60,
        },
        {"rms_norm_eps": 1e-6},
        dtypes=("F16",),
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="mellum",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 128,
        "layer_types": ["sliding_attention"],
        "mlp_layer_types": ["sparse"],
        "moe_intermediate_size": 24,
        "num_experts": 8,
    },
    structure={"num_experts": 4, "attention_bias": True, "mlp_layer_types": ["sparse", "dense"]},
    mtp=partial(mtp_module, attention=attention, ffn=ffn),
)
