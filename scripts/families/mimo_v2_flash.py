from __future__ import annotations

from functools import partial
from typing import Any

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import (
    random_deepseek_router,
    random_layer_types,
    random_sizes,
    random_typed_rope,
)
from families.ranking import sigmoid_grouped
from families.shapes import Shapes, decoder, typed_dense
from families.spoil import attention_with, correction_without_effect, masked_groups_at_zero

BASE: Config = {
    "add_full_attention_sink_bias": False,
    "add_swa_attention_sink_bias": True,
    "architectures": ["MiMoV2FlashForCausalLM"],
    "attention_bias": False,
    "attention_chunk_size": 8,
    "attention_value_scale": 0.707,
    "head_dim": 24,
    "hybrid_block_size": None,
    "hybrid_layer_pattern": [0, 1],
    "intermediate_size": 24,
    "layernorm_epsilon": 1e-05,
    "moe_intermediate_size": 12,
    "moe_layer_freq": [0, 1],
    "n_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": None,
    "norm_topk_prob": True,
    "num_key_value_heads": 1,
    "partial_rotary_factor": 0.334,
    "rope_theta": 5000000,
    "routed_scaling_factor": None,
    "scoring_func": "sigmoid",
    "sliding_window": 8,
    "sliding_window_size": 8,
    "swa_head_dim": 24,
    "swa_num_attention_heads": 4,
    "swa_num_key_value_heads": 2,
    "swa_rope_theta": 10000,
    "swa_v_head_dim": 14,
    "topk_group": 1,
    "topk_method": "noaux_tc",
    "v_head_dim": 14,
}


def is_sliding(c: Config, n: int) -> bool:
    types = c.get("layer_types")
    return types[n] == "sliding_attention" if types else n > 0 and (n + 1) % 6 != 0


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden, heads, bias = int(c["hidden_size"]), int(c["num_attention_heads"]), bool(c.get("attention_bias"))
    kv_heads = int(c["num_key_value_heads"]) * (2 if is_sliding(c, n) else 1)
    s.linear(f"{layer}.self_attn.q_proj", heads * c["head_dim"], hidden, bias)
    s.linear(f"{layer}.self_attn.k_proj", kv_heads * c["head_dim"], hidden, bias)
    s.linear(f"{layer}.self_attn.v_proj", kv_heads * c["v_head_dim"], hidden, bias)
    s.linear(f"{layer}.self_attn.o_proj", hidden, heads * c["v_head_dim"])
    if is_sliding(c, n):
        s[f"{layer}.self_attn.attention_sink_bias"] = (heads,)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden = int(c["hidden_size"])
    if typed_dense(c, n, n == 0):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden)
        return
    s.linear(f"{layer}.mlp.gate", c["n_routed_experts"], hidden)
    s[f"{layer}.mlp.gate.e_score_correction_bias"] = (c["n_routed_experts"],)
    s.experts(f"{layer}.mlp", c["n_routed_experts"], c["moe_intermediate_size"], hidden)


def unused(c: Config) -> Shapes:
    s, hidden = Shapes(), int(c["hidden_size"])
    s.linear("model.mtp.layers.0.eh_proj", hidden, 2 * hidden)
    s.norm("model.mtp.layers.0.enorm", hidden)
    return s


def no_sinks(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.sinks = None


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "attention_value_scale": d.one(0.707, 1.3, ABSENT, None),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "routed_scaling_factor": d.one(1.0, 2.5, ABSENT, None),
        # not 1: see random_qwen
        "sliding_window": d.within(2, 20),
        "sliding_window_size": d.one(d.within(1, 20), ABSENT, None),
        "v_head_dim": d.within(3, 24),
    }
    random_sizes(d, c, own_head_dim=True, experts="n_routed_experts")
    random_deepseek_router(d, c)
    layers = c["num_hidden_layers"]
    c["num_attention_heads"] *= 2  # sliding layers have twice the key heads
    c["layer_types"] = random_layer_types(d, layers, "full_attention", "sliding_attention")
    c["mlp_layer_types"] = random_layer_types(d, layers, "dense", "sparse", "sparse")
    # those of which a third is even
    c["head_dim"] = d.one(12, 14, 18, 20, 24, 26)
    # what a scaled kind takes from the top level, and the default kind from nowhere
    c["partial_rotary_factor"] = d.one(0.334, ABSENT)
    random_typed_rope(d, c, lambda p: int(c["head_dim"] * p), (0.334, 0.5, 1.0, ABSENT), 0.334)
    return c


ONE_SLIDING: Config = {**ONE, "layer_types": ["sliding_attention"], "mlp_layer_types": ["sparse"]}
CASES = (
    case("default", without={"attention_value_scale": None}, spoil=no_sinks),
    case(
        "window",
        {**ONE_SLIDING, "sliding_window_size": 7, "sliding_window": 3, "attention_value_scale": ABSENT},
        {"sliding_window_size": 6},
        layout="mlx",
        style="v5",
        n_prompt=20,
    ),
    case(
        "rope-types",
        {
            "layer_types": ["sliding_attention", "full_attention"],
            "mlp_layer_types": ["sparse", "dense"],
            "rope_parameters": {
                "full_attention": {
                    "rope_type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 32,
                    "partial_rotary_factor": 0.5,
                    "rope_theta": 1000.0,
                },
                "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
            },
            "sliding_window_size": None,
            "sliding_window": 30,
        },
        {"rope_parameters": ABSENT},
        n_prompt=40,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
    case(
        "groups",
        {
            **ONE_SLIDING,
            "n_group": 3,
            "topk_group": 2,
            "num_experts_per_tok": 3,
            "routed_scaling_factor": 2.5,
            "attention_bias": True,
        },
        {"routed_scaling_factor": None},
        spoil=masked_groups_at_zero,
        draws={"e_score_correction_bias": (-1.5, 0.2)},
        layout="fused",
        dtypes=("F32",),
    ),
    case(
        "tied",
        {
            **ONE_SLIDING,
            "layer_types": ["full_attention"],
            "attention_value_scale": None,
            "tie_word_embeddings": True,
            "sliding_window_size": ABSENT,
            "norm_topk_prob": False,
            "rms_norm_eps": 1e-3,
        },
        {"norm_topk_prob": True},
        spoil=correction_without_effect,
        mtp=True,
        dtypes=("F16",),
        shards=2,
    ),
    case("value-scale", {**ONE_SLIDING, "attention_value_scale": 1.4}, spoil=attention_with(v_scale=0.707)),
)

FAMILY = Family(
    model_type="mimo_v2_flash",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 128,
        "head_dim": 24,
        "mlp_layer_types": ["sparse"],
        "moe_intermediate_size": 24,
        "n_routed_experts": 8,
    },
    structure={"n_routed_experts": 4, "attention_bias": True},
    fused_names=((".attention_sink_bias", ".sinks"),),
    f32=("e_score_correction_bias", ".mlp.gate.weight"),
    draws={"e_score_correction_bias": (0.0, 0.2), "attention_sink_bias": (0.5, 1.0)},
    mtp=unused,
)
