#!/usr/bin/env python3
"""Tiny random checkpoints of the families, in every form in which a checkpoint comes.

    random_checkpoint.py OUT --family qwen3_moe [--seed 7] [--set head_dim=10 ...] [--layout mlx]
                         [--storage mlx4-g64] [--dtypes F32,BF16] [--shards 2] [--style v5] [--unaligned]

A `Variant` says what to build; `write` builds it: config.json, generation_config.json, and model.safetensors
or its shards with their index. The values depend on the family, the config and the seed alone: layout,
storage dtype (but for rounding), shards and alignment move the same numbers about. Nothing here goes through
transformers' save_pretrained, except the rendering of a v5 config: the names are those of real files,
written down once more. What differs between families is in the package `families`, one module each.

Layouts: `hub` one tensor per expert and matrix; `fused` as transformers 5 holds them, gate and up rows in one
[E, 2I, H]; `mlx` mlx-lm's stacked `switch_mlp`. Config styles: `v4` as the files on the Hub are (torch_dtype,
rope_theta, rope_scaling, num_experts), `v5` as transformers 5 writes them (dtype, rope_parameters,
num_local_experts). Storage: the schemes of schemes.py, for which groups of the weights are made zero first.
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from families import FAMILIES
from families.family import ABSENT, COMMON, LAYOUTS, STYLES, Config, Family, Tensors
from families.shapes import PLAIN
from schemes import Entries, Scheme, quantise
from torch import Tensor

DTYPES = {
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I64": torch.int64,
    "U32": torch.uint32,
    "U8": torch.uint8,
    "F8_E4M3": torch.float8_e4m3fn,
}
HF_DTYPE = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
# Endings of the gains of norms: one of a name, two or three under one name.
NORMS = (
    "norm.weight",
    "layernorm.0.weight",
    "layernorm.1.weight",
    "norm_1.weight",
    "norm_2.weight",
    "norm_f.weight",
)
VECTORS = (
    *NORMS,
    ".bias",
    ".gate.weight",
    ".gate.wg.weight",
    ".router.weight",
    ".router.layer.weight",
    ".router.classifier.weight",
    "e_score_correction_bias",
    "expert_bias",
    ".sinks",
    ".softmax_offset",
    ".attention_sink_bias",
)
EXPERTS = (".experts.", ".switch_mlp.", ".block_sparse_moe.input_linear.", ".block_sparse_moe.output_linear.")


@dataclass(frozen=True)
class Variant:
    """One checkpoint to build, and how much text to run through it."""

    family: str
    name: str = "default"
    config: Config = field(default_factory=dict)  # over the family's; ABSENT leaves a key out
    dtypes: tuple[str, ...] = ("BF16",)  # several: drawn per tensor, or by role if `by_role`
    by_role: bool = False  # norms and router in dtypes[0], experts in dtypes[1], the rest in dtypes[2]
    layout: str = "hub"
    storage: str | None = None  # a scheme of schemes.py, which sets the layout
    style: str = "v4"
    shards: int = 1
    unaligned: bool = False  # odd header length, tensors in random order
    mtp: bool = False  # with the tensors of multi-token prediction, which the model does not use
    lacking: bool = False  # without the tensors that the family calls optional
    wrapped: bool = False  # as the text part of another model
    draws: dict[str, tuple[float, float]] = field(default_factory=dict)  # over the family's and DRAWS
    plain_std: float | None = None  # weights N(0, plain_std) and norms of 1, in place of the lively ones
    seed: int = 0
    n_prompt: int = 12
    n_generate: int = 12

    def full_config(self) -> Config:
        """The v4 config.json."""
        main_dtype = self.dtypes[-1] if self.by_role else self.dtypes[0]
        merged: Config = {
            "model_type": self.family,
            "torch_dtype": HF_DTYPE[main_dtype],
            **COMMON,
            **self.of.base,
            **self.config,
        }
        return {key: merged[key] for key in sorted(merged) if merged[key] != ABSENT}

    @property
    def of(self) -> Family:
        return FAMILIES[self.family]

    def describe(self) -> str:
        form = self.storage or self.layout
        parts = [f"{self.family} {self.name}", form, self.style, "+".join(self.dtypes)]
        parts += [f"{self.shards} shards"] if self.shards > 1 else []
        parts += ["by role"] if self.by_role else []
        parts += ["unaligned"] if self.unaligned else []
        parts += ["with MTP tensors"] if self.mtp else []
        parts += ["without optional tensors"] if self.lacking else []
        parts += ["wrapped"] if self.wrapped else []
        parts += [f"{name} N{moments}" for name, moments in sorted(self.draws.items())]
        parts += [f"{k}={json.dumps(v)}" for k, v in sorted(self.config.items())]
        return f"{', '.join(parts)}; seed {self.seed}, {self.n_prompt}+{self.n_generate} tokens"


# Standard deviations, relative to 1/sqrt(fan in), that keep a random model lively: the router decides,
# attention is not uniform, every block moves the residual stream, logits spread.
GAIN = {
    "gate.weight": 2.0,
    "router.weight": 2.0,
    "layer.weight": 2.0,  # of a router, as the next two
    "classifier.weight": 2.0,
    "wg.weight": 2.0,
    "shared_expert_gate.weight": 2.0,
    "q_proj.weight": 1.4,
    "k_proj.weight": 1.4,
    "v_proj.weight": 1.2,
    "o_proj.weight": 1.2,
    "out_proj.weight": 1.2,
    "lm_head.weight": 2.0,
}
# Mean and deviation of what is no product with an input.
DRAWS = {
    **dict.fromkeys(NORMS, (1.0, 0.25)),
    "bias": (0.0, 0.3),
    "embed_tokens.weight": (0.0, 0.4),
    "sinks": (0.5, 1.0),
    "softmax_offset": (0.5, 1.0),
}


def draw(
    name: str,
    shape: tuple[int, ...],
    rng: np.random.Generator,
    draws: dict[str, tuple[float, float]],
    out_major: bool = False,
) -> Tensor:
    """`draws`: mean and deviation by the name's ending, the longest that fits."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    endings = [ending for ending in draws if name.endswith(ending)]
    if endings:
        mean, deviation = draws[max(endings, key=len)]
        noise = np.float32(mean) + np.float32(deviation) * noise
    else:
        leaf = ".".join(name.split(".")[-2:])
        # gpt_oss holds experts input-major
        fan_in = shape[-1] if out_major or name.endswith(".weight") else shape[-2]
        noise = noise * np.float32(GAIN.get(leaf, 1.5) / np.sqrt(fan_in))
    return torch.from_numpy(np.ascontiguousarray(noise, dtype=np.float32))


