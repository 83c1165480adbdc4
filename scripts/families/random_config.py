"""Parts of the random configs of the live oracle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from families.family import ABSENT, Config, Draw

KINDS = ("linear", "llama3", "yarn", "dynamic")


def random_rope(d: Draw, c: Config, kinds: tuple[str, ...] = KINDS, p: float = 0.3) -> None:
    """Sets rope_theta, and with probability p a scaling of one of `kinds`."""
    c["rope_theta"] = d.one(500.0, 10000.0, 1000000.0)
    if not d.chance(p):
        return
    original = d.one(16, 32, 64)
    kind = d.one(*kinds)
    scaling: Config = {d.one("type", "rope_type"): kind, "factor": d.one(2.0, 4.0, 8.0)}
    if kind == "llama3":
        scaling |= {
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": original,
        }
    elif kind == "yarn":
        scaling["original_max_position_embeddings"] = original
        scaling |= d.one(
            {},
            {"truncate": False},
            {"beta_fast": 16, "beta_slow": 2},
            {"attention_factor": 1.1},
            {"mscale": 0.7, "mscale_all_dim": 1.2},
        )
    elif kind == "dynamic":
        c["max_position_embeddings"] = d.one(24, 64, 512)
    c["rope_scaling"] = scaling


def random_rope_parameters(d: Draw, c: Config, kinds: tuple[str, ...] = KINDS, p: float = 0.3) -> Config:
    """The same in one object, as v5 has it."""
    own: Config = {}
    random_rope(d, own, kinds, p)
    scaling = own.pop("rope_scaling", {d.one("type", "rope_type"): "default"})
    parameters = {**scaling, "rope_theta": own.pop("rope_theta")}
    c |= own  # max_position_embeddings
    return parameters


def random_head_dim_absent(d: Draw, c: Config) -> None:
    """Now and then the default of many, 128, with few heads."""
    if d.chance(0.1):
        c |= {"head_dim": ABSENT, "num_attention_heads": 2, "num_key_value_heads": d.one(1, 2)}


def random_sizes(
    d: Draw, c: Config, own_head_dim: bool, experts: str = "num_experts", least: int = 2
) -> None:
    """What all families have. Sizes are multiples of nothing in particular."""
    kv_heads = d.one(1, 2, 3, 4)
    heads = kv_heads * d.within(1, 3)
    head_dim = 2 * d.within(2, 12)
    n_experts = d.within(least, 12)
    c |= {
        "vocab_size": d.within(64, 300),
        "hidden_size": 2 * d.within(10, 40) if own_head_dim else heads * head_dim,
        "num_hidden_layers": d.within(1, 4),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        experts: n_experts,
        "num_experts_per_tok": d.within(1, min(n_experts, 5)),
        "tie_word_embeddings": d.chance(0.3),
        "rms_norm_eps": d.one(1e-6, 1e-5, 1e-3),
    }
    if own_head_dim:
        c["head_dim"] = head_dim


def random_kv_heads(d: Draw, c: Config) -> None:
    """Where the number is that of the query heads, the key may say so by its absence."""
    if c["num_key_value_heads"] == c["num_attention_heads"]:
        c["num_key_value_heads"] = d.one(c["num_attention_heads"], None, ABSENT)


def random_granite(d: Draw) -> Config:
    """The four multipliers and the sizes of IBM's models."""
    c: Config = {
        "intermediate_size": d.within(5, 70),
        "attention_bias": d.one(True, False, ABSENT),
        "attention_multiplier": d.one(0.05, 0.2, 0.5, ABSENT),
        "embedding_multiplier": d.one(12.0, 12, 0.7, ABSENT),
        "logits_scaling": d.one(6.0, 8, 0.5, ABSENT),
        "residual_multiplier": d.one(0.22, 0.22, 1.3, ABSENT),
    }
    random_sizes(d, c, own_head_dim=d.chance(0.3), experts="num_local_experts")
    random_kv_heads(d, c)
    return c


def random_scaling(d: Draw, kind: str) -> Config:
    """What `rope_parameters` holds beside theta."""
    if kind == "default":
        return {"rope_type": kind}
    c: Config = {}
    random_rope(d, c, (kind,), p=1.0)
    scaling = dict(c["rope_scaling"])
    return {"rope_type": scaling.pop("type", kind), **scaling}


