from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, LONG, NO_ROPE, ONE_MOE, Config, Draw, Family, case
from families.random_config import KINDS, random_deepseek_router, random_rope, random_sizes
from families.ranking import sigmoid_grouped
from families.shapes import Shapes, decoder, deepseek_moe, grouped_attention, next_token_layer
from families.spoil import correction_in_weights, masked_groups_at_zero

BASE: Config = {
    "architectures": ["Glm4MoeForCausalLM"],
    "attention_bias": True,
    "eos_token_id": [60, 61, 63],
    "first_k_dense_replace": 1,
    "head_dim": 16,
    "intermediate_size": 24,
    "moe_intermediate_size": 12,
    "n_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 1,
    "pad_token_id": 60,
    "partial_rotary_factor": 0.5,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "routed_scaling_factor": 1.0,
    "topk_group": 1,
    "transformers_version": "4.54.0",
    "use_qk_norm": False,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    qk_norm = "head" if c.get("use_qk_norm") else None
    grouped_attention(s, layer, c, bool(c.get("attention_bias")), o_bias=False, qk_norm=qk_norm)


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.chance(0.5),
        "use_qk_norm": d.chance(0.5),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "n_shared_experts": d.within(1, 3),
        "routed_scaling_factor": d.one(1.0, 2.5),
    }
    random_sizes(d, c, own_head_dim=True, experts="n_routed_experts")
    c["head_dim"] = 4 * d.within(1, 6)
    partial = d.one(0.5, 0.5, 0.25 if c["head_dim"] % 8 == 0 else 0.5, 1.0)
    c["partial_rotary_factor"] = ABSENT if partial == 0.5 and d.chance(0.5) else partial
    c["first_k_dense_replace"] = d.within(0, c["num_hidden_layers"])
    random_deepseek_router(d, c)
    # transformers' dynamic rope divides by the rotary width less two
    random_rope(d, c, KINDS if int(c["head_dim"] * partial) > 2 else ("linear", "llama3", "yarn"))
    return c


YARN: Config = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
CASES = (
    case("default", without={"partial_rotary_factor": 1.0}, spoil=correction_in_weights),
    case(
        "qk-norm",
        {"use_qk_norm": True, "attention_bias": False, "first_k_dense_replace": 0},
        {"use_qk_norm": False},
        style="v5",
    ),
    case(
        "partial-absent",
        {**ONE_MOE, "partial_rotary_factor": ABSENT, "attention_bias": False, "use_qk_norm": ABSENT},
        {"partial_rotary_factor": 1.0},
        layout="mlx",
    ),
    case(
        "groups",
        {**ONE_MOE, "n_group": 3, "topk_group": 2, "num_experts_per_tok": 3, "routed_scaling_factor": 2.5},
        spoil=masked_groups_at_zero,
        draws={"e_score_correction_bias": (-1.5, 0.2)},
        layout="fused",
        style="v5",
    ),
    case(
        "no-renorm",
        {**ONE_MOE, "norm_topk_prob": False, "routed_scaling_factor": 1.5},
        {"norm_topk_prob": True},
    ),
    case("mtp", ONE_MOE, mtp=True, shards=2, unaligned=True),
    case("yarn", {**ONE_MOE, "rope_scaling": YARN}, NO_ROPE, n_prompt=40),
    case(
        "odd",
        {
            **ONE_MOE,
            "hidden_size": 40,
            "vocab_size": 61,
            "eos_token_id": 59,
            "head_dim": 10,
            "partial_rotary_factor": 0.4,
            "n_routed_experts": 5,
            "num_experts_per_tok": 3,
            "moe_intermediate_size": 20,
            "num_key_value_heads": 4,
            "use_qk_norm": True,
            "rms_norm_eps": 1e-3,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F32",),
    ),
    case(
        "tied",
        {"tie_word_embeddings": True, "n_shared_experts": 2},
        dtypes=("F16",),
        layout="mlx",
        style="v5",
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
    case("long", {"rope_theta": 1000.0}, {"rope_theta": 1100.0}, shards=3, **LONG),
)

FAMILY = Family(
    model_type="glm4_moe",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=deepseek_moe),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "first_k_dense_replace": 0,
        "hidden_size": 128,
        "eos_token_id": [31, 29],
        "pad_token_id": 29,
        "n_routed_experts": 8,
        "moe_intermediate_size": 24,
    },
    structure={"n_routed_experts": 4, "use_qk_norm": True},
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
    mtp=partial(next_token_layer, attention=attention, ffn=deepseek_moe),
)
