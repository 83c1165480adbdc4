from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, Config, Draw, Family, case
from families.random_config import random_layer_types, random_rope, random_sizes
from families.ranking import logits_corrected
from families.shapes import Shapes, grouped_attention, stacked
from families.spoil import (
    attention_with,
    correction_in_weights,
    correction_without_effect,
    skipped,
)

BASE: Config = {
    "architectures": ["Kolibri1ForCausalLM"],
    "bos_token_id": 62,
    "eos_token_id": 63,
    "head_dim": 16,
    "layer_types": ["sliding_attention", "full_attention"],
    "moe_intermediate_size": 12,
    "norm_topk_prob": False,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "shared_expert_intermediate_size": 14,
    "sliding_window": 9,
}


def layer(s: Shapes, prefix: str, c: Config, n: int) -> None:
    hidden = c["hidden_size"]
    s.norm(f"{prefix}.input_layernorm", hidden)
    grouped_attention(s, prefix, c, qkv_bias=False, o_bias=False, qk_norm="head")
    s.norm(f"{prefix}.post_attn_norm", hidden)
    s.norm(f"{prefix}.post_attention_layernorm", hidden)
    s.linear(f"{prefix}.mlp.gate", c["num_experts"], hidden)
    s[f"{prefix}.moe.router.expert_bias"] = (c["num_experts"],)
    s.experts(f"{prefix}.mlp", c["num_experts"], c["moe_intermediate_size"], hidden)
    s.gated_mlp(f"{prefix}.mlp.shared_experts", c["shared_expert_intermediate_size"], hidden)
    s.norm(f"{prefix}.post_ffn_norm", hidden)


def random(d: Draw) -> Config:
    c: Config = {
        "moe_intermediate_size": d.within(5, 70),
        "shared_expert_intermediate_size": d.within(5, 70),
        "norm_topk_prob": d.one(True, False, ABSENT),
        # not 1: see random_qwen
        "sliding_window": d.within(2, 20),
    }
    random_sizes(d, c, own_head_dim=True)
    if d.chance(0.3):
        c["num_hidden_layers"] = 5  # the last of which is full where no types are given
    c["layer_types"] = random_layer_types(d, c["num_hidden_layers"], "full_attention", "sliding_attention")
    random_rope(d, c)
    return c


ONE: Config = {"num_hidden_layers": 1, "layer_types": ["sliding_attention"]}
YARN: Config = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
CASES = (
    case(
        "default", {"norm_topk_prob": ABSENT}, {"sliding_window": 64}, spoil=attention_with(is_sliding=True)
    ),
    case("sandwich", ONE, spoil=skipped("post_self_attn_layernorm"), layout="mlx", style="v5"),
    case("choice", ONE, spoil=correction_without_effect, layout="fused", dtypes=("F32",)),
    case(
        "weights",
        {**ONE, "norm_topk_prob": True, "tie_word_embeddings": True},
        {"norm_topk_prob": False},
        spoil=correction_in_weights,
        dtypes=("F16",),
        layout="mlx",
        shards=2,
    ),
    case(
        "pattern",
        {
            "num_hidden_layers": 5,
            "layer_types": ABSENT,
            "hidden_size": 24,
            "head_dim": 8,
            "num_experts": 4,
            "moe_intermediate_size": 7,
            "shared_expert_intermediate_size": 5,
        },
        {"layer_types": ["sliding_attention"] * 5},
        style="v5",
        dtypes=("F32", "BF16", "F16"),
        unaligned=True,
    ),
    case("yarn", {**ONE, "rope_scaling": YARN}, {"rope_scaling": None}, n_prompt=40),
)

FAMILY = Family(
    model_type="kolibri1",
    base=BASE,
    shapes=partial(stacked, layer=layer),
    ranking=logits_corrected,
    random=random,
    cases=CASES,
    block={**BLOCK, "hidden_size": 128, "num_experts": 8, "moe_intermediate_size": 24, "layer_types": None},
    structure={"num_experts": 4},
    fused_names=(
        (".moe.router.expert_bias", ".mlp.gate.e_score_correction_bias"),
        (".post_attn_norm.", ".post_self_attn_layernorm."),
        (".post_ffn_norm.", ".post_mlp_layernorm."),
    ),
    f32=("expert_bias", "e_score_correction_bias"),
    draws={"expert_bias": (0.0, 0.5)},
)
