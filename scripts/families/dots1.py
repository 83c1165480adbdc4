from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, Config, Draw, Family, case
from families.random_config import random_deepseek_router, random_rope, random_sizes
from families.ranking import sigmoid_grouped
from families.shapes import Shapes, decoder, deepseek_moe, grouped_attention

BASE: Config = {
    "architectures": ["Dots1ForCausalLM"],
    "attention_bias": False,
    "bos_token_id": None,
    "eos_token_id": 63,
    "first_k_dense_replace": 1,
    "intermediate_size": 32,
    "max_window_layers": 2,
    "moe_intermediate_size": 16,
    "moe_layer_freq": 1,
    "n_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": 2,
    "norm_topk_prob": True,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 10000000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "noaux_tc",
    "sliding_window": None,
    "topk_group": 1,
    "transformers_version": "4.46.3",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias, "head")


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.chance(0.4),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "n_shared_experts": d.within(1, 3),
        "routed_scaling_factor": d.one(1.0, 2.5, ABSENT),
        "sliding_window": d.one(None, d.within(2, 20), d.within(2, 20)),  # not 1: see random_qwen
    }
    # without head_dim, transformers fails on yarn and dynamic rope
    own_head_dim = d.chance(0.6)
    random_sizes(d, c, own_head_dim, experts="n_routed_experts")
    layers = int(c["num_hidden_layers"])
    c["first_k_dense_replace"] = d.within(0, layers)
    c["max_window_layers"] = d.within(0, layers)
    random_deepseek_router(d, c)
    random_rope(d, c)
    return c


CASES = (case("default", without={"routed_scaling_factor": 1.0}),)

FAMILY = Family(
    model_type="dots1",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=deepseek_moe),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 192,
        "first_k_dense_replace": 0,
        "n_routed_experts": 8,
        "moe_intermediate_size": 24,
    },
    structure={"n_routed_experts": 4, "attention_bias": True},
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
)
