from __future__ import annotations

from functools import partial

from families.family import ABSENT, LATENT_BLOCK, Config, Draw, Family, case
from families.random_config import random_deepseek_router, random_latent
from families.ranking import sigmoid_grouped
from families.shapes import decoder, deepseek_moe, latent_attention, next_token_layer

BASE: Config = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "attention_bias": False,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "intermediate_size": 32,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 16,
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


CASES = (case("default", without={"rope_interleave": False}),)

FAMILY = Family(
    model_type="deepseek_v3",
    base=BASE,
    shapes=partial(decoder, attention=latent_attention, ffn=deepseek_moe),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={**LATENT_BLOCK, "hidden_size": 192, "n_routed_experts": 8, "moe_intermediate_size": 24},
    structure={"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "attention_bias": True},
    aliases=("kimi_k2",),
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
    mtp=partial(next_token_layer, attention=latent_attention, ffn=deepseek_moe),
)
