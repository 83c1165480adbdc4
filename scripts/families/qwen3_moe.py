from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, LONG, NO_ROPE, ODD, ONE, Config, Draw, Family, case
from families.random_config import random_qwen, random_rope, random_sizes
from families.ranking import softmax_top_k
from families.shapes import Shapes, decoder, grouped_attention, qwen_dense

BASE: Config = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 62,
    "decoder_sparse_step": 1,
    "eos_token_id": 63,
    "head_dim": 16,
    "intermediate_size": 32,
    "max_window_layers": 2,
    "mlp_only_layers": [],
    "moe_intermediate_size": 16,
    "norm_topk_prob": True,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.001,
    "sliding_window": None,
    "transformers_version": "4.51.0",
    "use_sliding_window": False,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias, "head")


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    if qwen_dense(c, n):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], c["hidden_size"])
        return
    s.linear(f"{layer}.mlp.gate", c["num_experts"], c["hidden_size"])
    s.experts(f"{layer}.mlp", c["num_experts"], c["moe_intermediate_size"], c["hidden_size"])


def random(d: Draw) -> Config:
    c: Config = {"norm_topk_prob": d.one(True, False, ABSENT), "attention_bias": d.chance(0.4)}
    random_sizes(d, c, own_head_dim=d.chance(0.6))
    random_qwen(d, c)
    random_rope(d, c)
    return c


# Passed while generating, it changes the frequencies of new rows alone: cached keys stay as they are.
LONGROPE: Config = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7],
    "long_factor": [2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0],
    "original_max_position_embeddings": 32,
}
CASES = (
    case("default", without={"norm_topk_prob": False}),
    case(
        "odd",
        {
            **ODD,
            "head_dim": 10,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 20,
            "attention_bias": True,
        },
        dtypes=("F32",),
    ),
    case(
        "tied",
        {"tie_word_embeddings": True},
        dtypes=("F16",),
        layout="fused",
        style="v5",
        shards=2,
    ),
    case("dense", {"num_hidden_layers": 3, "mlp_only_layers": [1]}, layout="mlx"),
    case(
        "sparse-step",
        {"num_hidden_layers": 3, "decoder_sparse_step": 2, "norm_topk_prob": ABSENT, "head_dim": ABSENT},
        {"norm_topk_prob": True},
        style="v4",
    ),
    case(
        "window",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0},
        {"sliding_window": 8},
        n_prompt=20,
    ),
    case("long", {"rope_theta": 10000.0}, {"rope_theta": 11000.0}, shards=3, **LONG),
    case("unaligned", dtypes=("F32", "BF16", "F16"), by_role=True, unaligned=True),
    case("rope-linear", {**ONE, "rope_scaling": {"type": "linear", "factor": 4.0}}, NO_ROPE),
    case(
        "rope-llama3",
        {
            **ONE,
            "max_position_embeddings": 256,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
            "rope_theta": 500.0,
        },
        NO_ROPE,
        n_prompt=40,
    ),
    case(
        "rope-yarn",
        {
            **ONE,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            "rope_theta": 1000.0,
        },
        NO_ROPE,
        n_prompt=40,
    ),
    case(
        "rope-yarn-untruncated",
        {
            **ONE,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "truncate": False,
                "beta_fast": 8,
                "beta_slow": 2,
                "attention_factor": 1.25,
            },
            "rope_theta": 1000.0,
        },
        {
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 8,
                "beta_slow": 2,
                "attention_factor": 1.25,
            },
        },
        n_prompt=40,
    ),
    case(
        "rope-dynamic",
        {
            **ONE,
            "max_position_embeddings": 32,
            "rope_scaling": {"rope_type": "dynamic", "factor": 3.0},
            "rope_theta": 1000.0,
        },
        NO_ROPE,
        n_prompt=40,
    ),
    case(
        "rope-dynamic-grow",
        {
            **ONE,
            "max_position_embeddings": 24,
            "rope_scaling": {"rope_type": "dynamic", "factor": 3.0},
            "rope_theta": 1000.0,
        },
        NO_ROPE,
        n_prompt=16,
        n_generate=20,
        style="v5",
    ),
    case("rope-longrope", {**ONE, "rope_scaling": LONGROPE, "rope_theta": 1000.0}, NO_ROPE, n_prompt=40),
    case(
        "rope-longrope-grow",
        {**ONE, "rope_scaling": LONGROPE, "rope_theta": 1000.0},
        {"rope_scaling": {**LONGROPE, "long_factor": LONGROPE["short_factor"]}},
        n_prompt=24,
        n_generate=16,
        style="v5",
    ),
)

FAMILY = Family(
    model_type="qwen3_moe",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={**BLOCK, "num_experts": 8, "moe_intermediate_size": 40},
    structure={"num_hidden_layers": 3, "mlp_only_layers": [1], "attention_bias": True, "num_experts": 4},
)
