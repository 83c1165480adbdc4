from __future__ import annotations

from functools import partial

from families.family import ABSENT, LATENT_BLOCK, LONG, ODD_LATENT, ONE_MOE, Config, Draw, Family, case
from families.random_config import random_deepseek_router, random_latent
from families.ranking import sigmoid_grouped
from families.shapes import decoder, deepseek_moe, latent_attention, next_token_layer
from families.spoil import (
    correction_in_weights,
    correction_without_effect,
    latent_norms_with_rms_norm_eps,
    masked_groups_at_zero,
    rope_without_attention_factor,
    scale_without_mscale,
)

BASE: Config = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "attention_bias": False,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "intermediate_size": 24,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 12,
    "moe_layer_freq": 1,
    "n_group": 4,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 3,
    "num_key_value_heads": 4,
    "num_nextn_predict_layers": 1,
    "pretraining_tp": 1,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "seq_aux": True,
    "topk_group": 2,
    "topk_method": "noaux_tc",
    "transformers_version": "4.33.1",
    "v_head_dim": 10,
}


def random(d: Draw) -> Config:
    c = random_latent(d)
    random_deepseek_router(d, c)
    c["rope_interleave"] = d.one(True, False, ABSENT)
    return c


YARN: Config = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 40,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 64,
    "type": "yarn",
}
MOONLIGHT: Config = {
    "q_lora_rank": None,
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "num_nextn_predict_layers": 0,
    "rms_norm_eps": 1e-05,
    "rope_theta": 50000.0,
    "routed_scaling_factor": 2.446,
}
KIMI: Config = {
    **ONE_MOE,
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 12,
    "num_experts_per_tok": 4,
    "num_nextn_predict_layers": 0,
    "rope_scaling": {**YARN, "beta_fast": 1.0, "beta_slow": 1.0, "factor": 32.0},
    "rope_theta": 50000.0,
    "routed_scaling_factor": 2.827,
}
CASES = (
    case("default", without={"rope_interleave": False}, spoil=correction_in_weights),
    case(
        "rope-half",
        {**ONE_MOE, "rope_interleave": False},
        {"rope_interleave": True},
        layout="mlx",
        style="v5",
    ),
    case(
        "negative-bias",
        {"n_group": 3, "n_routed_experts": 9, "num_experts_per_tok": 5, **ONE_MOE},
        spoil=masked_groups_at_zero,
        draws={"e_score_correction_bias": (-1.5, 0.2)},
    ),
    case("no-renorm", {**ONE_MOE, "norm_topk_prob": False}, {"norm_topk_prob": True}, layout="fused"),
    case("moonlight", MOONLIGHT, spoil=correction_without_effect),
    case("kimi", KIMI, spoil=scale_without_mscale, n_prompt=40),
    case("yarn", {**ONE_MOE, "rope_scaling": YARN}, spoil=scale_without_mscale, style="v5", n_prompt=40),
    case(
        "yarn-mscale",
        {**ONE_MOE, "rope_scaling": {**YARN, "mscale": 0.4, "mscale_all_dim": 1.6}},
        spoil=rope_without_attention_factor,
        n_prompt=40,
    ),
    case("mtp", ONE_MOE, mtp=True, shards=2, unaligned=True),
    case("tied", {"tie_word_embeddings": True}, dtypes=("F16",), layout="fused", style="v5", shards=2),
    case("eps", {**ONE_MOE, "rms_norm_eps": 0.05}, spoil=latent_norms_with_rms_norm_eps, dtypes=("F32",)),
    case(
        "attention-bias",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "attention_bias": True, "n_shared_experts": 2},
        {"attention_bias": False},
        layout="mlx",
    ),
    case("odd", {**ODD_LATENT, "topk_group": 2, "attention_bias": True}, dtypes=("F32",)),
    case("mixed", dtypes=("F32", "BF16", "F16"), unaligned=True),
    case("long", {"rope_theta": 1000.0}, {"rope_theta": 1100.0}, shards=3, **LONG),
)

FAMILY = Family(
    model_type="deepseek_v3",
    base=BASE,
    shapes=partial(decoder, attention=latent_attention, ffn=deepseek_moe),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={**LATENT_BLOCK, "hidden_size": 128, "n_routed_experts": 8, "moe_intermediate_size": 24},
    structure={
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "attention_bias": True,
    },
    aliases=("kimi_k2",),
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
    mtp=partial(next_token_layer, attention=latent_attention, ffn=deepseek_moe),
)
