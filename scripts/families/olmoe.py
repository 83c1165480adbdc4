from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, LONG, ODD, Config, Draw, Family, case
from families.random_config import random_rope, random_sizes
from families.ranking import softmax_top_k
from families.shapes import Shapes, decoder, grouped_attention

BASE: Config = {
    "architectures": ["OlmoeForCausalLM"],
    "attention_bias": False,
    "clip_qkv": None,
    "eos_token_id": 63,
    "intermediate_size": 16,
    "norm_topk_prob": False,
    "num_experts": 6,
    "num_key_value_heads": 4,
    "pad_token_id": 1,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "router_aux_loss_coef": 0.01,
    "transformers_version": "4.43.0.dev0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias, "flat")


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    s.linear(f"{layer}.mlp.gate", c["num_experts"], c["hidden_size"])
    s.experts(f"{layer}.mlp", c["num_experts"], c["intermediate_size"], c["hidden_size"])


def random(d: Draw) -> Config:
    c: Config = {
        "intermediate_size": d.within(5, 70),
        "norm_topk_prob": d.one(True, False, ABSENT),
        "attention_bias": d.chance(0.4),
        "clip_qkv": d.one(None, 0.5, 1.5),
    }
    random_sizes(d, c, own_head_dim=False)
    random_rope(d, c)
    return c


CASES = (
    case("default", without={"norm_topk_prob": True}),
    case("clip", {"clip_qkv": 0.7}, {"clip_qkv": None}),
    case(
        "gqa",
        {"num_key_value_heads": 2, "norm_topk_prob": True},
        {"norm_topk_prob": False},
        layout="mlx",
    ),
    case(
        "bias-tied",
        {"attention_bias": True, "tie_word_embeddings": True},
        dtypes=("F16",),
        layout="fused",
        style="v5",
    ),
    case(
        "odd",
        {**ODD, "intermediate_size": 20, "clip_qkv": 1.1, "rms_norm_eps": 1e-3, "num_key_value_heads": None},
        {"rms_norm_eps": 1e-5},
    ),
    case("all-experts", {"num_experts": 5, "num_experts_per_tok": 5}, shards=2),
    case("long", {"rope_theta": 500000.0}, {"rope_theta": 450000.0}, style="v5", **LONG),
    case("mixed", dtypes=("F32", "BF16", "F16"), unaligned=True),
)

FAMILY = Family(
    model_type="olmoe",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "head_dim": ABSENT,
        "hidden_size": 192,
        "num_key_value_heads": 1,
        "num_experts": 8,
        "intermediate_size": 48,
    },
    structure={"num_key_value_heads": 2, "attention_bias": True, "num_experts": 4},
)
