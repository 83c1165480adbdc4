#!/usr/bin/env python3
"""Write tests/fixtures/quantised/mlx.safetensors: what mlx itself packs, and the values it reads back.

    make_quantised_vectors.py

Needs PyPI's `mlx` and `mlx-cpu`, which nothing else here does. For every number of bits and group size, one
row of 128 weights, the dtype of the scales in turns: `affine.<bits>.<group>.{weight,scales,biases}` as
mx.quantize makes them and `.values`, F32, as mx.dequantize makes them of scales and biases widened to F32 (in
16 bits it rounds along the way, which is not what the engine reproduces). `source` is what was quantised.
`mxfp4.{weight,scales,values}`: every code under scale bytes from 0 to 254.
"""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx  # type: ignore[import-not-found]
import numpy as np
import torch
from random_checkpoint import DTYPES, write_safetensors
from torch import Tensor

OUT = Path(__file__).resolve().parent.parent / "tests" / "fixtures" / "quantised" / "mlx.safetensors"
SCALE_BYTES = (0, 1, 2, 22, 64, 100, 126, 127, 128, 129, 150, 200, 251, 252, 253, 254)


def to_torch(array: mx.array, dtype: str) -> Tensor:
    wide = np.array(array if dtype in ("U32", "U8") else array.astype(mx.float32))
    return torch.from_numpy(wide).to(DTYPES[dtype])


def affine(source: mx.array, bits: int, group: int, dtype: str) -> list[tuple[str, str, Tensor]]:
    narrow = {"F32": mx.float32, "BF16": mx.bfloat16, "F16": mx.float16}[dtype]
    weight, scales, biases = mx.quantize(source.astype(narrow), group_size=group, bits=bits)
    wide = scales.astype(mx.float32), biases.astype(mx.float32)
    values = mx.dequantize(weight, *wide, group_size=group, bits=bits)
    name = f"affine.{bits}.{group}"
    return [
        (f"{name}.weight", "U32", to_torch(weight, "U32")),
        (f"{name}.scales", dtype, to_torch(scales, dtype)),
        (f"{name}.biases", dtype, to_torch(biases, dtype)),
        (f"{name}.values", "F32", to_torch(values, "F32")),
    ]


def main() -> None:
    rng = np.random.default_rng(0)
    row = rng.standard_normal((1, 128), dtype=np.float32)
    row[0, :32] *= 0.01
    row[0, 96:] = 0.0
    tensors = [("source", "F32", torch.from_numpy(row))]
    dtypes = ("BF16", "F16", "F32")
    for b, bits in enumerate((2, 3, 4, 5, 6, 8)):
        for g, group in enumerate((32, 64, 128)):
            tensors += affine(mx.array(row), bits, group, dtypes[(b + g) % 3])
    codes = np.stack([rng.permutation(32) % 16 for _ in SCALE_BYTES]).astype(np.uint32)
    weight = mx.array((codes.reshape(-1, 8) << np.arange(0, 32, 4, dtype=np.uint32)).sum(-1, dtype=np.uint32))
    weight = weight.reshape(1, -1)
    scales = mx.array(np.array([SCALE_BYTES], dtype=np.uint8))
    values = mx.dequantize(weight, scales, group_size=32, bits=4, mode="mxfp4", dtype=mx.float32)
    tensors += [
        ("mxfp4.weight", "U32", to_torch(weight, "U32")),
        ("mxfp4.scales", "U8", to_torch(scales, "U8")),
        ("mxfp4.values", "F32", to_torch(values, "F32")),
    ]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    write_safetensors(OUT, tensors, {"mlx": mx.__version__})
    print(f"{OUT.name}: {OUT.stat().st_size} bytes, mlx {mx.__version__}")


if __name__ == "__main__":
    main()
