#!/usr/bin/env python3
"""Checkpoints in the quantised forms in which they are shared, from plain ones, and back.

    quantise.py quantise SRC DST --scheme SCHEME [--seed N]
    quantise.py dequantise SRC DST

SRC of the first is a plain checkpoint in the layout of the Hub, of a family that the package `families`
knows; dequantise takes any that dequantise.py reads and writes fp32. schemes.py lists the schemes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import torch
from dequantise import DequantiseError, dequantise_checkpoint
from families import FAMILIES
from random_checkpoint import DTYPES, relayout, write_json, write_safetensors
from safetensors import safe_open
from schemes import Config, QuantiseError, Scheme, Tensors, quantise

MLX_DTYPES = {"bfloat16": "BF16", "float16": "F16"}


def read_plain(src: Path) -> tuple[Tensors, dict[str, str]]:
    """Values in fp32 and dtypes, by name."""
    tensors: Tensors = {}
    dtypes: dict[str, str] = {}
    for file in sorted(src.glob("*.safetensors")):
        with safe_open(file, "pt") as f:
            for name in f.keys():  # noqa: SIM118 (safe_open is no dict)
                dtypes[name] = f.get_slice(name).get_dtype()
                if dtypes[name] not in ("F32", "BF16", "F16"):
                    raise QuantiseError(f"{file}: tensor {name}: {dtypes[name]}, expected a plain checkpoint")
                tensors[name] = f.get_tensor(name).to(torch.float32)
    return tensors, dtypes


def quantise_checkpoint(src: Path, dst: Path, scheme: Scheme, seed: int) -> None:
    config: Config = json.loads((src / "config.json").read_text())
    model_type = config["model_type"]
    family = next((f for f in FAMILIES.values() if model_type in (f.model_type, *f.aliases)), None)
    if family is None:
        raise QuantiseError(f"{src / 'config.json'}: model_type {model_type} is unknown")
    if scheme.layout not in family.layouts:
        raise QuantiseError(f"{src / 'config.json'}: mlx-lm's form of {model_type} is unknown")
    tensors, dtypes = read_plain(src)
    if scheme.kind == "mlx":
        # One dtype throughout, as mlx-lm converts to, save for what it leaves in F32.
        tensors = relayout(tensors, family, "mlx")
        if config.get("tie_word_embeddings", False):
            tensors.pop("lm_head.weight", None)
        main = MLX_DTYPES.get(str(config.get("torch_dtype") or config.get("dtype")), "F32")
        dtypes = {name: "F32" if name.endswith(family.f32) else main for name in tensors}
    entries, said = quantise(tensors, dtypes, config, scheme, seed)
    dst.mkdir(parents=True, exist_ok=True)
    for path in src.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name != "model.safetensors.index.json":
            shutil.copy(path, dst / path.name)
    write_json(dst / "config.json", {**config, **said})
    write_safetensors(dst / "model.safetensors", [(name, *entry) for name, entry in entries.items()])
    total = sum(t.numel() * DTYPES[dtype].itemsize for dtype, t in entries.values())
    weight_map = dict.fromkeys(sorted(entries), "model.safetensors")
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    write_json(dst / "model.safetensors.index.json", index)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for command in ("quantise", "dequantise"):
        sub = commands.add_parser(command)
        sub.add_argument("src", type=Path)
        sub.add_argument("dst", type=Path)
        if command == "quantise":
            sub.add_argument("--scheme", required=True)
            sub.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    try:
        if args.command == "dequantise":
            dequantise_checkpoint(args.src, args.dst)
        else:
            quantise_checkpoint(args.src, args.dst, Scheme.parse(args.scheme), args.seed)
    except (DequantiseError, QuantiseError) as error:
        print(f"quantise: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
