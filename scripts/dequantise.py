"""Quantised checkpoints as plain fp32 ones in the layout of the Hub, which transformers loads.

`dequantise_checkpoint(src, dst)` reads a checkpoint in any of the forms below and writes F32 safetensors
and a config.json without quantisation. What a tensor is follows from its name, its dtype and the config,
never from the code that wrote it: scripts/schemes.py shares no line with this file.

    mlx affine   X.weight U32, X.scales, X.biases      w = fp32(scale) * code, rounded, + fp32(bias), rounded
    mlx mxfp4    X.weight U32, X.scales U8             w = E2M1(code) * 2^(scale - 127), exact
    FP8          X F8_E4M3, X_scale_inv F32 or BF16    w = E4M3(code) * scale of its block, one fp32 product
    gpt-oss      X_blocks, X_scales U8                 as mlx mxfp4, out-major: transposed here

mlx-lm's layout is undone as well: stacked experts (`switch_mlp`; `experts` in dots1 and gpt_oss), and the two
halves `embed_q` and `unembed_out` of deepseek's `kv_b_proj`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

Config = dict[str, Any]
Plan = dict[str, Callable[[], Tensor]]  # name in the Hub layout -> its values in fp32

PLAIN = ("F32", "BF16", "F16")
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
SHARD_BYTES = 4 << 30
STACKED = re.compile(r"(.*)\.(switch_mlp|experts)\.(gate|up|down)_proj\.(weight|bias)")


class DequantiseError(Exception):
    """One line for the user."""


# ---- formats -----------------------------------------------------------------------------------------------


def split_groups(values: Tensor, size: int) -> Tensor:
    """[..., n] -> [..., n / size, size]"""
    return values.reshape(*values.shape[:-1], -1, size)


def unpack_codes(packed: Tensor, bits: int) -> Tensor:
    """U32 [..., n] -> int64 [..., 32 n / bits]: a row is one little-endian stream of bits, low bits first."""
    words = packed.view(torch.int32).to(torch.int64) & 0xFFFFFFFF
    # A code may straddle two words; the last one of a row never does, so what follows it does not matter.
    pairs = words | (torch.nn.functional.pad(words, (0, 1))[..., 1:] << 32 & 0x7FFFFFFFFFFFFFFF)
    first = torch.arange(words.shape[-1] * 32 // bits) * bits
    return pairs[..., first // 32] >> first % 32 & (1 << bits) - 1


def dequantise_affine(packed: Tensor, scales: Tensor, biases: Tensor, bits: int, group: int) -> Tensor:
    """U32 [..., in*bits/32], scales and biases [..., in/group] -> F32 [..., in]."""
    codes = unpack_codes(packed, bits).to(torch.float32)
    grouped = split_groups(codes, group)
    product = scales.to(torch.float32).unsqueeze(-1) * grouped
    return (product + biases.to(torch.float32).unsqueeze(-1)).flatten(-2)


def dequantise_e2m1(codes: Tensor, scales: Tensor) -> Tensor:
    """Codes 0 .. 15 [..., in], scales U8 [..., in/32] -> F32 [..., in]. Through doubles, where every product
    is exact: what passes the range of fp32 (scales from 253) becomes an infinity, a zero stays one."""
    table = torch.tensor([*E2M1, *(-v for v in E2M1)], dtype=torch.float64)
    power = torch.pow(2.0, scales.to(torch.float64) - 127.0)
    return (split_groups(table[codes.to(torch.int64)], 32) * power.unsqueeze(-1)).flatten(-2).float()


def dequantise_blocks(blocks: Tensor, scales: Tensor) -> Tensor:
    """gpt-oss: U8 [..., in/32, 16] and [..., in/32] -> F32 [..., in]; the low nibble is the even element."""
    nibbles = torch.stack([blocks & 15, blocks >> 4], dim=-1).flatten(-3)
    return dequantise_e2m1(nibbles, scales)


def dequantise_fp8(codes: Tensor, scale_inv: Tensor, block: tuple[int, int]) -> Tensor:
    """F8_E4M3 [..., rows, cols], scales [..., ceil(rows/block), ceil(cols/block)] -> F32; the last blocks may
    be partial."""
    scale = scale_inv.to(torch.float32)
    for dim in (-2, -1):
        scale = scale.repeat_interleave(block[dim], dim).narrow(dim, 0, codes.shape[dim])
    return codes.to(torch.float32) * scale


# ---- a directory of shards ---------------------------------------------------------------------------------


class Source:
    """The tensors of a checkpoint, read one at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        file = directory / "config.json"
        if not file.exists():
            raise DequantiseError(f"{file}: is missing")
        self.config: Config = json.loads(file.read_text())
        index = directory / "model.safetensors.index.json"
        if index.exists():
            files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        else:
            files = sorted(path.name for path in directory.glob("*.safetensors"))
            files = ["model.safetensors"] if "model.safetensors" in files else files
        if not files:
            raise DequantiseError(f"{directory}: holds no safetensors file")
        self.files: dict[str, Path] = {}
        self.shapes: dict[str, list[int]] = {}
        self.dtypes: dict[str, str] = {}
        for path in (directory / name for name in files):
            with safe_open(path, "pt") as f:
                for name in f.keys():  # noqa: SIM118 (safe_open is no dict)
                    view = f.get_slice(name)
                    self.files[name] = path
                    self.shapes[name], self.dtypes[name] = view.get_shape(), view.get_dtype()

    def get(self, name: str) -> Tensor:
        with safe_open(self.files[name], "pt") as f:
            tensor: Tensor = f.get_tensor(name)
        return tensor

    def expect(self, name: str, shape: list[int], dtypes: tuple[str, ...] = PLAIN) -> None:
        if name not in self.files:
            raise DequantiseError(f"{self.directory}: tensor {name} is missing")
        if self.shapes[name] != shape or self.dtypes[name] not in dtypes:
            found = f"{self.dtypes[name]} {self.shapes[name]}"
            raise DequantiseError(
                f"{self.files[name]}: tensor {name}: {found}, expected {'/'.join(dtypes)} {shape}"
            )