def hub_tensors(variant: Variant) -> Tensors:
    rng = np.random.default_rng([variant.seed, 1])
    family, c = variant.of, variant.full_config()
    shapes = family.shapes(c)
    if variant.mtp:
        assert family.mtp is not None, f"{family.model_type} has no layers for multi-token prediction"
        shapes |= family.mtp(c)
    if variant.plain_std is None:
        draws = {**DRAWS, **family.draws, **variant.draws}
        return {name: draw(name, shape, rng, draws, family.out_major) for name, shape in shapes.items()}
    std = np.float32(variant.plain_std)
    return {
        name: torch.ones(shape)
        if name.endswith(NORMS)
        else torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * std)
        for name, shape in shapes.items()
    }


def split_stacked(hub: Tensors, family: Family) -> Tensors:
    """For mlx-lm: gate and up rows of stacked experts each on their own."""
    assert family.stacked is not None
    out: Tensors = {}
    for name, tensor in hub.items():
        ending = next((e for e in family.stacked if name.endswith(e)), None)
        if ending is None or tensor.dim() != 3:  # granite's shared expert has the same endings
            out[name] = tensor
            continue
        stack = f"{name.removesuffix(ending)}{family.mlx_stack}"
        if ending == family.stacked[0]:
            gate, up = tensor.chunk(2, dim=1)
            out[f"{stack}.gate_proj.weight"] = gate.contiguous()
            out[f"{stack}.up_proj.weight"] = up.contiguous()
        else:
            out[f"{stack}.down_proj.weight"] = tensor
    return out


def stacked_experts(hub: Tensors, block: str, projection: str) -> Tensor:
    held: list[Tensor] = []
    while f"{block}.experts.{len(held)}.{projection}.weight" in hub:
        held.append(hub[f"{block}.experts.{len(held)}.{projection}.weight"])
    return torch.stack(held)


def relayout(hub: Tensors, family: Family, layout: str) -> Tensors:
    """The same numbers under the names of another layout."""
    assert layout in family.layouts, f"{family.model_type} has no layout {layout}"
    if layout == "hub":
        return dict(hub)
    if family.relayout is not None:
        return family.relayout(hub, layout)
    if family.stacked is not None:
        out = split_stacked(hub, family) if layout == "mlx" else dict(hub)
    else:
        out = stack_experts(hub, family, layout)
    for old, new in family.fused_names if layout == "fused" else family.mlx_names:
        out = {name.replace(old, new): tensor for name, tensor in out.items()}
    return out


