from __future__ import annotations

from functools import partial

from families.family import ABSENT, LATENT_BLOCK, Config, Draw, Family, case
from families.random_config import random_latent
from families.ranking import deepseek_v2
from families.shapes import decoder, deepseek_moe, latent_attention

BASE: Config = {
    "architectures": ["DeepseekV2ForCausalLM"],
    "attention_bias": False,
    "aux_loss_alpha": 0.001,
    "bos_token_id": 62,
    "eos_token_id": 63,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "intermediate_size": 32,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 16,
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


def random(d: Draw) -> Config:
    c = random_latent(d)
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


CASES = (case("default", without={"topk_method": "greedy"}),)

FAMILY = Family(
    model_type="deepseek_v2",
    base=BASE,
    shapes=partial(decoder, attention=latent_attention, ffn=partial(deepseek_moe, correction=False)),
    ranking=deepseek_v2,
    random=random,
    cases=CASES,
    block={**LATENT_BLOCK, "hidden_size": 192, "n_routed_experts": 8, "moe_intermediate_size": 24},
    structure={"n_routed_experts": 4, "n_group": 2, "topk_group": 1, "q_lora_rank": None, "mlp_bias": True},
)