def quantization_of(config: Config) -> Config:
    return config.get("quantization") or config.get("quantization_config") or {}


def is_plain(directory: Path) -> bool:
    """Whether transformers can read it as it is: nothing is quantised, nothing stacked as mlx-lm does it."""
    source = Source(directory)
    marks = (".scales", "_scale_inv", "_blocks", ".embed_q.weight")
    marked = any(name.endswith(marks) or STACKED.fullmatch(name) for name in source.files)
    marked = marked or bool(zero_experts(source, source.files))
    return not marked and not quantization_of(source.config)


# ---- what each tensor of the source becomes ----------------------------------------------------------------


def mlx_parameters(source: Source, module: str) -> tuple[int, int, str]:
    """Bits, group size and mode of a quantised module: its own or, if it has none or `true`, those of the top
    level. Its own object takes nothing from the top level: without a mode it is affine, without numbers it
    has the mode's."""
    top = quantization_of(source.config)
    own = top.get(module, True)
    if own is True:
        own = top if {"bits", "group_size"} <= top.keys() else None
    if not isinstance(own, dict):
        raise DequantiseError(
            f"{source.directory / 'config.json'}: quantization: {module} has .scales, expected bits and "
            f"group_size for it, found {json.dumps(top.get(module))}"
        )
    mode = str(own.get("mode", "affine"))
    return int(own.get("bits", 4)), int(own.get("group_size", 32 if mode == "mxfp4" else 64)), mode


