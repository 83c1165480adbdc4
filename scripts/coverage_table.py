"""The table of scripts/coverage.sh: lines and branches per folder, from gcovr's JSON.

Exits with 1 if a branch of FULL is not taken, fewer than MIN_LINES % of all lines ran, or an exclusion
excludes nothing; what is missing is named. --list shows it for other folders too.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Report = dict[str, Any]
Sources = dict[str, list[str]]

FULL = ("loader", "text")  # what reads files: every branch
MIN_LINES = 90.0  # % of all lines
ASSERT = re.compile(r"\s*assert\(")


@dataclass(frozen=True)
class Exclusion:
    file: str
    text: str
    where: str  # for messages

    def matches(self, file: str, text: str) -> bool:
        return file == self.file and self.text in text


@dataclass
class Counts:
    n_lines: int = 0
    lines: int = 0
    n_branches: int = 0
    branches: int = 0
    missing: list[str] = field(default_factory=list)

    def add(self, other: Counts) -> None:
        self.n_lines += other.n_lines
        self.lines += other.lines
        self.n_branches += other.n_branches
        self.branches += other.branches


def read_exclusions(path: Path) -> list[Exclusion]:
    exclusions = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = [part.strip() for part in line.split(" | ")]
        if len(parts) != 3 or not all(parts):
            raise ValueError(f"{path}:{number}: expected file | text | reason")
        exclusions.append(Exclusion(parts[0], parts[1], f"{path}:{number}"))
    return exclusions


def count_file(entry: Report, source: Sequence[str], exclusions: Iterable[Exclusion]) -> Counts:
    """`entry`: a file of gcovr's report, which has a line once for each function that it is part of."""
    counts = Counts()
    name: str = entry["file"]
    ran: dict[int, bool] = defaultdict(bool)
    for line in entry["lines"]:
        number: int = line["line_number"]
        text = source[number - 1].strip()
        ran[number] |= line["count"] > 0
        taken = [branch["count"] > 0 for branch in line["branches"]]
        if not all(taken) and (ASSERT.match(text) or any(e.matches(name, text) for e in exclusions)):
            continue
        counts.n_branches += len(taken)
        counts.branches += sum(taken)
        if not all(taken):
            untaken = f"{taken.count(False)} of {len(taken)} branches not taken"
            counts.missing.append(f"{name}:{number}: {untaken}: {text}")
    counts.n_lines = len(ran)
    counts.lines = sum(ran.values())
    return counts


def unused(exclusions: list[Exclusion], report: Report, sources: Sources) -> list[Exclusion]:
    """Those that no line with an untaken branch matches."""
    open_lines = [
        (entry["file"], sources[entry["file"]][line["line_number"] - 1])
        for entry in report["files"]
        for line in entry["lines"]
        if any(branch["count"] == 0 for branch in line["branches"])
    ]
    return [e for e in exclusions if not any(e.matches(file, text) for file, text in open_lines)]


def percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0


def row(name: str, counts: Counts) -> str:
    lines, branches = percent(counts.lines, counts.n_lines), percent(counts.branches, counts.n_branches)
    return (
        f"{name:<10} {counts.lines:>6} of {counts.n_lines:>6} {lines:>7.2f} %"
        f"  {counts.branches:>6} of {counts.n_branches:>6} {branches:>7.2f} %"
    )


def count_all(exclusions: list[Exclusion], report: Report, sources: Sources) -> dict[str, Counts]:
    folders: dict[str, Counts] = defaultdict(Counts)
    for entry in report["files"]:
        counts = count_file(entry, sources[entry["file"]], exclusions)
        folder = folders[entry["file"].split("/")[0]]
        folder.add(counts)
        folder.missing += counts.missing
    return folders


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="gcovr --json")
    parser.add_argument("--exclusions", type=Path, required=True)
    parser.add_argument("--root", type=Path, default=Path(), help="of the files in the report")
    parser.add_argument("--list", nargs="*", default=[], metavar="FOLDER", help="show their untaken branches")
    args = parser.parse_args(argv)
    report: Report = json.loads(args.report.read_text())
    sources = {e["file"]: (args.root / e["file"]).read_text().splitlines() for e in report["files"]}
    exclusions = read_exclusions(args.exclusions)
    folders = count_all(exclusions, report, sources)
    total = Counts()
    print(f"{'':<10} {'lines':>16} {'':>9}  {'branches':>16}")
    for name, counts in sorted(folders.items()):
        print(row(name, counts))
        total.add(counts)
    print(row("all", total))

    faults = [f"{e.where}: excludes nothing (any more)" for e in unused(exclusions, report, sources)]
    for name in FULL:
        if name not in folders:
            faults.append(f"{name}/: nothing was counted")
        faults += folders[name].missing
    if percent(total.lines, total.n_lines) < MIN_LINES:
        faults.append(f"fewer than {MIN_LINES:g} % of all lines ran")
    for name in args.list:
        print(*folders[name].missing, sep="\n")
    if faults:
        print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
