"""The quantised forms in which checkpoints are shared: what is stored of plain tensors, and the config.

Schemes, by name:

    mlx4-g64           mlx-lm: affine, 2, 3, 4, 5, 6 or 8 bits, groups of 32, 64 or 128; scales in the
                       dtype of the weight. Embeddings, head; the router in 8 bits where mlx-lm does so
    mlx-mixed-g32      the same with an override for most modules, drawn from the seed: bits, group, or none
    mlx-mxfp4          mlx-lm --q-mode mxfp4
    mlx-mxfp4-q8       as the uploads of gpt-oss: the experts in mxfp4, all else affine in 8 bits
    ...-kvb            with deepseek's kv_b_proj, as mlx-lm wrote it before it split it in two
    fp8, fp8-bf16      blocks of 128 x 128 with weight_scale_inv in F32 or BF16: all projections, MTP layers
    mxfp4              gpt-oss: the experts in *_blocks and *_scales

The values are honestly quantised, the names, dtypes and config.json those of real files.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Config = dict[str, Any]
Tensors = dict[str, Tensor]
Entries = dict[str, tuple[str, Tensor]]  # name -> safetensors dtype, values in that dtype

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}
MLX_BITS = (2, 3, 4, 5, 6, 8)
MLX_GROUPS = (32, 64, 128)
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
E4M3_MAX = 448.0
FP8_BLOCK = 128

# mlx-lm holds the router of these as a bare matrix, never quantised; those modules in 8 bits.
BARE_GATES = (
    "deepseek_v2",
    "deepseek_v3",
    "kimi_k2",
    "glm4_moe",
    "glm4_moe_lite",
    "dots1",
    "exaone_moe",
    "solar_open",
    "axk1",
    "mimo_v2_flash",
)
GRANITE_IN_8_BITS = (".block_sparse_moe.router.layer", ".self_attn.o_proj", "mlp.down_proj", "lm_head")
IN_8_BITS: dict[str, tuple[str, ...]] = {
    "qwen3_moe": (".mlp.gate",),
    "gpt_oss": (".mlp.router",),
    "granitemoe": GRANITE_IN_8_BITS,
    "mellum": (".mlp.gate",),
    "minimax_m2": (".block_sparse_moe.gate",),
    "longcat_flash": (".mlp.router.classifier",),
}
SPLITS_KV_B = ("deepseek_v3", "kimi_k2", "glm4_moe_lite")


class QuantiseError(Exception):
    """One line for the user."""


@dataclass(frozen=True)
class Scheme:
    kind: str  # "mlx", "fp8", "mxfp4"
    bits: int = 4
    group: int = 64
    mode: str = "affine"
    rest_in_8_bits: bool = False  # mlx: what is no expert is affine in 8 bits, whatever the mode
    mixed: bool = False
    joined_kv_b: bool = False
    scale_dtype: str = "F32"  # of FP8

    @staticmethod
    def parse(text: str) -> Scheme:
        joined = text.startswith("mlx") and text.endswith("-kvb")
        base = text.removesuffix("-kvb") if joined else text
        affine = re.fullmatch(r"mlx([234568]|-mixed)-g(32|64|128)", base)
        if affine is not None:
            mixed = affine[1] == "-mixed"
            bits = 4 if mixed else int(affine[1])
            return Scheme("mlx", bits=bits, group=int(affine[2]), mixed=mixed, joined_kv_b=joined)
        if base in ("mlx-mxfp4", "mlx-mxfp4-q8"):
            q8 = base.endswith("q8")
            return Scheme("mlx", group=32, mode="mxfp4", rest_in_8_bits=q8, joined_kv_b=joined)
        named = {
            "fp8": Scheme("fp8"),
            "fp8-bf16": Scheme("fp8", scale_dtype="BF16"),
            "mxfp4": Scheme("mxfp4", group=32),
        }
        if base not in named:
            raise QuantiseError(f"scheme {text}: unknown")
        return named[base]

    @property
    def layout(self) -> str:
        """The layout in which the tensors are to come."""
        return "mlx" if self.kind == "mlx" else "hub"


# ---- formats -----------------------------------------------------------------------------------------------


def split_groups(values: Tensor, size: int) -> Tensor:
    return values.reshape(*values.shape[:-1], -1, size)


def pack_codes(codes: Tensor, bits: int) -> Tensor:
    """U8 [..., in] -> U32 [..., in*bits/32]: one stream of bits per row, low bits first."""
    planes = codes.numpy()[..., None] >> np.arange(bits, dtype=np.uint8) & 1
    stream = planes.reshape(*codes.shape[:-1], codes.shape[-1] * bits)
    return torch.from_numpy(np.packbits(stream, axis=-1, bitorder="little").view("<u4"))


def quantise_affine(weight: Tensor, bits: int, group: int, dtype: str) -> tuple[Tensor, Tensor, Tensor]:
    """F32 [..., in] -> codes U32, scales and biases [..., in/group] in `dtype`. As mlx does it: the end of
    the range that is farther from zero is kept exactly, so about half of the scales are negative."""
    grouped = split_groups(weight, group)
    low, high = grouped.amin(-1), grouped.amax(-1)
    top = 2**bits - 1
    scale = ((high - low) / top).clamp_min(1e-7)
    below = low.abs() > high.abs()
    scale = torch.where(below, scale, -scale)
    edge = torch.where(below, low, high)
    steps = torch.round(edge / scale)
    scale = torch.where(steps == 0, scale, edge / steps)
    bias = torch.where(steps == 0, torch.zeros_like(edge), edge)
    codes = torch.round((grouped - bias.unsqueeze(-1)) / scale.unsqueeze(-1)).clamp(0, top)
    packed = pack_codes(codes.to(torch.uint8).flatten(-2), bits)
    return packed, scale.to(DTYPES[dtype]), bias.to(DTYPES[dtype])


def quantise_e2m1(weight: Tensor) -> tuple[Tensor, Tensor]:
    """F32 [..., in] -> codes U8 0 .. 15 [..., in], scales U8 [..., in/32]. The largest of a group lies within
    4 .. 8 of its scale (above 6 it is cut); a group of zeros has scale byte 0."""
    grouped = split_groups(weight, 32)
    _, exponent = torch.frexp(grouped.abs().amax(-1))
    byte = torch.where(grouped.abs().amax(-1) == 0, 0, (exponent - 3 + 127).clamp(0, 254))
    scaled = torch.ldexp(grouped, (127 - byte).unsqueeze(-1))
    middles = torch.tensor([(a + b) / 2 for a, b in zip(E2M1[:-1], E2M1[1:], strict=True)])
    codes = torch.bucketize(scaled.abs(), middles) + 8 * torch.signbit(scaled)
    return codes.to(torch.uint8).flatten(-2), byte.to(torch.uint8)


def quantise_blocks(weight: Tensor) -> tuple[Tensor, Tensor]:
    """F32 [..., in] -> gpt-oss's blocks U8 [..., in/32, 16] and scales U8 [..., in/32]."""
    codes, scales = quantise_e2m1(weight)
    pairs = split_groups(split_groups(codes, 32), 2)
    return pairs[..., 0] | pairs[..., 1] << 4, scales


