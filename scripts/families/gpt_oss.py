from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, LONG, ONE, Config, Draw, Family, Tensors, case
from families.random_config import random_rope, random_sizes
from families.ranking import logits_top_k
from families.shapes import Shapes, decoder, grouped_attention
from families.spoil import no_sinks

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


ONE_SLIDING: Config = {**ONE, "layer_types": ["sliding_attention"], "sliding_window": 30}
PLAIN_ROPE: Config = {"rope_scaling": {"rope_type": "default"}}
CASES = (
    case("default", without={"sliding_window": 64}, spoil=no_sinks),
    case("alternate", {"num_hidden_layers": 3, "layer_types": ABSENT}, layout="mlx", n_prompt=20),
    case(
        "layer-types",
        {"layer_types": ["full_attention", "sliding_attention"], "sliding_window": 7},
        {"layer_types": None},
        style="v5",
        n_prompt=20,
    ),
    case("rope-null", {**ONE_SLIDING, "rope_scaling": None}, PLAIN_ROPE, n_prompt=40),
    case(
        "rope-absent", {**ONE_SLIDING, "rope_scaling": ABSENT, "rope_theta": ABSENT}, PLAIN_ROPE, n_prompt=40
    ),
    case("clamp", {**ONE_SLIDING, "swiglu_limit": 0.7}, {"swiglu_limit": 7.0}),
    case("alpha", {**ONE_SLIDING, "swiglu_alpha": 0.6}, {"swiglu_alpha": ABSENT}, layout="mlx", style="v5"),
    case("no-bias", {"attention_bias": False}, spoil=no_sinks, shards=2, unaligned=True),
    case(
        "odd",
        {
            **ONE_SLIDING,
            "hidden_size": 40,
            "vocab_size": 61,
            "eos_token_id": 59,
            "pad_token_id": 0,
            "head_dim": 10,
            "num_local_experts": 5,
            "num_experts_per_tok": 3,
            "experts_per_token": 3,
            "intermediate_size": 19,
            "num_key_value_heads": 4,
            "rms_norm_eps": 1e-3,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F32",),
    ),
    case("tied", {**ONE_SLIDING, "tie_word_embeddings": True}, dtypes=("F16",), layout="mlx", style="v5"),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
    case("long", {"sliding_window": 100}, {"sliding_window": 120}, spoil=no_sinks, shards=3, **LONG),
)

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
        "hidden_size": 128,
        "num_local_experts": 8,
        "intermediate_size": 24,
        "layer_types": None,
    },
    structure={"num_local_experts": 4},
    relayout=relayout,
    draws={"gate_up_proj_bias": (0.0, 0.5)},
)
