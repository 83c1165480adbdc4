"""Parts of the random configs of the live oracle."""

from __future__ import annotations

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
