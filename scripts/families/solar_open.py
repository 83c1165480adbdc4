from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import (
    random_deepseek_router,
    random_head_dim_absent,
    random_rope,
    random_sizes,
)
from families.ranking import sigmoid_grouped
from families.shapes import Shapes, decoder, grouped_attention, sparse_moe
from families.spoil import correction_in_weights, masked_groups_at_zero

BASE: Config = {
    "architectures": ["SolarOpenForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "first_k_dense_replace": 0,
    "head_dim": 16,
    "intermediate_size": 40,
    "moe_intermediate_size": 12,
    "n_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_key_value_heads": 2,
    "pad_token_id": 2,
    "partial_rotary_factor": 1.0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 2.0, "original_max_position_embeddings": 64, "type": "yarn"},
    "rope_theta": 1000000,
    "routed_scaling_factor": 1.0,
    "topk_group": 1,
    "transformers_version": "4.57.1",
    "use_qk_norm": False,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    grouped_attention(s, layer, {"head_dim": 128, **c}, bool(c.get("attention_bias")), o_bias=False)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    """first_k_dense_replace says nothing."""
    sparse_moe(s, layer, c, c["n_routed_experts"], c.get("n_shared_experts", 1))


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "first_k_dense_replace": d.one(0, 1, ABSENT),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "n_shared_experts": d.one(1, 2, 3, ABSENT),
        # transformers rotates all of a head and fails where this is less
        "partial_rotary_factor": d.one(1.0, ABSENT),
        "routed_scaling_factor": d.one(1.0, 2.5, ABSENT),
        "use_qk_norm": d.one(False, True, ABSENT),
    }
    random_sizes(d, c, own_head_dim=True, experts="n_routed_experts")
    random_head_dim_absent(d, c)
    random_deepseek_router(d, c)
    c["rope_scaling"] = d.one(None, ABSENT)
    random_rope(d, c, p=0.6)
    if d.chance(0.2):
        c["rope_theta"] = ABSENT
    return c


CASES = (
    case("default", without={"rope_scaling": None}, spoil=correction_in_weights, n_prompt=40),
    # no layer is dense, no head is normed, and o_proj has no bias
    case(
        "ignored",
        {
            "attention_bias": True,
            "first_k_dense_replace": 1,
            "n_shared_experts": 2,
            "rope_scaling": None,
            "use_qk_norm": True,
        },
        {"attention_bias": False},
        layout="mlx",
        style="v5",
    ),
    case(
        "groups",
        {
            **ONE,
            "n_group": 3,
            "norm_topk_prob": False,
            "num_experts_per_tok": 3,
            "routed_scaling_factor": 2.5,
            "topk_group": 2,
        },
        {"norm_topk_prob": True},
        masked_groups_at_zero,
        draws={"e_score_correction_bias": (-1.5, 0.2)},
        layout="fused",
        style="v5",
    ),
    case(
        "absent",
        {
            **ONE,
            "attention_bias": ABSENT,
            "head_dim": ABSENT,
            "n_shared_experts": ABSENT,
            "norm_topk_prob": ABSENT,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rms_norm_eps": ABSENT,
            "rope_scaling": None,
            "rope_theta": ABSENT,
        },
        {"rope_theta": 10000.0},
        n_prompt=30,
    ),
    case(
        "tied",
        {
            **ONE,
            "head_dim": 10,
            "hidden_size": 40,
            "moe_intermediate_size": 19,
            "n_routed_experts": 5,
            "tie_word_embeddings": True,
            "vocab_size": 61,
        },
        dtypes=("F16",),
        layout="mlx",
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="solar_open",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 128,
        "moe_intermediate_size": 24,
        "n_routed_experts": 8,
        "pad_token_id": 29,
    },
    structure={"n_routed_experts": 4, "attention_bias": True},
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
)