def random_typed_rope(
    d: Draw, c: Config, width: Callable[[float], int], partials: tuple[Any, ...], default: float
) -> None:
    """rope_parameters by type of layer, or none. `width`: of the rotated part, for a partial_rotary_factor
    out of `partials`; `default` where it is absent."""
    if d.chance(0.3):
        c["rope_parameters"] = d.one(ABSENT, None)
        return
    c["max_position_embeddings"] = d.one(24, 64, 512)
    by_type: Config = {}
    for layer_type in ("full_attention", "sliding_attention"):
        kind = d.one("default", "default", *KINDS)
        scaling = random_scaling(d, kind)
        scaling.pop("truncate", None)  # transformers looks for it outside the types
        # scaled kinds have the default of all families, and dynamic rope divides by the width less two
        of = {p: width((default if kind == "default" else 1.0) if p == ABSENT else p) for p in partials}
        usable = [p for p in partials if of[p] % 2 == 0 and of[p] > 2]
        scaling["partial_rotary_factor"] = d.one(*usable)
        scaling["rope_theta"] = d.one(500.0, 10000.0, 1000000.0)
        by_type[layer_type] = {key: value for key, value in scaling.items() if value != ABSENT}
    c["rope_parameters"] = by_type


def random_layer_types(d: Draw, layers: int, *types: str) -> Any:
    """A list, or nothing."""
    return d.one([d.one(*types) for _ in range(layers)], [d.one(*types) for _ in range(layers)], ABSENT, None)


def random_qwen(d: Draw, c: Config) -> None:
    """Dense layers and windows of qwen2_moe and qwen3_moe."""
    layers = int(c["num_hidden_layers"])
    c |= {
        "moe_intermediate_size": d.within(5, 70),
        "intermediate_size": d.within(5, 90),
        "decoder_sparse_step": d.one(1, 1, 2),
        "mlp_only_layers": [n for n in range(layers) if d.chance(0.2)],
        "use_sliding_window": d.chance(0.4),
        # not 1: transformers' cache then keeps all keys in decode ([-1 + 1:]), unlike its own prefill
        "sliding_window": d.within(2, 20),
        "max_window_layers": d.within(0, layers),
    }


def random_latent(d: Draw, unit: int = 1) -> Config:
    """DeepSeek's attention and layers, without the router's settings. The widths before a rotated part are
    multiples of `unit`."""
    heads, layers = d.within(1, 8), d.within(1, 4)
    c: Config = {
        "vocab_size": d.within(64, 300),
        "hidden_size": heads * d.within(4, 12),  # deepseek_v2's config refuses what heads do not divide
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        # not fewer: transformers repeats keys that many times, although latent keys come once per head
        "num_key_value_heads": heads,
        "q_lora_rank": d.one(None, d.within(5, 40)),
        "kv_lora_rank": unit * d.within(5, 20),
        "qk_nope_head_dim": unit * d.within(3, 12),
        "qk_rope_head_dim": 2 * d.within(2, 8),
        "v_head_dim": d.within(3, 24),
        "attention_bias": d.chance(0.3),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "first_k_dense_replace": d.within(0, layers),
        "n_shared_experts": d.within(1, 3),
        "routed_scaling_factor": d.one(1.0, 2.5, ABSENT),
        "rms_norm_eps": d.one(1e-6, 1e-5, 1e-3),
        "tie_word_embeddings": d.chance(0.3),
    }
    random_rope(d, c, p=0.5)
    return c


def random_deepseek_router(d: Draw, c: Config) -> None:
    """Sigmoid scores in groups, as DeepSeek-V3, GLM-4.5 and dots.llm1 have them."""
    size = d.within(2, 4)  # of a group, which counts for its two best
    groups = d.within(1, 4)
    kept = d.within(1, groups)
    c |= {
        "n_group": groups,
        "n_routed_experts": groups * size,
        "topk_group": kept,
        # not more than the kept groups hold: transformers would choose among experts masked with -inf
        "num_experts_per_tok": d.within(1, min(kept * size, 5)),
        "norm_topk_prob": d.one(True, False, ABSENT),
    }
