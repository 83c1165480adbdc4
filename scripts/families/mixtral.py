from __future__ import annotations

from functools import partial

from families.family import BLOCK, LONG, Config, Draw, Family, case
from families.random_config import random_rope, random_sizes
from families.ranking import softmax_top_k
from families.shapes import MIXTRAL, Shapes, decoder, grouped_attention

BASE: Config = {
    "architectures": ["MixtralForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "intermediate_size": 32,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.02,
    "sliding_window": None,
    "transformers_version": "4.36.0.dev0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    grouped_attention(s, layer, c, qkv_bias=False, o_bias=False)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    block, hidden = f"{layer}.block_sparse_moe", int(c["hidden_size"])
    s.linear(f"{block}.gate", c["num_local_experts"], hidden)
    s.experts(block, c["num_local_experts"], c["intermediate_size"], hidden, MIXTRAL)


def random(d: Draw) -> Config:
    c: Config = {"intermediate_size": d.within(5, 70)}
    own_head_dim = d.chance(0.6)
    random_sizes(d, c, own_head_dim, experts="num_local_experts")
    if own_head_dim:  # transformers fails on scaled rope where mixtral has no head_dim
        random_rope(d, c)
    if d.chance(0.4):
        c["sliding_window"] = d.within(2, 20)
    return c


CASES = (
    case("default"),
    case("top-1", {"num_experts_per_tok": 1}, layout="mlx"),
    case("window", {"sliding_window": 5}, {"sliding_window": 6}, n_prompt=20),
    case(
        "odd",
        {
            "hidden_size": 40,
            "vocab_size": 61,
            "head_dim": None,
            "intermediate_size": 28,
            "num_local_experts": 5,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
        },
        dtypes=("F32",),
        layout="fused",
        style="v5",
    ),
    case("tied", {"tie_word_embeddings": True, "head_dim": 12}, dtypes=("F16",), style="v5"),
    case("mixed", dtypes=("F32", "BF16", "F16"), unaligned=True, shards=2),
    case("long", {"rope_theta": 10000.0, "sliding_window": 100}, {"sliding_window": None}, **LONG),
)

FAMILY = Family(
    model_type="mixtral",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={**BLOCK, "num_experts_per_tok": 2, "num_local_experts": 4, "intermediate_size": 80},
    structure={"num_local_experts": 4},
    experts=MIXTRAL,
    fused_names=(("block_sparse_moe", "mlp"),),
)
