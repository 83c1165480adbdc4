from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, Wrapper, case
from families.random_config import random_layer_types, random_rope, random_sizes
from families.ranking import logits_top_k
from families.shapes import Shapes, decoder, grouped_attention
from families.spoil import attention_with

BASE: Config = {
    "architectures": ["Llama4ForCausalLM"],
    "attention_bias": False,
    "attention_chunk_size": 8,
    "attn_scale": 0.1,
    "attn_temperature_tuning": True,
    "bos_token_id": 60,
    "eos_token_id": [61, 62, 63],
    "floor_scale": 4,
    "for_llm_compressor": False,
    "head_dim": 16,
    "interleave_moe_layer_step": 1,
    "intermediate_size": 12,
    "intermediate_size_mlp": 24,
    "no_rope_layers": [1, 0],
    "num_experts_per_tok": 1,
    "num_key_value_heads": 2,
    "num_local_experts": 4,
    "pad_token_id": 59,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "use_qk_norm": True,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden, width, n_experts = c["hidden_size"], c["intermediate_size"], c["num_local_experts"]
    listed = c.get("moe_layers")
    sparse = (n + 1) % c.get("interleave_moe_layer_step", 1) == 0 if listed is None else n in listed
    block = f"{layer}.feed_forward"
    if not sparse:
        s.gated_mlp(block, c["intermediate_size_mlp"], hidden)
        return
    s.linear(f"{block}.router", n_experts, hidden)
    s[f"{block}.experts.gate_up_proj"] = (n_experts, hidden, 2 * width)
    s[f"{block}.experts.down_proj"] = (n_experts, width, hidden)
    s.gated_mlp(f"{block}.shared_expert", width, hidden)


def weights_on_output(model: Any) -> None:
    for layer in model.model.layers:
        block = layer.feed_forward
        if not hasattr(block, "router"):
            continue

        def forward(x: Tensor, block: Any = block) -> tuple[Tensor, Tensor]:
            rows = x.reshape(-1, x.shape[-1])
            scores, logits = block.router(rows)
            n_experts = scores.shape[1]
            routed = block.experts(rows.repeat(n_experts, 1)).view(n_experts, *rows.shape)
            return block.shared_expert(rows) + (routed * scores.T[..., None]).sum(dim=0), logits

        block.forward = forward


def no_qk_norm(model: Any) -> None:
    for layer in model.model.layers:
        if hasattr(layer.self_attn, "qk_norm"):
            del layer.self_attn.qk_norm


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "attention_chunk_size": d.one(d.within(2, 20), d.within(20, 150), None, ABSENT),
        "attn_scale": d.one(0.1, 0.5, ABSENT),
        "attn_temperature_tuning": d.one(True, False, ABSENT),
        "floor_scale": d.one(d.within(1, 20), ABSENT),
        "intermediate_size": d.within(5, 70),
        "intermediate_size_mlp": d.within(5, 90),
        "interleave_moe_layer_step": d.one(1, 2, ABSENT),
        "no_rope_layer_interval": d.one(2, 3, 4, ABSENT),
        "use_qk_norm": d.one(True, False, ABSENT),
    }
    random_sizes(d, c, own_head_dim=True, experts="num_local_experts")
    layers = c["num_hidden_layers"]
    c["no_rope_layers"] = d.one([d.one(0, 1) for _ in range(layers)], [], None, ABSENT)
    if c["attention_chunk_size"] is not None:
        c["layer_types"] = random_layer_types(d, layers, "full_attention", "chunked_attention")
    c["moe_layers"] = d.one([n for n in range(layers) if d.chance(0.6)], None, ABSENT)
    random_rope(d, c)
    return c


LLAMA3: Config = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
ONE_ROPE: Config = {**ONE, "no_rope_layers": [1]}
CASES = (
    case("default", without={"attention_chunk_size": 64}, spoil=weights_on_output, n_prompt=20),
    case(
        "temperature",
        {**ONE, "no_rope_layers": [0], "num_experts_per_tok": 2, "floor_scale": 3},
        {"attn_temperature_tuning": False},
        style="v5",
        n_prompt=20,
    ),
    case(
        "interval",
        {
            "num_hidden_layers": 4,
            "hidden_size": 24,
            "no_rope_layers": [],
            "interleave_moe_layer_step": 2,
            "num_experts_per_tok": 2,
            "attention_chunk_size": None,
            "attn_temperature_tuning": ABSENT,
        },
        {"no_rope_layers": [1, 1, 1, 1]},
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "llama3",
        {**ONE_ROPE, "rope_scaling": LLAMA3, "rope_theta": 500.0, "attention_chunk_size": 30},
        {"rope_scaling": None},
        spoil=no_qk_norm,
        n_prompt=40,
        wrapped=True,
        unaligned=True,
    ),
    case(
        "no-qk-norm",
        {**ONE_ROPE, "use_qk_norm": False, "attention_bias": True, "tie_word_embeddings": True},
        {"use_qk_norm": True},
        dtypes=("F32",),
    ),
    case(
        "moe-layers",
        {"moe_layers": [0], "no_rope_layers": [0, 1], "rms_norm_eps": 0.05},
        {"no_rope_layers": [1, 1]},
        spoil=attention_with(attn_scale=0.0),
        style="v5",
        wrapped=True,
        shards=2,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
    ),
)

FAMILY = Family(
    model_type="llama4_text",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=logits_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "eos_token_id": [31, 29],
        "hidden_size": 128,
        "intermediate_size": 24,
        "no_rope_layers": [1],
        "num_local_experts": 8,
        "pad_token_id": 28,
    },
    structure={"attention_bias": True},
    layouts=("hub",),  # which is what transformers holds
    wrapper=Wrapper(
        model_type="llama4",
        prefix="language_model.",
        config=lambda _: {
            "architectures": ["Llama4ForConditionalGeneration"],
            "boi_token_index": 50,
            "eoi_token_index": 51,
            "image_token_index": 52,
            "tie_word_embeddings": False,
            "vision_config": {"hidden_size": 8, "model_type": "llama4_vision_model", "num_hidden_layers": 1},
        },
        others=lambda _: Shapes(
            {
                "multi_modal_projector.linear_1.weight": (32, 8),
                "vision_model.class_embedding": (8,),
                "vision_model.model.layers.0.self_attn.q_proj.weight": (8, 8),
            }
        ),
    ),
)
