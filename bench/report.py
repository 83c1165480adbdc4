#!/usr/bin/env python3
"""Writes the tables of docs/performance.md, between their markers, from what bench/measure.py has left in a
folder.

report.py RESULTS DOCS
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from peer_tables import tables
from results import FORMAT_NAMES, SHAPE_NAMES, Measured, load, load_peers, pick

SAME_BITS = ("bf16", "huge", "packed")  # three ways to hold the same weights


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def span(values: tuple[float, float], digits: int = 1) -> str:
    low, high = (f"{v:.{digits}f}" for v in values)
    return low if low == high else f"{low} to {high}"


def head(*names: str) -> list[str]:
    return [row(names), row(["---", *["---:"] * (len(names) - 1)])]


def decode_table(measured: list[Measured]) -> list[str]:
    lines = []
    for shape, title in SHAPE_NAMES.items():
        here = pick(measured, "decode", shape=shape)
        columns = sorted({(m.threads, m.depth) for m in here})
        if not here:
            continue
        lines += ["", f"{title}: tokens/s (of the bandwidth)", ""]
        lines += head("", *(f"{t} thread{'s' if t > 1 else ''}, depth {d}" for t, d in columns))
        for name in dict.fromkeys(m.format for m in here):
            cells = {(m.threads, m.depth): m for m in here if m.format == name}
            speeds = [f"{c.speed:.1f} ({c.bandwidth_pct:.0f} %)" for c in map(cells.get, columns) if c]
            lines.append(row([FORMAT_NAMES[name], *speeds]))
        probes = [[m.bandwidth for m in here if (m.threads, m.depth) == column] for column in columns]
        limits = [span((min(low for low, _ in p), max(high for _, high in p))) for p in probes]
        lines.append(row(["*bandwidth, GB/s*", *limits]))
    return lines


def prefill_table(measured: list[Measured]) -> list[str]:
    lines = []
    for shape, title in SHAPE_NAMES.items():
        here = pick(measured, "prefill", shape=shape)
        lengths = sorted({m.n_prompt for m in here})
        if not here:
            continue
        lines += ["", f"{title}: tokens/s (of the FMA peak)", "", *head("", *map(str, lengths), "*GFLOP/s*")]
        for name, threads in dict.fromkeys((m.format, m.threads) for m in here):
            cells = {m.n_prompt: m for m in here if (m.format, m.threads) == (name, threads)}
            speeds = [f"{c.speed:.0f} ({c.peak_pct:.0f} %)" for c in map(cells.get, lengths) if c]
            peaks = [m.peak for m in cells.values()]
            limit = span((min(low for low, _ in peaks), max(high for _, high in peaks)), 0)
            what = f"{FORMAT_NAMES[name]}, {threads} thread{'s' if threads > 1 else ''}"
            lines.append(row([what, *speeds, limit]))
    return lines


def batch_table(measured: list[Measured]) -> list[str]:
    lines = []
    for shape, title in SHAPE_NAMES.items():
        here = pick(measured, "batch", shape=shape)
        sizes = sorted({m.n_sequences for m in here})
        if not here:
            continue
        lines += ["", f"{title}: tokens/s, of all sequences (of the bound by bandwidth)", ""]
        lines += head("", *(f"{n} sequence{'s' if n > 1 else ''}" for n in sizes))
        for name in dict.fromkeys(m.format for m in here):
            cells = {m.n_sequences: m for m in here if m.format == name}
            speeds = [f"{c.speed:.1f} ({c.bandwidth_pct:.0f} %)" for c in map(cells.get, sizes) if c]
            lines.append(row([FORMAT_NAMES[name], *speeds]))
    return lines


def depth_table(measured: list[Measured]) -> list[str]:
    lines = []
    for shape, title in SHAPE_NAMES.items():
        here = pick(measured, "depth", shape=shape)
        depths = sorted({m.depth for m in here})
        if not here:
            continue
        lines += ["", title, "", *head("depth", *map(str, depths))]
        decode = {m.depth: m for m in here if m.n_prompt == 0}
        prompt = {m.depth: m for m in here if m.n_prompt > 0}
        cells = [f"{c.speed:.1f} ({c.bandwidth_pct:.0f} %)" for c in map(decode.get, depths) if c]
        lines.append(row(["decode, tokens/s (of the bandwidth)", *cells]))
        cells = [f"{c.speed:.0f} ({c.peak_pct:.0f} %)" for c in map(prompt.get, depths) if c]
        lines.append(row(["512 more of a prompt, tokens/s (of the FMA peak)", *cells]))
    return lines


def hash_lines(measured: list[Measured]) -> list[str]:
    """Whether a test left the same logits in all runs: any number of threads, any way to hold bf16."""
    seen: dict[tuple[str, str, int, int, int], set[str]] = {}
    for m in measured:
        if m.format in SAME_BITS:
            test = (m.figure, m.shape, m.n_prompt, m.n_sequences, m.depth)
            seen.setdefault(test, set()).update(m.hashes)
    same = sum(len(hashes) == 1 for hashes in seen.values())
    names = ", ".join(FORMAT_NAMES[f] for f in SAME_BITS if any(m.format == f for m in measured))
    return ["", f"{same} of {len(seen)} tests left the same logits hash in all runs ({names}; all threads)."]


def machine_lines(measured: list[Measured]) -> list[str]:
    rows = [["CPU", cpu_name()], ["cores used", str(len(os.sched_getaffinity(0)))]]
    for threads in sorted({m.threads for m in measured}):
        here = [m for m in measured if m.threads == threads]
        bandwidth = span((min(m.bandwidth[0] for m in here), max(m.bandwidth[1] for m in here)))
        peak = span((min(m.peak[0] for m in here), max(m.peak[1] for m in here)), 0)
        plural = "s" if threads > 1 else ""
        rows.append([f"{threads} thread{plural}", f"{bandwidth} GB/s, {peak} GFLOP/s, over all runs"])
    return ["", "| | |", "|---|---|", *map(row, rows)]


def cpu_name() -> str:
    """As Linux tells it, and its vector instructions, since virtual machines hide the model."""
    info = Path("/proc/cpuinfo").read_text()
    found = {key: re.search(rf"^{key}\s*: (.*)$", info, re.MULTILINE) for key in ("model name", "flags")}
    name = found["model name"][1] if found["model name"] else os.uname().machine
    flags = found["flags"][1].split() if found["flags"] else []
    sets = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{name}; {', '.join(sets)}" if sets else name


IMAGES = {
    "decode": "Decode, percent of the bandwidth",
    "prefill": "Prefill, percent of the FMA peak",
    "batch": "Batched decode, tokens per second",
    "depth": "Time per token over depth",
}


def fill(text: str, name: str, lines: list[str]) -> str:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise ValueError(f"no {begin} ... {end}")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    body = "\n".join(lines).strip("\n")
    return f"{before}{begin}\n\n{body}\n\n{end}{after}"


def main() -> None:
    results, docs = Path(sys.argv[1]), Path(sys.argv[2])
    file = docs / "performance.md"
    measured = load(results)
    text = file.read_text()
    parts: dict[str, Callable[[list[Measured]], list[str]]] = {
        "machine": machine_lines,
        "decode": decode_table,
        "prefill": prefill_table,
        "batch": batch_table,
        "depth": depth_table,
        "hashes": hash_lines,
    }
    for name, part in parts.items():
        lines = part(measured)
        if lines:
            lines = [f"![{IMAGES[name]}](performance-{name}.svg)", *lines] if name in IMAGES else lines
            text = fill(text, name, lines)
    peers = load_peers(results)
    if peers:
        text = fill(text, "peers", [tables(report) for report in peers.values()])
    file.write_text(text)


if __name__ == "__main__":
    main()
