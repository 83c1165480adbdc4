"""What bench/measure.py has left in a folder, as medians over rounds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHAPE_NAMES = {"qwen3-30b-a3b": "Qwen3-30B-A3B", "olmoe-1b-7b": "OLMoE-1B-7B"}
FORMAT_NAMES = {
    "bf16": "bf16",
    "huge": "bf16, huge pages",
    "packed": "packed",
    "f32": "F32",
    "fp8": "FP8",
    "affine8": "8-bit",
    "affine4": "4-bit",
    "mxfp4": "MXFP4",
    "bf16-mode": "bf16 mode",
}


@dataclass(frozen=True)
class Measured:
    """A test of one format of one shape with one number of threads: medians over its rounds."""

    figure: str
    shape: str
    format: str
    threads: int
    n_prompt: int
    n_sequences: int
    depth: int
    speed: float  # tokens/s
    bandwidth_pct: float
    peak_pct: float
    bandwidth: tuple[float, float]  # GB/s, least and most of the rounds
    peak: tuple[float, float]  # GFLOP/s
    bytes_per_token: float
    hashes: frozenset[str]
    rounds: int

    @property
    def bound(self) -> float:
        """tokens/s if the weights and the cache came at the bandwidth, and nothing else took time."""
        return self.speed * 100 / self.bandwidth_pct


def median(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.median(float(row[key]) for row in rows)


def span(rows: list[dict[str, Any]], key: str) -> tuple[float, float]:
    values = [float(row[key]) for row in rows]
    return min(values), max(values)


def combine(figure: str, shape: str, name: str, rows: list[dict[str, Any]]) -> Measured:
    first = rows[0]
    return Measured(
        figure=figure,
        shape=shape,
        format=name,
        threads=int(first["n_threads"]),
        n_prompt=int(first["n_prompt"]),
        n_sequences=int(first["n_batch"]),
        depth=int(first["n_depth"]),
        speed=median(rows, "median_ts"),
        bandwidth_pct=median(rows, "bandwidth_pct"),
        peak_pct=median(rows, "peak_pct"),
        bandwidth=span(rows, "bandwidth_gbs"),
        peak=span(rows, "peak_gflops"),
        bytes_per_token=median(rows, "bytes_per_token"),
        hashes=frozenset(str(row["logits_hash"]) for row in rows),
        rounds=len(rows),
    )


def load(folder: Path) -> list[Measured]:
    """In the order of formats, then of tests."""
    groups: dict[tuple[str, str, str, str, int], list[dict[str, Any]]] = {}
    for file in sorted(folder.glob("*.*.*.*.json")):
        figure, rest = file.name.split(".", 1)
        shape, name, _, _ = rest.rsplit(".", 3)
        for row in json.loads(file.read_text()):
            groups.setdefault((figure, shape, name, row["test"], row["n_threads"]), []).append(row)
    found = [combine(*key[:3], rows) for key, rows in groups.items()]
    order = list(FORMAT_NAMES)
    shapes = list(SHAPE_NAMES)
    return sorted(
        found,
        key=lambda m: (
            m.figure,
            shapes.index(m.shape),
            order.index(m.format),
            m.threads,
            m.depth,
            m.n_sequences,
            m.n_prompt,
        ),
    )


def pick(measured: Iterable[Measured], figure: str, **wanted: Any) -> list[Measured]:
    """Of a figure, where every field named has the value given."""
    return [
        m for m in measured if m.figure == figure and all(getattr(m, key) == v for key, v in wanted.items())
    ]


def load_peers(folder: Path) -> dict[str, dict[str, Any]]:
    """The reports of compare_peers.py, by shape."""
    return {
        shape: json.loads((folder / f"peers.{shape}.json").read_text())
        for shape in SHAPE_NAMES
        if (folder / f"peers.{shape}.json").exists()
    }
