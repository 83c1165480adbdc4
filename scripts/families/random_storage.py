"""Quantised storage of the live oracle's variants: a scheme, and sizes that leave something to quantise."""

from __future__ import annotations

from math import lcm

from families.family import ABSENT, Config, Draw

MLX_BITS = (2, 3, 4, 4, 5, 6, 8)
WIDTHS = (
    "intermediate_size",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "shared_intermediate_size",
    "prefix_dense_intermediate_size",
    "ffn_hidden_size",
    "expert_ffn_hidden_size",
    "kv_lora_rank",
    "q_lora_rank",
)
# mlx-lm drops the router's correction bias of these, so no such file can be reproduced
NOT_MLX = ("ernie4_5_moe",)
# whose experts are no matrices of their own, so none is in blocks of FP8
NOT_FP8 = ("granitemoe", "granitemoeshared", "granitemoe_swa")
# mlx-lm's older files hold kv_b_proj in one
JOINED_KV_B = ("deepseek_v3", "kimi_k2", "glm4_moe_lite")


def random_scheme(d: Draw, model_type: str) -> str:
    mlx = f"mlx{d.one(*MLX_BITS)}-g{d.one(32, 32, 64, 128)}"
    schemes = [mlx, mlx, f"mlx-mixed-g{d.one(32, 64)}", "mlx-mxfp4", "mlx-mxfp4-q8"]
    if model_type == "gpt_oss":
        return str(d.one(*schemes, "mxfp4", "mxfp4", "mxfp4"))
    if model_type in NOT_MLX:
        schemes = []
    elif model_type in NOT_FP8:
        return str(d.one(*schemes))
    elif model_type in JOINED_KV_B:
        schemes = [d.one(scheme, f"{scheme}-kvb") for scheme in schemes]
    return str(d.one(*schemes, d.one("fp8", "fp8-bf16"), d.one("fp8", "fp8-bf16")))


def hidden_multiple(d: Draw, c: Config, multiple: int) -> None:
    """hidden_size upwards to a multiple. Where head_dim follows from it, heads are chosen that divide it."""
    if c.get("head_dim", ABSENT) not in (ABSENT, None):
        c["hidden_size"] = -(-int(c["hidden_size"]) // multiple) * multiple
    elif "kv_lora_rank" in c:  # deepseek_v2's config refuses what heads do not divide
        heads = d.one(1, 2, 4, 8)
        c |= {"num_attention_heads": heads, "num_key_value_heads": heads}
        step = lcm(multiple, heads)
        c["hidden_size"] = -(-int(c["hidden_size"]) // step) * step
    else:
        heads = d.one(2, 4)
        c["hidden_size"] = lcm(multiple, 4 * heads) * d.one(1, 1, 2)
        c |= {"num_attention_heads": heads, "num_key_value_heads": d.one(1, 2, heads)}
        scaling = c.get("rope_scaling")
        for key in ("long_factor", "short_factor"):  # one for each pair of a head
            if isinstance(scaling, dict) and key in scaling:
                n = c["hidden_size"] // heads // 2
                scaling[key] = (scaling[key] * n)[:n]


def random_storage(d: Draw, model_type: str, c: Config) -> str:
    """Returns the scheme and changes the sizes in `c` to go with it. Widths are multiples of the group most
    of the time: where one is not, the matrix beside it stays plain."""
    scheme = random_scheme(d, model_type)
    if scheme.startswith("fp8"):
        hidden_multiple(d, c, d.one(2, 72, 128))
        widths = [d.within(5, 90), d.within(100, 200), 128]
    else:
        # 64: the router of some has groups of 64
        hidden_multiple(d, c, 32 if scheme == "mxfp4" else 128 if scheme.endswith("g128") else 64)
        widths = [32, 64, 96, 128]
    for key in WIDTHS:
        if c.get(key) not in (None, ABSENT) and (scheme == "mxfp4" or d.chance(0.8)):
            c[key] = d.one(*widths)
    if model_type == "deepseek_v2":
        c["kv_lora_rank"] += c["kv_lora_rank"] % 2  # even, for the reason that its random config gives
    if "qk_nope_head_dim" in c and d.chance(0.6):
        c["qk_nope_head_dim"] = d.one(32, 64)
    return scheme
