#!/usr/bin/env python3
"""Plots of docs/performance.md, from what bench/measure.py has left in a folder.

    plot.py RESULTS OUT

Writes performance-decode.svg, -prefill.svg, -batch.svg and -depth.svg into OUT: the same bytes for the
same numbers. Colours are those of Okabe and Ito, told apart by those who see colours otherwise; markers
and dashes say the same. The ground is white, so that they can be read on a dark page too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from peer_tables import Rounds
from results import FORMAT_NAMES, SHAPE_NAMES, Measured, load, load_peers, pick

COLOURS = {
    "bf16": "#0072B2",
    "huge": "#56B4E9",
    "packed": "#D55E00",
    "f32": "#000000",
    "fp8": "#CC79A7",
    "affine8": "#009E73",
    "affine4": "#E69F00",
    "mxfp4": "#999999",
    "bf16-mode": "#56B4E9",
}
MARKERS = dict(zip(COLOURS, "oPsv^DXd*", strict=True))
PEER_STYLES = {
    "llama.cpp bf16": ("#0072B2", "o"),
    "llama.cpp Q8_0": ("#009E73", "D"),
    "llama.cpp Q4_K_M": ("#E69F00", "X"),
    "transformers bf16": ("#999999", "o"),
}
GREY = "#444444"
GOALS = {"decode": 92, "prefill": 85}  # % of the limit

plt.rcParams.update(
    {
        "svg.hashsalt": "moe",
        "svg.fonttype": "path",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#dddddd",
        "grid.linewidth": 0.6,
        "legend.frameon": False,
        "figure.facecolor": "white",
        "figure.constrained_layout.use": True,
    }
)


def save(figure: Any, out: Path, name: str) -> None:
    metadata = {"Date": None, "Creator": None, "Title": f"moe: {name}"}
    figure.savefig(out / f"performance-{name}.svg", metadata=metadata)
    plt.close(figure)


def threads_text(n: int) -> str:
    return f"{n} thread{'s' if n > 1 else ''}"


def limit_lines(axes: Any, goal: int, limit: str, is_last: bool) -> None:
    """Named once, beside the last panel, where nothing is in the way."""
    axes.axhline(100, color=GREY, linewidth=1)
    axes.axhline(goal, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    for y, text in ((100, limit), (goal, f"goal, {goal} %")):
        if is_last:
            place = {"xycoords": ("axes fraction", "data"), "va": "center", "color": GREY, "fontsize": 8}
            axes.annotate(text, (1.015, y), annotation_clip=False, **place)


def panels(measured: list[Measured], height: float) -> tuple[Any, list[tuple[Any, str]]]:
    """One beside the other for every shape that was measured."""
    shapes = [shape for shape in SHAPE_NAMES if any(m.shape == shape for m in measured)]
    figure, axes = plt.subplots(
        1, len(shapes), figsize=(4.4 * len(shapes), height), sharey=True, squeeze=False
    )
    for a, shape in zip(axes[0], shapes, strict=True):
        a.set_title(SHAPE_NAMES[shape], fontsize=10)
    return figure, list(zip(axes[0], shapes, strict=True))


def legend_below(figure: Any, axes: Any, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, fontsize=8)


def plot_decode(measured: list[Measured], peers: dict[str, Any]) -> Any:
    here = pick(measured, "decode")
    figure, axes = panels(here, 3.4)
    for a, shape in axes:
        rows = pick(here, "decode", shape=shape)
        groups = sorted({(m.threads, m.depth) for m in rows})
        formats = list(dict.fromkeys(m.format for m in rows))
        width = 0.84 / len(formats)
        for i, name in enumerate(formats):
            part = {(m.threads, m.depth): m.bandwidth_pct for m in rows if m.format == name}
            places = [g + (i - (len(formats) - 1) / 2) * width for g in range(len(groups))]
            heights = [part.get(group, 0) for group in groups]
            a.bar(places, heights, width * 0.9, color=COLOURS[name], label=FORMAT_NAMES[name])
        labels = [f"{threads_text(t)}\ndepth {d}" for t, d in groups]
        a.set_xticks(range(len(groups)), labels)
        a.grid(axis="x", visible=False)
        a.set_ylim(0, 112)
        limit_lines(a, GOALS["decode"], "bandwidth", a is axes[-1][0])
    axes[0][0].set_ylabel("decode, % of bandwidth")
    legend_below(figure, axes[0][0], 8)
    return figure


def plot_prefill(measured: list[Measured], peers: dict[str, Any]) -> Any:
    here = pick(measured, "prefill")
    figure, axes = panels(here, 3.4)
    for a, shape in axes:
        rows = pick(here, "prefill", shape=shape)
        most = max(m.threads for m in rows)
        for name, threads in dict.fromkeys((m.format, m.threads) for m in rows):
            part = [m for m in rows if (m.format, m.threads) == (name, threads)]
            a.plot(
                [m.n_prompt for m in part],
                [m.peak_pct for m in part],
                color=COLOURS[name],
                marker=MARKERS[name],
                markersize=4,
                linestyle="-" if threads == most else ":",
                label=f"{FORMAT_NAMES[name]}, {threads_text(threads)}",
            )
        a.set_xscale("log", base=2)
        lengths = sorted({m.n_prompt for m in rows})
        a.set_xticks(lengths, list(map(str, lengths)))
        a.minorticks_off()
        a.set_ylim(0, 112)
        a.set_xlabel("tokens of the prompt")
        limit_lines(a, GOALS["prefill"], "FMA peak", a is axes[-1][0])
    axes[0][0].set_ylabel("prefill, % of FMA peak")
    legend_below(figure, axes[0][0], 3)
    return figure


def plot_batch_peers(axes: Any, report: Any, sizes: list[int]) -> None:
    threads = max(run["threads"] for run in report["runs"])
    rounds = Rounds(report, threads)
    for name, (colour, marker) in PEER_STYLES.items():
        points = []
        for test in rounds.tests:
            n = int(test.partition(" x")[2] or 1) if " @" not in test else 0
            if test.startswith("tg") and n in sizes and name in rounds.candidates:
                points.append((n, rounds.speed(name, test)))
        if points:
            x, y = zip(*sorted(points), strict=True)
            axes.plot(x, y, color=colour, marker=marker, markerfacecolor="white", markersize=4, linewidth=1,
                      linestyle="--", label=name)  # fmt: skip


def plot_batch(measured: list[Measured], peers: dict[str, Any]) -> Any:
    here = pick(measured, "batch")
    figure, axes = panels(here, 3.8)
    for a, shape in axes:
        rows = pick(here, "batch", shape=shape)
        sizes = sorted({m.n_sequences for m in rows})
        for name in dict.fromkeys(m.format for m in rows):
            part = [m for m in rows if m.format == name]
            x = [m.n_sequences for m in part]
            a.plot(x, [m.bound for m in part], color=COLOURS[name], linewidth=0.8, linestyle=":",
                   label=f"bound, {FORMAT_NAMES[name]}")  # fmt: skip
            a.plot(x, [m.speed for m in part], color=COLOURS[name], marker=MARKERS[name], markersize=5,
                   label=f"moe {FORMAT_NAMES[name]}")  # fmt: skip
        if shape in peers:
            plot_batch_peers(a, peers[shape], sizes)
        a.set_xscale("log", base=2)
        a.set_yscale("log", base=2)
        a.set_xticks(sizes, list(map(str, sizes)))
        a.yaxis.set_major_formatter("{x:.0f}")
        a.minorticks_off()
        a.set_xlabel("sequences side by side")
    axes[0][0].set_ylabel("tokens/s, all sequences")
    legend_below(figure, axes[0][0], 5)
    return figure


def plot_depth(measured: list[Measured], peers: dict[str, Any]) -> Any:
    rows = pick(measured, "depth")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.8, 3.2))
    depths = sorted({m.depth for m in rows})
    decode = [m for m in rows if m.n_prompt == 0]
    prompt = [m for m in rows if m.n_prompt > 0]
    for a, part, name in ((left, decode, "a token"), (right, prompt, "512 tokens of a prompt")):
        n = part[0].n_prompt or 1
        a.plot([m.depth for m in part], [1e3 * n / m.speed for m in part], color=COLOURS["bf16"], marker="o",
               markersize=4, label="measured")  # fmt: skip
        limits = [1e3 * n / (m.speed * 100 / max(m.bandwidth_pct, m.peak_pct)) for m in part]
        a.plot([m.depth for m in part], limits, color=GREY, linewidth=0.8, linestyle=":",
               label="if the limit were reached")  # fmt: skip
        a.set_xticks(depths, [f"{d // 1024}k" if d else "0" for d in depths])
        a.set_ylim(bottom=0)
        a.set_xlabel("positions in the cache")
        a.set_ylabel(f"ms for {name}")
        a.legend(fontsize=8)
    return figure


PLOTS: dict[str, Callable[[list[Measured], dict[str, Any]], Any]] = {
    "decode": plot_decode,
    "prefill": plot_prefill,
    "batch": plot_batch,
    "depth": plot_depth,
}


def main() -> None:
    results, out = Path(sys.argv[1]), Path(sys.argv[2])
    measured, peers = load(results), load_peers(results)
    for name, plot in PLOTS.items():
        if pick(measured, name):
            save(plot(measured, peers), out, name)


if __name__ == "__main__":
    main()