def plan_mlx(source: Source, module: str) -> Callable[[], Tensor]:
    bits, group, mode = mlx_parameters(source, module)
    weight, scales, biases = (f"{module}.{leaf}" for leaf in ("weight", "scales", "biases"))
    *lead, n_groups = source.shapes[scales]
    source.expect(weight, [*lead, n_groups * group * bits // 32], ("U32",))
    if mode == "affine" and bits in (2, 3, 4, 5, 6, 8):
        source.expect(biases, [*lead, n_groups], (source.dtypes[scales],))
        source.expect(scales, [*lead, n_groups])
        return lambda: dequantise_affine(
            source.get(weight), source.get(scales), source.get(biases), bits, group
        )
    if (mode, bits, group) == ("mxfp4", 4, 32):
        source.expect(scales, [*lead, n_groups], ("U8",))
        return lambda: dequantise_e2m1(unpack_codes(source.get(weight), 4), source.get(scales))
    raise DequantiseError(f"{source.directory}: {module}: {mode}, {bits} bits, groups of {group}: unknown")


def plan_fp8(source: Source, name: str) -> Callable[[], Tensor]:
    rows, cols = quantization_of(source.config).get("weight_block_size") or (128, 128)
    *lead, height, width = source.shapes[name]
    source.expect(f"{name}_scale_inv", [*lead, -(-height // rows), -(-width // cols)])
    return lambda: dequantise_fp8(source.get(name), source.get(f"{name}_scale_inv"), (rows, cols))


def plan_blocks(source: Source, name: str) -> Callable[[], Tensor]:
    blocks, scales = f"{name}_blocks", f"{name}_scales"
    source.expect(blocks, [*source.shapes[scales], 16], ("U8",))
    source.expect(scales, source.shapes[scales], ("U8",))
    return lambda: dequantise_blocks(source.get(blocks), source.get(scales)).transpose(-2, -1)


def plan_values(source: Source) -> Plan:
    """Every tensor in fp32, still under the names and in the layout of the source."""
    plan: Plan = {}
    for name, dtype in source.dtypes.items():
        module, _, leaf = name.rpartition(".")
        if leaf == "scales" or (leaf == "weight" and f"{module}.scales" in source.files):
            plan[f"{module}.weight"] = plan_mlx(source, module)
        elif leaf == "biases" and f"{module}.scales" in source.files:
            continue
        elif name.endswith("_scale_inv") and name.removesuffix("_scale_inv") in source.files:
            continue
        elif dtype == "F8_E4M3":
            plan[name] = plan_fp8(source, name)
        elif name.endswith("_blocks") and name.removesuffix("_blocks") + "_scales" in source.files:
            plan[name.removesuffix("_blocks")] = plan_blocks(source, name.removesuffix("_blocks"))
        elif name.endswith("_scales") and name.removesuffix("_scales") + "_blocks" in source.files:
            continue
        elif dtype in PLAIN:
            plan[name] = lambda name=name: source.get(name).to(torch.float32)  # type: ignore[misc]
        else:
            raise DequantiseError(f"{source.files[name]}: tensor {name}: {dtype} without its scales")
    return plan


# ---- mlx-lm's layout ---------------------------------------------------------------------------------------


def interleave(plan: Plan, gate: str, up: str, leaf: str) -> Tensor:
    """gpt_oss: rows or biases of gate and up, in turns, input-major."""
    both = torch.stack([plan[f"{gate}.{leaf}"](), plan[f"{up}.{leaf}"]()], dim=2).flatten(1, 2)
    return both.transpose(-2, -1) if leaf == "weight" else both


def unstack_gpt_oss(plan: Plan, prefix: str, leaf: str) -> Plan:
    gate, up, down = (f"{prefix}.experts.{p}_proj" for p in ("gate", "up", "down"))
    suffix = "" if leaf == "weight" else "_bias"

    def input_major() -> Tensor:
        values = plan[f"{down}.{leaf}"]()
        return values.transpose(-2, -1) if leaf == "weight" else values

    return {
        f"{prefix}.experts.gate_up_proj{suffix}": lambda: interleave(plan, gate, up, leaf),
        f"{prefix}.experts.down_proj{suffix}": input_major,
    }


# Granite's experts are one tensor on the Hub too: gate and up rows, down rows.
GRANITE = ("input_linear.weight", "output_linear.weight")
STACKED_ON_HUB = {
    "granitemoe": GRANITE,
    "granitemoeshared": GRANITE,
    "granitemoe_swa": ("experts.gate_up_proj", "experts.down_proj"),
}


def join_stacked(plan: Plan, prefix: str, stack: str, names: tuple[str, str]) -> Plan:
    gate, up, down = (f"{prefix}.{stack}.{p}_proj.weight" for p in ("gate", "up", "down"))
    return {
        f"{prefix}.{names[0]}": lambda: torch.cat([plan[gate](), plan[up]()], dim=1),
        f"{prefix}.{names[1]}": plan[down],
    }


def unstack_experts(plan: Plan, name: str, prefix: str, projection: str, n_experts: int) -> Plan:
    mixtral = {"gate": "w1", "up": "w3", "down": "w2"}
    leaf = mixtral[projection] if prefix.endswith("block_sparse_moe") else f"{projection}_proj"
    held: list[Tensor] = []  # the stack, while its experts are taken from it

    def expert(e: int) -> Tensor:
        if not held:
            held.append(plan[name]())
        values = held[0][e].clone()
        if e == n_experts - 1:
            held.clear()
        return values

    return {
        f"{prefix}.experts.{e}.{leaf}.weight": (lambda e=e: expert(e))  # type: ignore[misc]
        for e in range(n_experts)
    }


def join_kv_b(plan: Plan, attention: str) -> Tensor:
    """embed_q [heads, rank, nope], unembed_out [heads, v, rank] -> kv_b_proj [heads * (nope + v), rank]."""
    keys = plan[f"{attention}.embed_q.weight"]().transpose(1, 2)
    return torch.cat([keys, plan[f"{attention}.unembed_out.weight"]()], dim=1).flatten(0, 1)


def to_hub(source: Source, plan: Plan) -> Plan:
    out: Plan = {}
    for name, values in plan.items():
        stacked = STACKED.fullmatch(name)
        attention, found, _ = name.partition(".embed_q.")
        if stacked is not None and source.config.get("model_type") == "gpt_oss":
            out |= unstack_gpt_oss(plan, stacked[1], stacked[4])
        elif stacked is not None and source.config.get("model_type") in STACKED_ON_HUB:
            names = STACKED_ON_HUB[source.config["model_type"]]
            out |= join_stacked(plan, stacked[1], stacked[2], names)
        elif stacked is not None and stacked[4] == "weight":
            base = f"{stacked[1]}.{stacked[2]}.{stacked[3]}_proj"
            shape = source.shapes[f"{base}.weight"]
            out |= unstack_experts(plan, name, stacked[1], stacked[3], shape[0])
        elif found:
            out[f"{attention}.kv_b_proj.weight"] = lambda a=attention: join_kv_b(plan, a)  # type: ignore[misc]
        elif not name.endswith(".unembed_out.weight"):
            out[name] = values
    return out


def zero_experts(source: Source, names: Collection[str]) -> Plan:
    """longcat_flash: the last experts give what they get, and real files have nothing for them, while
    transformers expects the two matrices that it never reads."""
    c = source.config
    if c.get("model_type") != "longcat_flash" or any(".experts.gate_up_proj" in name for name in names):
        return {}
    n, zeros = int(c["n_routed_experts"]), torch.zeros(c["expert_ffn_hidden_size"], c["hidden_size"])
    wanted = [
        f"model.layers.{layer}.mlp.experts.{e}.{projection}_proj.weight"
        for layer in range(int(c["num_layers"]))
        for e in range(n, n + int(c.get("zero_expert_num", 256)))
        for projection in ("gate", "up")
    ]
    return {name: zeros.clone for name in wanted if name not in names}


# ---- writing -----------------------------------------------------------------------------------------------


def shards(plan: Plan) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    for name, values in plan.items():
        shard[name] = values().contiguous()
        if sum(t.nbytes for t in shard.values()) >= SHARD_BYTES:
            yield shard
            shard = {}
    if shard:
        yield shard


def plain_config(config: Config) -> Config:
    out = {key: value for key, value in config.items() if key not in ("quantization", "quantization_config")}
    return {key: "float32" if key in ("torch_dtype", "dtype") else value for key, value in out.items()}


def check_method(source: Source) -> None:
    method = quantization_of(source.config).get("quant_method")
    if method not in (None, "fp8", "mxfp4"):
        file = source.directory / "config.json"
        raise DequantiseError(f"{file}: quantization_config.quant_method: {json.dumps(method)} is unknown")


def dequantise_checkpoint(src: Path, dst: Path) -> None:
    """Writes the checkpoint `src` to the new directory `dst`, in fp32 and in the layout of the Hub, with
    every other file of `src` (tokenizer, generation_config.json) beside it."""
    source = Source(src)
    check_method(source)
    plan = to_hub(source, plan_values(source))
    plan |= zero_experts(source, plan)
    dst.mkdir(parents=True, exist_ok=True)
    for path in src.iterdir():
        own = path.suffix == ".safetensors" or path.name in ("config.json", "model.safetensors.index.json")
        if path.is_file() and not own:
            shutil.copy(path, dst / path.name)
    (dst / "config.json").write_text(json.dumps(plain_config(source.config), indent=2) + "\n")
    weight_map: dict[str, str] = {}
    for n, shard in enumerate(shards(plan)):
        file = f"model-{n + 1:05}.safetensors"
        save_file(shard, dst / file, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
    if len(set(weight_map.values())) == 1:
        (dst / "model-00001.safetensors").rename(dst / "model.safetensors")
    else:
        index = {"metadata": {}, "weight_map": dict(sorted(weight_map.items()))}
        (dst / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
