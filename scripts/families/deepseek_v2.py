from __future__ import annotations

from functools import partial

from families.family import ABSENT, LATENT_BLOCK, LONG, ODD_LATENT, ONE, ONE_MOE, Config, Draw, Family, case
from families.random_config import random_latent
from families.ranking import deepseek_v2
from families.shapes import decoder, deepseek_moe, latent_attention
from families.spoil import (
    groups_by_two_best,
    latent_norms_with_rms_norm_eps,
    renormalised,
    rope_without_attention_factor,
    scale_without_mscale,
)

BASE: Config = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "attention_bias": False,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "intermediate_size": 24,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 12,
    "moe_layer_freq": 1,
    "n_group": 4,
    "n_routed_experts": 8,
    "n_shared_experts": 2,
    "norm_topk_prob": False,
    "num_experts_per_tok": 3,
    "num_key_value_heads": 4,
    "pretraining_tp": 1,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000,
    "routed_scaling_factor": 1.5,
    "scoring_func": "softmax",
    "seq_aux": True,
    "topk_group": 2,
    "topk_method": "group_limited_greedy",
    "transformers_version": "4.39.3",
    "v_head_dim": 10,
}


ffn = partial(deepseek_moe, correction=False, n_shared=2)


def random(d: Draw) -> Config:
    c = random_latent(d, unit=2)  # transformers rotates views as complex numbers and fails on odd strides
    groups, size = d.within(1, 4), d.within(1, 4)
    kept = d.within(1, groups)
    method = d.one("greedy", "group_limited_greedy", ABSENT)
    # not more than the kept groups hold: transformers would choose among experts masked with 0
    most = kept * size if method == "group_limited_greedy" else groups * size
    c |= {
        "n_group": groups,
        "n_routed_experts": groups * size,
        "topk_group": kept,
        "topk_method": method,
        "num_experts_per_tok": d.within(1, min(most, 5)),
        "norm_topk_prob": d.one(True, False, ABSENT),
        "mlp_bias": d.one(True, False, ABSENT),
    }
    return c


YARN: Config = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 40,
    "mscale": 0.707,
    "mscale_all_dim": 0.707,
    "original_max_position_embeddings": 64,
    "type": "yarn",
}
CASES = (
    case("default", without={"topk_method": "greedy"}, spoil=groups_by_two_best),
    case(
        "no-q-lora",
        {"q_lora_rank": None, "topk_method": "greedy", "n_group": 1, "topk_group": 1},
        {"routed_scaling_factor": 1.0},
        layout="mlx",
    ),
    case(
        "greedy",
        {**ONE, "topk_method": ABSENT, "first_k_dense_replace": ABSENT, "n_shared_experts": ABSENT},
        {"topk_method": "group_limited_greedy"},
        layout="fused",
        style="v5",
    ),
    case("scaling", {**ONE_MOE, "routed_scaling_factor": 16.0}, {"routed_scaling_factor": 1.0}, shards=2),
    case("renorm-ignored", {**ONE_MOE, "norm_topk_prob": True}, spoil=renormalised),
    case("yarn", {**ONE_MOE, "rope_scaling": YARN}, spoil=scale_without_mscale, n_prompt=40),
    case(
        "yarn-mscale",
        {**ONE_MOE, "rope_scaling": {**YARN, "mscale": 0.4, "mscale_all_dim": 1.6}},
        spoil=rope_without_attention_factor,
        style="v5",
        n_prompt=40,
    ),
    case("eps", {**ONE_MOE, "rms_norm_eps": 0.05}, spoil=latent_norms_with_rms_norm_eps, dtypes=("F32",)),
    case(
        "bias",
        {"num_hidden_layers": 3, "first_k_dense_replace": 2, "attention_bias": True, "mlp_bias": True},
        {"attention_bias": False},
        style="v5",
    ),
    case(
        "bias-no-q-lora", {**ONE_MOE, "q_lora_rank": None, "attention_bias": True}, {"attention_bias": False}
    ),
    case("odd", {**ODD_LATENT, "kv_lora_rank": 18, "qk_nope_head_dim": 6, "mlp_bias": True}, dtypes=("F32",)),
    case("tied", {"tie_word_embeddings": True}, dtypes=("F16",), layout="mlx", style="v5"),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
    case("long", {"rope_theta": 1000.0}, {"rope_theta": 1100.0}, **LONG),
)

FAMILY = Family(
    model_type="deepseek_v2",
    base=BASE,
    shapes=partial(
        decoder, attention=latent_attention, ffn=partial(deepseek_moe, correction=False, n_shared=2)
    ),
    ranking=deepseek_v2,
    random=random,
    cases=CASES,
    block={**LATENT_BLOCK, "hidden_size": 128, "n_routed_experts": 8, "moe_intermediate_size": 24},
    structure={
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "q_lora_rank": None,
        "mlp_bias": True,
    },
)
