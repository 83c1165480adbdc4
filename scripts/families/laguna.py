from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_layer_types, random_sizes, random_typed_rope
from families.ranking import sigmoid_top_k
from families.shapes import Shapes, decoder, grouped_attention, head_dim, typed_dense
from families.spoil import correction_in_weights, correction_without_effect

BASE: Config = {
    "architectures": ["LagunaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 2,
    "eos_token_id": [2, 24],
    "gating": "per-head",
    "head_dim": 16,
    "intermediate_size": 24,
    "layer_types": ["full_attention", "sliding_attention"],
    "mlp_layer_types": ["dense", "sparse"],
    "moe_apply_router_weight_on_input": False,
    "moe_intermediate_size": 12,
    "moe_routed_scaling_factor": 2.5,
    "num_attention_heads_per_layer": [4, 6],
    "num_experts": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 9,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {
        "full_attention": {
            "rope_type": "yarn",
            "rope_theta": 500000.0,
            "factor": 32.0,
            "original_max_position_embeddings": 64,
            "beta_slow": 1.0,
            "beta_fast": 64.0,
            "attention_factor": 1.0,
            "partial_rotary_factor": 0.5,
        },
        "sliding_attention": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 1.0,
        },
    },
    "shared_expert_intermediate_size": 14,
    "sliding_window": 9,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    per_layer = c.get("num_attention_heads_per_layer")
    heads = int(per_layer[n] if per_layer else c["num_attention_heads"])
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, {**c, "num_attention_heads": heads}, bias, bias, "head")
    per_head = c.get("gating", True) in (True, "per-head")
    s.linear(f"{layer}.self_attn.g_proj", heads if per_head else heads * head_dim(c), c["hidden_size"])


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden = int(c["hidden_size"])
    if typed_dense(c, n, n == 0):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden)
        return
    s.linear(f"{layer}.mlp.gate", c["num_experts"], hidden)
    s[f"{layer}.mlp.experts.e_score_correction_bias"] = (c["num_experts"],)
    s.experts(f"{layer}.mlp", c["num_experts"], c["moe_intermediate_size"], hidden)
    s.gated_mlp(f"{layer}.mlp.shared_expert", c["shared_expert_intermediate_size"], hidden)


def ranking(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    cap = config.moe_router_logit_softcapping
    capped = torch.tanh(logits / cap) * cap if cap > 0.0 else logits
    return sigmoid_top_k(capped, correction, config)


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "gating": d.one(True, False, "per-head", "per-element", ABSENT),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "shared_expert_intermediate_size": d.within(5, 70),
        "moe_routed_scaling_factor": d.one(1.0, 2.5, ABSENT),
        "moe_router_logit_softcapping": d.one(0.0, 0.7, 5.0, ABSENT),
        # not 1: see random_qwen
        "sliding_window": d.within(2, 20),
    }
    random_sizes(d, c, own_head_dim=True)
    layers = c["num_hidden_layers"]
    heads = [c["num_key_value_heads"] * d.within(1, 4) for _ in range(layers)]
    c["num_attention_heads_per_layer"] = d.one(heads, heads, ABSENT, None)
    c["layer_types"] = random_layer_types(d, layers, "full_attention", "sliding_attention")
    c["mlp_layer_types"] = random_layer_types(d, layers, "dense", "sparse", "sparse")
    c["head_dim"] = 4 * d.within(2, 6)
    random_typed_rope(d, c, lambda p: int(c["head_dim"] * p), (0.25, 0.5, 1.0, ABSENT), 1.0)
    return c


PLAIN_ROPE: Config = {
    "full_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
}
ONE_MOE: Config = {
    **ONE,
    "layer_types": ["sliding_attention"],
    "mlp_layer_types": ["sparse"],
    "num_attention_heads_per_layer": [6],
}
ABSENT_LISTS: Config = {
    "layer_types": ABSENT,
    "mlp_layer_types": ABSENT,
    "num_attention_heads_per_layer": ABSENT,
}
CASES = (
    case("default", without={"rope_parameters": PLAIN_ROPE}, spoil=correction_in_weights, n_prompt=30),
    case(
        "absent",
        {**ABSENT_LISTS, "gating": ABSENT, "rope_parameters": ABSENT, "moe_routed_scaling_factor": ABSENT},
        {"rope_parameters": PLAIN_ROPE},
        spoil=correction_without_effect,
        layout="mlx",
        style="v5",
    ),
    case(
        "per-element",
        {**ONE_MOE, "gating": "per-element", "attention_bias": True},
        {"attention_bias": False},
        layout="fused",
        dtypes=("F32",),
    ),
    case(
        "softcap",
        {**ONE_MOE, "moe_router_logit_softcapping": 1.0, "tie_word_embeddings": True},
        {"moe_router_logit_softcapping": 0.0},
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "rope-types",
        {
            "layer_types": ["sliding_attention", "full_attention"],
            "mlp_layer_types": ["sparse", "dense"],
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1000.0},
                "sliding_attention": {
                    "rope_type": "llama3",
                    "rope_theta": 500.0,
                    "factor": 8.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 32,
                    "partial_rotary_factor": 0.5,
                },
            },
            "sliding_window": 30,
        },
        {"rope_parameters": PLAIN_ROPE},
        n_prompt=40,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
)

FAMILY = Family(
    model_type="laguna",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=ranking,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        **ONE_MOE,
        "eos_token_id": [31, 29],
        "hidden_size": 128,
        "moe_intermediate_size": 24,
        "num_attention_heads_per_layer": None,
        "num_experts": 8,
    },
    structure={"num_experts": 4},
    fused_names=(
        (".mlp.experts.e_score_correction_bias", ".mlp.gate.e_score_correction_bias"),
        (".mlp.shared_expert.", ".mlp.shared_experts."),
    ),
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
)
