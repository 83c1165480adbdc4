from __future__ import annotations

from functools import partial

from families.family import ABSENT, LATENT_BLOCK, ODD_LATENT, ONE, Config, Draw, Family, case
from families.random_config import random_deepseek_router, random_latent, random_layer_types
from families.ranking import sigmoid_grouped
from families.shapes import Shapes, decoder, is_dense, latent_attention, next_token_layer, sparse_moe
from families.spoil import (
    correction_in_weights,
    latent_norms_with_rms_norm_eps,
    masked_groups_at_zero,
    scale_without_mscale,
)

BASE: Config = {
    "architectures": ["Glm4MoeLiteForCausalLM"],
    "attention_bias": False,
    "eos_token_id": [60, 61, 63],
    "first_k_dense_replace": 1,
    "intermediate_size": 24,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 12,
    "n_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_key_value_heads": 4,
    "num_nextn_predict_layers": 1,
    "pad_token_id": 60,
    "partial_rotary_factor": 1.0,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "routed_scaling_factor": 1.8,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "transformers_version": "5.0.0rc0",
    "v_head_dim": 10,
}


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    """first_k_dense_replace says nothing."""
    if is_dense(c, n, 1):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], c["hidden_size"])
    else:
        sparse_moe(s, layer, c, c["n_routed_experts"], c.get("n_shared_experts", 1))


def random(d: Draw) -> Config:
    c = random_latent(d)
    random_deepseek_router(d, c)
    c["mlp_layer_types"] = random_layer_types(d, c["num_hidden_layers"], "dense", "sparse")
    c["rope_interleave"] = d.one(True, False, ABSENT)
    c["partial_rotary_factor"] = d.one(1.0, ABSENT)
    if d.chance(0.2):
        c["rope_theta"] = ABSENT
    return c


ONE_MOE: Config = {**ONE, "mlp_layer_types": ["sparse"]}
CASES = (
    case("default", without={"rope_interleave": False}, spoil=correction_in_weights),
    case(
        "layer-types",
        {
            "attention_bias": True,
            "mlp_layer_types": ["sparse", "dense", "sparse"],
            "n_shared_experts": 2,
            "num_hidden_layers": 3,
        },
        {"attention_bias": False},
        layout="mlx",
        style="v5",
    ),
    # layer 1 has experts all the same
    case(
        "first-k-ignored",
        {"first_k_dense_replace": 2, "q_lora_rank": None, "routed_scaling_factor": ABSENT},
        {"routed_scaling_factor": 1.0},
        layout="fused",
    ),
    case(
        "groups",
        {**ONE_MOE, "n_group": 3, "n_routed_experts": 9, "topk_group": 2, "num_experts_per_tok": 5},
        spoil=masked_groups_at_zero,
        draws={"e_score_correction_bias": (-1.5, 0.2)},
        style="v5",
    ),
    case(
        "yarn",
        {
            **ONE_MOE,
            "norm_topk_prob": False,
            "rope_interleave": False,
            "rope_scaling": {
                "factor": 40,
                "mscale": 1.0,
                "mscale_all_dim": 1.0,
                "original_max_position_embeddings": 64,
                "type": "yarn",
            },
            "rope_theta": 10000,
        },
        {"rope_interleave": True},
        scale_without_mscale,
        n_prompt=40,
    ),
    case(
        "odd",
        {**ODD_LATENT, **ONE_MOE, "topk_group": 2, "rms_norm_eps": 0.05, "tie_word_embeddings": True},
        spoil=latent_norms_with_rms_norm_eps,
        dtypes=("F16",),
    ),
    case("mtp", ONE_MOE, mtp=True, dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="glm4_moe_lite",
    base=BASE,
    shapes=partial(decoder, attention=latent_attention, ffn=ffn),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={
        **LATENT_BLOCK,
        "eos_token_id": [31, 29],
        "hidden_size": 128,
        "mlp_layer_types": ["sparse"],
        "moe_intermediate_size": 24,
        "n_routed_experts": 8,
        "pad_token_id": 29,
    },
    structure={"n_routed_experts": 4, "attention_bias": True},
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
    mtp=partial(next_token_layer, attention=latent_attention, ffn=ffn),
)
