from __future__ import annotations

from families.family import ABSENT, BLOCK, LONG, ONE, Config, Draw, Family, case
from families.random_config import random_sizes
from families.ranking import sparsemixer
from families.shapes import MIXTRAL, Shapes, decoder, grouped_attention, head_dim
from families.spoil import keys_not_redone

LONGROPE: Config = {
    "long_factor": [1.5, 3.0, 6.0, 9.0],
    "long_mscale": 1.25,
    "original_max_position_embeddings": 64,
    "short_factor": [1.0, 1.1, 1.3, 2.0],
    "short_mscale": 1.05,
    "type": "longrope",
}
BASE: Config = {
    "architectures": ["PhiMoEForCausalLM"],
    "attention_bias": True,
    "bos_token_id": 1,
    "eos_token_id": 63,
    "hidden_dropout": 0.0,
    "input_jitter_noise": 0.01,
    "intermediate_size": 24,
    "lm_head_bias": True,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "original_max_position_embeddings": 64,
    "rms_norm_eps": 1e-05,
    "rope_scaling": LONGROPE,
    "rope_theta": 10000.0,
    "router_aux_loss_coef": 0.0,
    "router_jitter_noise": 0.01,
    "sliding_window": 512,
    "transformers_version": "4.43.3",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    block, hidden = f"{layer}.block_sparse_moe", int(c["hidden_size"])
    s.linear(f"{block}.gate", c["num_local_experts"], hidden)
    s.experts(block, c["num_local_experts"], c["intermediate_size"], hidden, MIXTRAL)


def shapes(c: Config) -> Shapes:
    return decoder(c, attention, ffn, norm_bias=True, head_bias=bool(c.get("lm_head_bias")))


def longrope(d: Draw, c: Config) -> Config:
    n = head_dim(c) // 2
    return {
        "original_max_position_embeddings": d.one(8, 24, 70),
        d.one("type", "rope_type"): "longrope",
        "long_factor": [round(1.0 + 9.0 * d.rng.random(), 3) for _ in range(n)],
        "long_mscale": d.one(1.0, 1.24),
        "short_factor": [round(1.0 + d.rng.random(), 3) for _ in range(n)],
        "short_mscale": d.one(1.0, 1.1),
    }


def random(d: Draw) -> Config:
    """Of the scaled ropes only longrope: the others need mscales of this family that no such file has."""
    c: Config = {
        "intermediate_size": d.within(5, 70),
        "attention_bias": d.chance(0.6),
        "lm_head_bias": d.chance(0.6),
        "router_jitter_noise": d.one(0.01, 0.1, 0.3),
        "sliding_window": d.one(None, 512, d.within(2, 20)),  # not 1: see random_qwen
        "rope_theta": d.one(500.0, 10000.0),
    }
    random_sizes(d, c, own_head_dim=False, experts="num_local_experts")
    c["num_experts_per_tok"] = 2  # sparsemixer chooses two whatever this says
    c["rope_scaling"] = longrope(d, c) if d.chance(0.7) else None
    c["original_max_position_embeddings"] = d.one(ABSENT, 24)
    return c


# The key of rope_scaling counts, not the one of the same name beside it.
ORIGINAL_16: Config = {"rope_scaling": {**LONGROPE, "original_max_position_embeddings": 16}}
CASES = (
    case("default", without={"rope_scaling": None}),
    case("longrope-grow", ORIGINAL_16, spoil=keys_not_redone),
    case(
        "longrope-long",
        {**ORIGINAL_16, "original_max_position_embeddings": 16},
        {"rope_scaling": LONGROPE},
        style="v5",
        n_prompt=20,
    ),
    case(
        "longrope-absent",
        {
            **ONE,
            "max_position_embeddings": 18,
            "rope_scaling": {k: v for k, v in LONGROPE.items() if not k.startswith("original")},
        },
        spoil=keys_not_redone,
    ),
    case("longrope-window", {**ORIGINAL_16, "sliding_window": 10}, {"sliding_window": 11}, keys_not_redone),
    case(
        "no-bias",
        {
            "attention_bias": False,
            "lm_head_bias": False,
            "rope_scaling": None,
            "sliding_window": None,
            "original_max_position_embeddings": ABSENT,
            "router_jitter_noise": ABSENT,
        },
        layout="fused",
        style="v5",
        shards=2,
    ),
    case("window", {"sliding_window": 7}, {"sliding_window": 8}, layout="mlx", n_prompt=20),
    case(
        "jitter", {**ONE, "router_jitter_noise": 0.3, "num_local_experts": 6}, {"router_jitter_noise": 0.01}
    ),
    case(
        "odd",
        {
            **ONE,
            "hidden_size": 40,
            "vocab_size": 61,
            "eos_token_id": 2,
            "head_dim": 10,
            "intermediate_size": 20,
            "num_local_experts": 5,
            "num_key_value_heads": 4,
            "rms_norm_eps": 1e-3,
            "router_jitter_noise": 0.1,
            "rope_scaling": None,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F32",),
    ),
    case("tied", {"tie_word_embeddings": True}, dtypes=("F16",), layout="mlx", style="v5"),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
    case("long", {"sliding_window": 100}, {"sliding_window": None}, shards=3, **LONG),
)

FAMILY = Family(
    model_type="phimoe",
    base=BASE,
    shapes=shapes,
    ranking=sparsemixer,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "head_dim": 8,
        "num_experts_per_tok": 2,
        "num_local_experts": 4,
        "hidden_size": 128,
        "intermediate_size": 40,
    },
    structure={},
    experts=MIXTRAL,
    fused_names=((".block_sparse_moe.gate.", ".mlp.router."), (".block_sparse_moe.", ".mlp.")),
)
