from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_deepseek_router, random_layer_types, random_rope, random_sizes
from families.ranking import sigmoid_grouped
from families.shapes import Shapes, decoder, grouped_attention, is_dense, mtp_module, sparse_moe
from families.spoil import correction_in_weights, masked_groups_at_zero, rope_on_full_layers

BASE: Config = {
    "architectures": ["ExaoneMoEForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 53,
    "first_k_dense_replace": 1,
    "head_dim": 16,
    "intermediate_size": 24,
    "is_moe_layer": [False, True],
    "layer_types": ["sliding_attention", "full_attention"],
    "moe_intermediate_size": 12,
    "n_group": 1,
    "norm_topk_prob": True,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 1,
    "num_shared_experts": 1,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 1000000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "sliding_window": 8,
    "sliding_window_pattern": "LLLG",
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "transformers_version": "5.0.0.dev0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    grouped_attention(s, layer, c, qkv_bias=False, o_bias=False, qk_norm="head")


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    if is_dense(c, n, c.get("first_k_dense_replace", 1)):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], c["hidden_size"])
    else:
        sparse_moe(s, layer, c, c["num_experts"], c.get("num_shared_experts", 1), correction="mlp")


def random(d: Draw) -> Config:
    c: Config = {
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "num_shared_experts": d.one(1, 2, 3, ABSENT),
        "routed_scaling_factor": d.one(1.0, 2.5, ABSENT),
        # not 1: see random_qwen
        "sliding_window": d.one(d.within(2, 20), d.within(2, 20), ABSENT),
    }
    own_head_dim = d.chance(0.7)
    random_sizes(d, c, own_head_dim)
    if not own_head_dim:
        c["head_dim"] = ABSENT  # null is nothing that transformers runs
    layers = d.within(1, 6)
    c |= {"num_hidden_layers": layers, "first_k_dense_replace": d.one(0, 1, d.within(0, layers), ABSENT)}
    c["layer_types"] = random_layer_types(d, c["num_hidden_layers"], "sliding_attention", "full_attention")
    # transformers reads letters only where it does not need them
    given = isinstance(c["layer_types"], list)
    c["sliding_window_pattern"] = d.one("LLLG", 4, ABSENT) if given else d.one(1, 2, 3, 4, ABSENT)
    c["mlp_layer_types"] = random_layer_types(d, c["num_hidden_layers"], "dense", "sparse")
    random_deepseek_router(d, c)
    c["num_experts"] = c.pop("n_routed_experts")
    random_rope(d, c)
    if d.chance(0.2):
        c["rope_theta"] = ABSENT
    return c


CASES = (
    case(
        "default",
        {"rope_theta": 10000},
        {"sliding_window": 7},
        spoil=rope_on_full_layers,
        n_prompt=20,
    ),
    case(
        "pattern",
        {
            "first_k_dense_replace": ABSENT,
            "head_dim": 8,
            "layer_types": ABSENT,
            "moe_intermediate_size": 8,
            "num_experts": 4,
            "num_hidden_layers": 5,
            "sliding_window_pattern": ABSENT,
        },
        {"sliding_window_pattern": 3},
        spoil=correction_in_weights,
        layout="mlx",
        n_prompt=20,
    ),
    # no positions at all
    case(
        "all-full",
        {
            **ONE,
            "first_k_dense_replace": 0,
            "layer_types": ["full_attention"],
            "routed_scaling_factor": ABSENT,
        },
        {"routed_scaling_factor": 1.0},
        spoil=rope_on_full_layers,
        layout="fused",
        style="v5",
    ),
    case(
        "groups",
        {
            "mlp_layer_types": ["sparse", "dense"],
            "n_group": 3,
            "norm_topk_prob": False,
            "num_experts_per_tok": 3,
            "num_shared_experts": 2,
            "topk_group": 2,
        },
        {"norm_topk_prob": True},
        spoil=masked_groups_at_zero,
        draws={"e_score_correction_bias": (-1.5, 0.2)},
        style="v5",
    ),
    case(
        "mtp",
        {**ONE, "first_k_dense_replace": 0, "layer_types": ["sliding_attention"]},
        mtp=True,
        shards=2,
        unaligned=True,
    ),
    case(
        "odd",
        {
            **ONE,
            "first_k_dense_replace": 0,
            "head_dim": ABSENT,
            "hidden_size": 40,
            "layer_types": None,
            "moe_intermediate_size": 19,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
            "rms_norm_eps": 0.01,
            "sliding_window_pattern": 2,
            "tie_word_embeddings": True,
            "vocab_size": 61,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F16",),
        layout="fused",
    ),
    case(
        "mixed",
        {
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            "rope_theta": 1000.0,
        },
        {"rope_scaling": None},
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        shards=2,
        unaligned=True,
        n_prompt=40,
    ),
)

RENAMES = ((".mlp.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"),)
FAMILY = Family(
    model_type="exaone_moe",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "first_k_dense_replace": 0,
        "hidden_size": 128,
        "layer_types": ["sliding_attention"],
        "moe_intermediate_size": 24,
        "num_experts": 8,
    },
    structure={"num_experts": 4},
    fused_names=RENAMES,
    mlx_names=RENAMES,
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
    mtp=partial(mtp_module, attention=attention, ffn=ffn),
)
