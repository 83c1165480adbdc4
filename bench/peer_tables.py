"""The report of bench/compare_peers.py as Markdown: medians over rounds, beside the limits of the same
rounds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import Any

Report = dict[str, Any]


def median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


class Rounds:
    """The runs of one number of threads."""

    def __init__(self, report: Report, n_threads: int) -> None:
        self.report = report
        self.runs = [run for run in report["runs"] if run["threads"] == n_threads]
        self.candidates = list(dict.fromkeys(run["candidate"] for run in self.runs))
        self.tests = list(dict.fromkeys(test for run in self.runs for test in run["tests"]))
        self.first = next(name for name in self.candidates if name.startswith("moe "))

    def of(self, candidate: str, test: str) -> dict[int, dict[str, Any]]:
        """By round."""
        return {
            run["round"]: run["tests"][test]
            for run in self.runs
            if run["candidate"] == candidate and test in run["tests"]
        }

    def speed(self, candidate: str, test: str) -> float:
        return median(r["ts"] for r in self.of(candidate, test).values())

    def limit(self, key: str, number: int, test: str) -> float:
        """The largest that any run of moe found in this round: a disturbance only takes away."""
        moe = [name for name in self.candidates if name.startswith("moe ")]
        found = [self.of(name, test).get(number) for name in moe]
        return max(float(r[key]) for r in found if r)

    def bytes_per_token(self, candidate: str, test: str) -> float | None:
        """What moe counts for itself. For a peer: the same experts, as many bytes as its file has for them;
        its cache, which is small, is left out."""
        mine = next(iter(self.of(candidate, test).values()))
        if "bytes_per_token" in mine:
            return float(mine["bytes_per_token"])
        moe = next((n for n in self.candidates if n == "moe bf16"), None)
        counted = next(iter(self.of(moe, test).values()))["bytes_per_token"] if moe else None
        engine, _, storage = candidate.partition(" ")
        if engine == "transformers":
            return None if counted is None else float(counted) * (2 if storage == "fp32" else 1)
        stored = self.report["stored"].get(storage)
        plain = self.report["stored"].get("bf16")
        if not stored or not plain or counted is None:
            return None
        n_sequences = int(test.partition(" x")[2].split()[0]) if " x" in test else 1
        if n_sequences == 1:
            share = self.report["active"]
        else:  # experts that a step of all sequences reads, from what moe counted for it
            share = (float(counted) * n_sequences - plain["rest"]) / plain["experts"]
        return float(stored["rest"] + share * stored["experts"]) / n_sequences

    def cell(self, candidate: str, test: str) -> str:
        rounds = self.of(candidate, test)
        if not rounds:
            return ""
        speed = f"{self.speed(candidate, test):.1f}"
        if test.startswith("pp"):
            per_token = float(next(iter(self.of(self.first, test).values()))["flops_per_token"])
            key = "peak_gflops"
        else:
            read = self.bytes_per_token(candidate, test)
            if read is None:
                return speed
            per_token, key = read, "bandwidth_gbs"
        part = median(r["ts"] * per_token * 1e-9 / self.limit(key, n, test) for n, r in rounds.items())
        return f"{speed} ({100 * part:.0f} %)"

    def probes(self, test: str) -> str:
        key, unit = ("peak_gflops", "GFLOP/s") if test.startswith("pp") else ("bandwidth_gbs", "GB/s")
        numbers = {run["round"] for run in self.runs}
        found = [self.limit(key, n, test) for n in numbers]
        return f"{min(found):.1f} to {max(found):.1f} {unit}"

    def ratio(self, candidate: str, test: str) -> str:
        mine, theirs = self.of(self.first, test), self.of(candidate, test)
        both = sorted(set(mine) & set(theirs))
        return f"{median(mine[n]['ts'] / theirs[n]['ts'] for n in both):.2f}" if both else ""


def row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def speed_table(rounds: Rounds) -> list[str]:
    lines = [row(["tokens/s", *rounds.tests]), row(["---", *["---:"] * len(rounds.tests)])]
    for candidate in rounds.candidates:
        lines.append(row([candidate, *(rounds.cell(candidate, test) for test in rounds.tests)]))
    lines.append(row(["*probe, same rounds*", *(rounds.probes(test) for test in rounds.tests)]))
    return lines


def ratio_table(rounds: Rounds) -> list[str]:
    lines = [row([f"{rounds.first} over", *rounds.tests]), row(["---", *["---:"] * len(rounds.tests)])]
    for candidate in rounds.candidates:
        if candidate != rounds.first:
            lines.append(row([candidate, *(rounds.ratio(candidate, test) for test in rounds.tests)]))
    return lines


def agreement_table(report: Report) -> list[str]:
    if not report["agreement"]:
        return []
    lines = ["Logits, against the reference:", ""]
    lines += ["| | KL | correlation | same top token |", "|---|---:|---:|---:|"]
    for name, a in report["agreement"].items():
        lines.append(f"| {name} | {a['kl']:.1e} | {a['correlation']:.6f} | {100 * a['same_top']:.0f} % |")
    return [*lines, ""]


def tables(report: Report) -> str:
    s = report["settings"]
    lines = [f"{s['shape'].removesuffix('.json')}, {s['layers']} layers", "", *agreement_table(report)]
    for n_threads in dict.fromkeys(run["threads"] for run in report["runs"]):
        rounds = Rounds(report, n_threads)
        n = len({run["round"] for run in rounds.runs})
        rounds_text = f"median of {n} rounds" if n > 1 else "1 round"
        lines += [f"{n_threads} thread{'s' if n_threads > 1 else ''}, {rounds_text}", ""]
        lines += [*speed_table(rounds), "", *ratio_table(rounds), ""]
    return "\n".join(lines)
