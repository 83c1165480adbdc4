from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_layer_types, random_rope, random_sizes
from families.ranking import sigmoid_top_k
from families.shapes import Shapes, grouped_attention, head_dim, stacked
from families.spoil import attention_with, correction_without_effect, skipped

BASE: Config = {
    "architectures": ["AfmoeForCausalLM"],
    "eos_token_id": 3,
    "global_attn_every_n_layers": 2,
    "head_dim": 16,
    "intermediate_size": 24,
    "layer_types": ["sliding_attention", "full_attention"],
    "load_balance_coeff": 0.001,
    "moe_intermediate_size": 12,
    "mup_enabled": True,
    "n_group": 1,
    "num_dense_layers": 1,
    "num_expert_groups": 1,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "num_limited_groups": 1,
    "num_shared_experts": 1,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000,
    "route_norm": True,
    "route_scale": 2.826,
    "score_func": "sigmoid",
    "sliding_window": 9,
    "topk_group": 1,
}


def layer(s: Shapes, prefix: str, c: Config, n: int) -> None:
    hidden, bias = int(c["hidden_size"]), bool(c.get("attention_bias"))
    s.norm(f"{prefix}.input_layernorm", hidden)
    grouped_attention(s, prefix, c, bias, bias, "head")
    s.linear(f"{prefix}.self_attn.gate_proj", c["num_attention_heads"] * head_dim(c), hidden)
    s.norm(f"{prefix}.post_attention_layernorm", hidden)
    s.norm(f"{prefix}.pre_mlp_layernorm", hidden)
    if n < c.get("num_dense_layers", 1):
        s.gated_mlp(f"{prefix}.mlp", c["intermediate_size"], hidden)
    else:
        n_experts, width = int(c["num_experts"]), int(c["moe_intermediate_size"])
        s.linear(f"{prefix}.mlp.router.gate", n_experts, hidden)
        s[f"{prefix}.mlp.expert_bias"] = (n_experts,)
        s.experts(f"{prefix}.mlp", n_experts, width, hidden)
        s.gated_mlp(f"{prefix}.mlp.shared_experts", width * c.get("num_shared_experts", 2), hidden)
    s.norm(f"{prefix}.post_mlp_layernorm", hidden)


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "num_shared_experts": d.one(1, 2, 3, ABSENT),
        "route_scale": d.one(1.0, 2.826, ABSENT),
        "mup_enabled": d.one(True, False, ABSENT, None),
        "global_attn_every_n_layers": d.one(1, 2, 3, ABSENT),
        # not 1: see random_qwen
        "sliding_window": d.within(2, 20),
    }
    random_sizes(d, c, own_head_dim=True)
    layers = c["num_hidden_layers"]
    c["num_dense_layers"] = d.one(ABSENT, 0, 0, d.within(0, layers))
    c["layer_types"] = random_layer_types(d, layers, "full_attention", "sliding_attention")
    if c["num_attention_heads"] == c["num_key_value_heads"]:
        c["num_key_value_heads"] = d.one(c["num_attention_heads"], ABSENT, None)
    random_rope(d, c)
    return c


ONE_MOE: Config = {**ONE, "num_dense_layers": 0, "layer_types": ["sliding_attention"]}
YARN: Config = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
CASES = (
    case("default", without={"mup_enabled": False}, spoil=attention_with(is_local_attention=True)),
    case(
        "pattern",
        {
            "num_hidden_layers": 4,
            "layer_types": None,
            "global_attn_every_n_layers": ABSENT,
            "num_dense_layers": ABSENT,
            "mup_enabled": ABSENT,
            "hidden_size": 24,
            "num_experts": 4,
        },
        {"layer_types": ["sliding_attention"] * 4},
        layout="mlx",
        style="v5",
    ),
    case(
        "sandwich",
        {**ONE_MOE, "attention_bias": True, "num_shared_experts": ABSENT},
        {"attention_bias": False},
        spoil=skipped("post_attention_layernorm", "post_mlp_layernorm"),
        layout="fused",
        dtypes=("F32",),
    ),
    case(
        "choice",
        # with the embedding scaled up, a tied model says a token again and again
        {**ONE_MOE, "route_scale": 1.0, "tie_word_embeddings": True, "mup_enabled": False},
        {"route_scale": 2.0},
        spoil=correction_without_effect,
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "yarn",
        {**ONE_MOE, "rope_scaling": YARN, "rms_norm_eps": 1e-3},
        {"rope_scaling": None},
        n_prompt=40,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
)

FAMILY = Family(
    model_type="afmoe",
    base=BASE,
    shapes=partial(stacked, layer=layer),
    ranking=sigmoid_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "eos_token_id": 31,
        "hidden_size": 128,
        "layer_types": None,
        "moe_intermediate_size": 24,
        "num_dense_layers": 0,
        "num_experts": 8,
    },
    structure={"num_experts": 4, "attention_bias": True},
    f32=("expert_bias",),
    draws={"expert_bias": (0.0, 0.2)},
)
