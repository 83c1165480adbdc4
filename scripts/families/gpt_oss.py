from __future__ import annotations

from functools import partial

from families.family import BLOCK, Config, Draw, Family, Tensors, case
from families.random_config import random_rope, random_sizes
from families.ranking import logits_top_k
from families.shapes import Shapes, decoder, grouped_attention

BASE: Config = {
    "architectures": ["GptOssForCausalLM"],
    "attention_bias": True,
    "eos_token_id": 62,
    "experts_per_token": 2,
    "head_dim": 16,
    "initial_context_length": 64,
    "intermediate_size": 24,
    "layer_types": ["sliding_attention", "full_attention"],
    "num_key_value_heads": 2,
    "num_local_experts": 6,
    "pad_token_id": 61,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 8.0,
        "original_max_position_embeddings": 64,
        "rope_type": "yarn",
        "truncate": False,
    },
    "rope_theta": 150000,
    "router_aux_loss_coef": 0.9,
    "sliding_window": 8,
    "swiglu_limit": 7.0,
    "transformers_version": "4.55.0.dev0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias", True))
    grouped_attention(s, layer, c, bias, bias)
    s[f"{layer}.self_attn.sinks"] = (c["num_attention_heads"],)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden, n_experts, width = int(c["hidden_size"]), int(c["num_local_experts"]), int(c["intermediate_size"])
    s.linear(f"{layer}.mlp.router", n_experts, hidden, bias=True)
    experts = f"{layer}.mlp.experts"
    s[f"{experts}.gate_up_proj"] = (n_experts, hidden, 2 * width)
    s[f"{experts}.gate_up_proj_bias"] = (n_experts, 2 * width)
    s[f"{experts}.down_proj"] = (n_experts, width, hidden)
    s[f"{experts}.down_proj_bias"] = (n_experts, hidden)


def relayout(hub: Tensors, layout: str) -> Tensors:
    """Hub files hold what transformers does; mlx-lm splits the alternating columns and turns the matrices."""
    if layout == "fused":
        return dict(hub)
    out: Tensors = {}
    for name, tensor in hub.items():
        block, found, rest = name.partition(".experts.")
        projection, _, kind = rest.partition("_proj")
        if not found:
            out[name] = tensor
            continue
        rows = tensor if kind else tensor.mT
        ending = "bias" if kind else "weight"
        if projection == "gate_up":
            out[f"{block}.experts.gate_proj.{ending}"] = rows[:, 0::2].contiguous()
            out[f"{block}.experts.up_proj.{ending}"] = rows[:, 1::2].contiguous()
        else:
            out[f"{block}.experts.down_proj.{ending}"] = rows.contiguous()
    return out


def random(d: Draw) -> Config:
    c: Config = {
        "intermediate_size": d.within(5, 70),
        "attention_bias": d.chance(0.7),
        "swiglu_limit": d.one(7.0, 1.5, 0.7),
        # not 1: see random_qwen
        "sliding_window": d.within(2, 20),
        "rope_scaling": d.one(None, {}),
    }
    random_sizes(d, c, own_head_dim=True, experts="num_local_experts")
    layers = range(c["num_hidden_layers"])
    types = [d.one("sliding_attention", "full_attention") for _ in layers]
    c["layer_types"] = d.one(None, types)
    random_rope(d, c, p=0.7)
    return c


CASES = (case("default", without={"sliding_window": 64}),)

FAMILY = Family(
    model_type="gpt_oss",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=logits_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "pad_token_id": 29,
        "hidden_size": 192,
        "num_local_experts": 8,
        "intermediate_size": 24,
        "layer_types": None,
    },
    structure={"num_local_experts": 4},
    relayout=relayout,
    draws={"gate_up_proj_bias": (0.0, 0.5)},
)