def stack_experts(hub: Tensors, family: Family, layout: str) -> Tensors:
    out: Tensors = {}
    gate, up, down = family.experts
    for name, tensor in hub.items():
        block, found, rest = name.partition(".experts.")
        if not found:
            out[name] = tensor
        elif not rest[0].isdigit():  # laguna's correction bias
            out[name] = tensor
        elif rest == f"0.{gate}.weight":
            stacked = {p: stacked_experts(hub, block, p) for p in (gate, up, down)}
            if layout == "fused":
                out[f"{block}.experts.gate_up_proj"] = torch.cat([stacked[gate], stacked[up]], dim=1)
                out[f"{block}.experts.down_proj"] = stacked[down]
            else:
                n_experts = stacked[down].shape[0]  # longcat_flash has rows for more in gate and up
                for target, p in zip(PLAIN, (gate, up, down), strict=True):
                    out[f"{block}.{family.mlx_stack}.{target}.weight"] = stacked[p][:n_experts]
    return out


def storage_dtypes(names: Iterable[str], variant: Variant) -> dict[str, str]:
    rng = np.random.default_rng([variant.seed, 2])
    chosen: dict[str, str] = {}
    for name in names:
        if variant.by_role:
            vector = name.endswith(VECTORS)
            expert = any(part in name for part in EXPERTS)
            chosen[name] = variant.dtypes[0 if vector else 1 if expert else 2]
        elif len(variant.dtypes) == 1 and name.endswith(variant.of.f32):
            chosen[name] = "F32"
        else:
            chosen[name] = variant.dtypes[int(rng.integers(len(variant.dtypes)))]
    return chosen


