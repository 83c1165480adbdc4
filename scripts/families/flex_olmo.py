from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_kv_heads, random_rope, random_sizes
from families.ranking import softmax_top_k
from families.shapes import Shapes, biased_attention, stacked
from families.spoil import qk_norm_by_head

BASE: Config = {
    "architectures": ["FlexOlmoForCausalLM"],
    "attention_bias": False,
    "eos_token_id": 63,
    "intermediate_size": 16,
    "norm_topk_prob": False,
    "num_experts": 6,
    "num_experts_per_tok": 3,
    "num_key_value_heads": 4,
    "pad_token_id": 1,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 500000,
    "router_aux_loss_coef": 0.01,
    "transformers_version": "4.57.0.dev0",
}


def layer(s: Shapes, prefix: str, c: Config, n: int) -> None:
    """Norms on what attention and FFN return, none on what they read."""
    biased_attention(s, prefix, c, n, qk_norm="flat")
    s.norm(f"{prefix}.post_attention_layernorm", c["hidden_size"])
    ffn(s, prefix, c, n)
    s.norm(f"{prefix}.post_feedforward_layernorm", c["hidden_size"])


def ffn(s: Shapes, prefix: str, c: Config, n: int) -> None:
    s.linear(f"{prefix}.mlp.gate", c["num_experts"], c["hidden_size"])
    s.experts(f"{prefix}.mlp", c["num_experts"], c["intermediate_size"], c["hidden_size"])


def random(d: Draw) -> Config:
    c: Config = {
        "intermediate_size": d.within(5, 70),
        "norm_topk_prob": d.one(True, False, ABSENT),
        "attention_bias": d.one(True, False, ABSENT),
    }
    random_sizes(d, c, own_head_dim=d.chance(0.3))
    random_kv_heads(d, c)
    random_rope(d, c)
    if d.chance(0.2):
        c["rope_theta"] = ABSENT
    return c


# The norm after the block takes out what norm_topk_prob multiplies by, but for rms_norm_eps.
LARGE_EPS: Config = {"rms_norm_eps": 0.05}
CASES = (
    case("default", spoil=qk_norm_by_head),
    case("no-renorm", {**ONE, **LARGE_EPS}, {"norm_topk_prob": True}),
    case(
        "gqa",
        {**LARGE_EPS, "attention_bias": True, "norm_topk_prob": True, "num_key_value_heads": 2},
        {"norm_topk_prob": False},
        qk_norm_by_head,
        layout="mlx",
        style="v5",
    ),
    case(
        "absent",
        {
            **ONE,
            "attention_bias": ABSENT,
            "norm_topk_prob": ABSENT,
            "num_key_value_heads": ABSENT,
            "rms_norm_eps": ABSENT,
            "rope_theta": ABSENT,
        },
        {"rope_theta": 10000.0},
        layout="fused",
        n_prompt=30,
    ),
    case(
        "odd",
        {
            **ONE,
            "attention_bias": True,
            "head_dim": 6,
            "hidden_size": 40,
            "intermediate_size": 19,
            "num_experts": 5,
            "num_key_value_heads": None,
            "rms_norm_eps": 0.01,
            "vocab_size": 61,
        },
        {"rms_norm_eps": 1e-6},
        dtypes=("F32",),
    ),
    case("tied", {"tie_word_embeddings": True}, dtypes=("F16",), layout="fused", style="v5", shards=2),
    case(
        "mixed",
        {
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
        {"rope_scaling": None},
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        shards=2,
        unaligned=True,
        n_prompt=40,
    ),
)

FAMILY = Family(
    model_type="flex_olmo",
    base=BASE,
    shapes=partial(stacked, layer=layer),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={**BLOCK, "hidden_size": 128, "num_experts": 8, "intermediate_size": 40},
    structure={"num_key_value_heads": 2, "attention_bias": True, "num_experts": 4},
    draws={"mlp.gate.weight": (0.0, 0.1)},  # it reads the residual stream as it grows
)