def quantise_fp8(weight: Tensor, scale_dtype: str) -> tuple[Tensor, Tensor]:
    """F32 [rows, cols] -> F8_E4M3 [rows, cols], scales [ceil(rows/128), ceil(cols/128)]."""
    rows, cols = weight.shape
    scale = torch.empty(-(-rows // FP8_BLOCK), -(-cols // FP8_BLOCK), dtype=DTYPES[scale_dtype])
    codes = torch.empty(rows, cols, dtype=torch.float8_e4m3fn)
    for i, j in np.ndindex(*scale.shape):
        block = (slice(i * FP8_BLOCK, (i + 1) * FP8_BLOCK), slice(j * FP8_BLOCK, (j + 1) * FP8_BLOCK))
        largest = weight[block].abs().max()
        scale[i, j] = largest / E4M3_MAX if largest > 0 else 1.0
        scaled = (weight[block] / scale[i, j].to(torch.float32)).clamp(-E4M3_MAX, E4M3_MAX)
        codes[block] = scaled.to(torch.float8_e4m3fn)
    return codes, scale


# ---- mlx-lm ------------------------------------------------------------------------------------------------


def is_mlx_module(name: str, tensor: Tensor, family: str) -> bool:
    """Whether mlx-lm could quantise this: the weight of a Linear, Embedding, SwitchLinear or MultiLinear."""
    if not name.endswith(".weight") or tensor.dim() < 2 or "norm" in name:
        return False
    return not (family in BARE_GATES and name.endswith(".mlp.gate.weight"))


def drawn_parameters(width: int, rng: np.random.Generator) -> Config | bool:
    """What a mixed checkpoint says of a module: its parameters, False if it stays plain, True for nothing."""
    groups = [g for g in MLX_GROUPS if width % g == 0]
    kind = rng.integers(10)
    if kind == 0:
        return False
    if kind == 1:
        return True
    chosen: Config = {"group_size": int(rng.choice(groups)), "bits": int(rng.choice(MLX_BITS))}
    return {**chosen, "mode": "affine"} if kind % 2 else chosen


def mlx_parameters(
    name: str, width: int, family: str, s: Scheme, rng: np.random.Generator
) -> Config | bool | None:
    """What `quantization` says of a module that mlx-lm could quantise: its override, True where the top level
    holds, False for an unquantised one that it names, None for one that it doesn't."""
    expert = ".experts." in name or ".switch_mlp." in name
    if width % (64 if s.rest_in_8_bits and not expert else s.group) != 0:
        return None
    module = name.removesuffix(".weight")
    if module.endswith(IN_8_BITS.get(family, ())):
        return {"group_size": 64, "bits": 8} if width % 64 == 0 else None
    if s.rest_in_8_bits and not expert:
        return {"group_size": 64, "bits": 8, "mode": "affine"}
    return drawn_parameters(width, rng) if s.mixed else True


def split_kv_b(name: str, tensor: Tensor, config: Config) -> Tensors:
    """kv_b_proj [heads * (nope + v), rank] -> embed_q [heads, rank, nope], unembed_out [heads, v, rank]."""
    attention = name.removesuffix(".kv_b_proj.weight")
    heads = tensor.reshape(config["num_attention_heads"], -1, tensor.shape[1])
    nope = config["qk_nope_head_dim"]
    return {
        f"{attention}.embed_q.weight": heads[:, :nope].transpose(1, 2).contiguous(),
        f"{attention}.unembed_out.weight": heads[:, nope:].contiguous(),
    }


def kept_by_mlx(tensors: Tensors, config: Config, s: Scheme) -> Tensors:
    """Without the layers of multi-token prediction, and with kv_b_proj as mlx-lm holds it."""
    split = config["model_type"] in SPLITS_KV_B and not s.joined_kv_b
    n_layers = config.get("num_hidden_layers") or config["num_layers"]
    out: Tensors = {}
    for name, tensor in tensors.items():
        layer = re.match(r"model\.layers\.(\d+)\.", name)
        if layer and int(layer[1]) >= n_layers:
            continue
        if split and name.endswith(".kv_b_proj.weight"):
            out |= split_kv_b(name, tensor, config)
        else:
            out[name] = tensor
    return out


def quantise_mlx(
    tensors: Tensors, dtypes: Mapping[str, str], config: Config, s: Scheme, rng: np.random.Generator
) -> tuple[Entries, Config]:
    family = config["model_type"]
    top: Config = {"group_size": s.group, "bits": s.bits, "mode": s.mode}
    overrides: Config = {}
    out: Entries = {}
    for name, tensor in kept_by_mlx(tensors, config, s).items():
        whole = re.sub(r"\.(embed_q|unembed_out)\.", ".kv_b_proj.", name)
        dtype, module, width = dtypes[whole], name.removesuffix(".weight"), tensor.shape[-1]
        stored = tensor.to(DTYPES[dtype])
        out[name] = (dtype, stored)
        own = mlx_parameters(name, width, family, s, rng) if is_mlx_module(name, tensor, family) else None
        if own is False or isinstance(own, dict):
            overrides[module] = own
        if not own:
            continue
        used = {"mode": "affine", **own} if isinstance(own, dict) else top
        bits, group = used["bits"], used["group_size"]
        if width % group != 0:
            raise QuantiseError(f"{name}: groups of {group} do not fit rows of {width}")
        if used["mode"] == "mxfp4":
            codes, scales = quantise_e2m1(stored.to(torch.float32))
            out[name] = ("U32", pack_codes(codes, 4))
            out[f"{module}.scales"] = ("U8", scales)
        else:
            packed, scales, biases = quantise_affine(stored.to(torch.float32), bits, group, dtype)
            out[name] = ("U32", packed)
            out[f"{module}.scales"], out[f"{module}.biases"] = (dtype, scales), (dtype, biases)
    quantization = {**top, **overrides}
    return out, {"quantization": quantization, "quantization_config": copy.deepcopy(quantization)}


# ---- FP8 and gpt-oss ---------------------------------------------------------------------------------------

NOT_FP8 = re.compile(
    r".*(norm\.weight|\.gate(\.wg)?\.weight|\.shared_expert_gate\.weight|\.eh_proj\.weight|\.head\.weight)"
    r"|.*\.router\.classifier\.weight"
    r"|(.*\.embed_tokens|lm_head)\.weight|.*\.bias|.*e_score_correction_bias"
)


def quantise_fp8_checkpoint(
    tensors: Tensors, dtypes: Mapping[str, str], config: Config, s: Scheme
) -> tuple[Entries, Config]:
    out: Entries = {}
    plain: list[str] = []
    for name, tensor in tensors.items():
        stored = tensor.to(DTYPES[dtypes[name]])
        if tensor.dim() != 2 or NOT_FP8.fullmatch(name):
            out[name] = (dtypes[name], stored)
            plain += [name.removesuffix(".weight")] if name.endswith(".weight") else []
            continue
        codes, scale = quantise_fp8(stored.to(torch.float32), s.scale_dtype)
        out[name] = ("F8_E4M3", codes)
        out[f"{name}_scale_inv"] = (s.scale_dtype, scale)
    quantization: Config = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8"}
    if not config["model_type"].startswith("deepseek"):  # whose files don't list what is plain
        listed = [name for name in plain if name == "lm_head" or name.startswith("model.layers.")]
        quantization["modules_to_not_convert"] = sorted(listed)
    quantization["weight_block_size"] = [FP8_BLOCK, FP8_BLOCK]
    return out, {"quantization_config": quantization}


def quantise_gpt_oss(tensors: Tensors, dtypes: Mapping[str, str], config: Config) -> tuple[Entries, Config]:
    out: Entries = {}
    for name, tensor in tensors.items():
        stored = tensor.to(DTYPES[dtypes[name]])
        if name.endswith((".experts.gate_up_proj", ".experts.down_proj")):
            blocks, scales = quantise_blocks(stored.to(torch.float32).transpose(-2, -1).contiguous())
            out[f"{name}_blocks"], out[f"{name}_scales"] = ("U8", blocks), ("U8", scales)
        else:
            out[name] = (dtypes[name], stored)
    plain = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    quantization = {"modules_to_not_convert": plain, "quant_method": "mxfp4"}
    return out, {"quantization_config": quantization}


# ---- a checkpoint ------------------------------------------------------------------------------------------


def quantise(
    tensors: Tensors, dtypes: Mapping[str, str], config: Config, scheme: Scheme, seed: int = 0
) -> tuple[Entries, Config]:
    """tensors: in scheme.layout; dtypes: name -> dtype in which it is stored if it stays plain, in which
    mlx's scales are stored if not. Returns what is stored, and what config.json says of it."""
    if scheme.kind == "mlx":
        return quantise_mlx(tensors, dtypes, config, scheme, np.random.default_rng([seed, 5]))
    if scheme.kind == "fp8":
        return quantise_fp8_checkpoint(tensors, dtypes, config, scheme)
    if config["model_type"] != "gpt_oss":
        raise QuantiseError(f"model_type {config['model_type']}: the scheme mxfp4 is that of gpt_oss")
    return quantise_gpt_oss(tensors, dtypes, config)