def write_safetensors(
    path: Path,
    tensors: list[tuple[str, str, Tensor]],
    metadata: dict[str, str] | None = None,
    unaligned: bool = False,
) -> None:
    """tensors: (name, dtype, values), stored in this order, so that the same input gives the same bytes (the
    reference library's save_file does not promise that). The header is padded to a multiple of 8, as that
    library does, or to an odd length, which the format allows as well."""
    header: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    chunks: list[bytes] = []
    offset = 0
    for name, dtype, tensor in tensors:
        data = tensor.to(DTYPES[dtype]).contiguous().flatten().view(torch.uint8).numpy().tobytes()
        offsets = [offset, offset + len(data)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        offset = offsets[1]
        chunks.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((1 - len(text)) % 2 if unaligned else -len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def write_json(path: Path, value: Config) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def v5_config(c: Config) -> Config:
    """What transformers 5 writes for this config."""
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory() as temp:
        write_json(Path(temp) / "config.json", c)
        config = AutoConfig.from_pretrained(temp)
        config.save_pretrained(temp)
        written: Config = json.loads((Path(temp) / "config.json").read_text())
    return written


def with_zero_groups(tensors: Tensors, seed: int, out_major: bool = False) -> Tensors:
    """One group in 16 of 32 inputs is zero, as happens in real files: MXFP4 then has a scale of its own."""
    rng = np.random.default_rng([seed, 6])
    out: Tensors = {}
    for name, tensor in tensors.items():
        out[name] = tensor
        axis = -1 if out_major or name.endswith(".weight") else -2  # gpt_oss holds experts input-major
        if tensor.dim() < 2 or tensor.shape[axis] % 32 != 0 or name.endswith("bias"):
            continue
        rows = tensor.movedim(axis, -1)
        kept = rng.random((*rows.shape[:-1], rows.shape[-1] // 32)) >= 1 / 16
        mask = torch.from_numpy(kept).repeat_interleave(32, -1)
        out[name] = (rows * mask).movedim(-1, axis).contiguous()
    return out


def stored_tensors(variant: Variant) -> tuple[Entries, Config]:
    """What the files hold, and what config.json says of quantisation."""
    stored, said = stored_family(variant)
    if variant.lacking:
        c, optional = variant.full_config(), variant.of.optional
        assert optional is not None, f"{variant.family} has no optional tensors"
        stored = {name: entry for name, entry in stored.items() if not optional(name, c)}
    return wrapped_entries(stored, variant) if variant.wrapped else stored, said


def wrapped_entries(stored: Entries, variant: Variant) -> Entries:
    wrapper = variant.of.wrapper
    assert wrapper is not None
    rng = np.random.default_rng([variant.seed, 7])
    out = {f"{wrapper.prefix}{name}": entry for name, entry in stored.items()}
    for name, shape in wrapper.others(variant.full_config()).items():
        noise = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        out[name] = (variant.dtypes[0], noise)
    return out


def stored_family(variant: Variant) -> tuple[Entries, Config]:
    scheme = Scheme.parse(variant.storage) if variant.storage else None
    hub = hub_tensors(variant)
    if scheme is None:
        tensors = relayout(hub, variant.of, variant.layout)
        dtypes = storage_dtypes(tensors, variant)
        return {name: (dtypes[name], tensor) for name, tensor in tensors.items()}, {}
    of = variant.of
    tensors = relayout(with_zero_groups(hub, variant.seed, of.out_major), of, scheme.layout)
    dtypes = storage_dtypes(tensors, variant)
    return quantise(tensors, dtypes, variant.full_config(), scheme, variant.seed)


def written_config(variant: Variant) -> Config:
    """config.json but for quantisation."""
    c = variant.full_config()
    if variant.wrapped:
        wrapper = variant.of.wrapper
        assert wrapper is not None
        c = {"model_type": wrapper.model_type, **wrapper.config(c), "text_config": c}
    return c if variant.style == "v4" else v5_config(c)


def write(variant: Variant, out: Path) -> None:
    """Builds the checkpoint in the directory `out`."""
    out.mkdir(parents=True, exist_ok=True)
    c = variant.full_config()
    stored, said = stored_tensors(variant)
    order = list(stored)
    if variant.unaligned:
        np.random.default_rng([variant.seed, 3]).shuffle(order)
    entries = [(name, *stored[name]) for name in order]
    write_shards(entries, variant, out)
    write_json(out / "config.json", {**written_config(variant), **said})
    eos = c.get("eos_token_id")
    ids = eos if isinstance(eos, list) else [i for i in (eos, c["vocab_size"] - 2) if i is not None]
    generation: Config = {"eos_token_id": ids}
    if "bos_token_id" in c:
        generation["bos_token_id"] = c["bos_token_id"]
    write_json(out / "generation_config.json", {**generation, "transformers_version": "5.24.0"})


def write_shards(entries: list[tuple[str, str, Tensor]], variant: Variant, out: Path) -> None:
    """Cut by count: a layer's experts, or a matrix and its scales, lie in two files wherever a border falls.
    mlx-lm writes an index for one file too."""
    mlx = variant.storage is not None and variant.storage.startswith("mlx")
    if variant.shards == 1 and not mlx:
        write_safetensors(out / "model.safetensors", entries, unaligned=variant.unaligned)
        return
    weight_map: dict[str, str] = {}
    for i in range(variant.shards):
        part = entries[i * len(entries) // variant.shards : (i + 1) * len(entries) // variant.shards]
        file = (
            f"model-{i + 1:05}-of-{variant.shards:05}.safetensors"
            if variant.shards > 1
            else "model.safetensors"
        )
        write_safetensors(out / file, part, {"format": "mlx"} if mlx else None, unaligned=variant.unaligned)
        weight_map |= {name: file for name, _, _ in part}
    total = sum(t.numel() * DTYPES[d].itemsize for _, d, t in entries)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(out / "model.safetensors.index.json", index)


def prompt_ids(variant: Variant) -> list[int]:
    rng = np.random.default_rng([variant.seed, 4])
    vocab = int(variant.full_config()["vocab_size"])
    return [int(i) for i in rng.integers(0, vocab, variant.n_prompt)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--layout", choices=LAYOUTS, default="hub")
    parser.add_argument("--storage", metavar="SCHEME", help="quantised, see schemes.py")
    parser.add_argument("--dtypes", default="BF16", help="comma-separated; several are drawn per tensor")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--style", choices=STYLES, default="v4")
    parser.add_argument("--unaligned", action="store_true")
    args = parser.parse_args()
    overrides = {key: json.loads(value) for key, value in (o.split("=", 1) for o in args.overrides)}
    variant = Variant(
        family=args.family,
        config=overrides,
        dtypes=tuple(args.dtypes.split(",")),
        layout=args.layout,
        storage=args.storage,
        style=args.style,
        shards=args.shards,
        unaligned=args.unaligned,
        seed=args.seed,
    )
    write(variant, args.out)
    print(f"{args.out}: {variant.describe()}")


if __name__ == "__main__":
    main()
