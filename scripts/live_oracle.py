#!/usr/bin/env python3
"""The engine against transformers on checkpoints that nobody has seen.

    live_oracle.py [--moe-compare PATH] [--moe-run PATH] [--seed S] [--families a,b | --rotate N [--date D]]
                   [--count N | --budget SECONDS] [--keep DIR]

Draws random variants (sizes, features, layout, dtypes, config style, shards, prompt; a third quantised) from
the seed, fresh unless given: round after round one of every family, N rounds, or as many as begin within the
budget. --rotate: of N families, which are others on the next day, until all had their turn. What a round
draws for a family depends on the seed alone. Writes each checkpoint to a temporary directory, runs
transformers on it, and asks moe-compare whether the engine agrees. With --moe-run, the program itself must
also generate the same ids and write logits within 1e-3 of their deviation. A run that comes within 1e-4 of a
tie is drawn again, so that a near-tie can't fail. The seed, the families and every variant are printed; the
exit status is 1 if anything differs. --keep copies the checkpoint and dump of every failure to DIR. Without
both paths: both programs of build/release.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import torch
from dump_reference import Dump, dump, load_model, smallest_margin, write_dump
from families import FAMILIES
from families.family import QUANTITIES, STYLES, Draw
from families.random_storage import random_storage
from random_checkpoint import Variant, prompt_ids, write
from safetensors.torch import load_file

RELEASE = Path(__file__).resolve().parent.parent / "build" / "release"
MARGIN = 1e-4
LOGITS_TOLERANCE = 1e-3  # in units of the logits' standard deviation
DRAWS = 50
BUDGET = 90.0  # seconds of rounds: all of scripts/check.sh has to fit into a commit's patience
TIMEOUT = 60  # seconds a program may take for a toy model


def random_variant(family: str, seed: list[int]) -> Variant:
    d = Draw(seed)
    of = FAMILIES[family]
    config = of.random(d)
    dtypes = d.one(("BF16",), ("BF16",), ("F16",), ("F32",), ("F32", "BF16", "F16"))
    storage = random_storage(d, family, config) if d.chance(1 / 3) and "mlx" in of.layouts else None
    corrections = [name for name in of.draws if name.endswith(("correction_bias", "expert_bias"))]
    return Variant(
        family=family,
        name="live",
        config=config,
        dtypes=dtypes,
        by_role=len(dtypes) == 3 and d.chance(0.5),
        layout=d.one("hub", *of.layouts),
        storage=storage,
        style=d.one(*STYLES),
        shards=d.one(1, 1, 2, 5),
        unaligned=d.chance(0.3),
        mtp=of.mtp is not None and storage is None and d.chance(0.2),
        draws=dict.fromkeys(corrections, (-1.0, 0.3)) if corrections and d.chance(0.3) else {},
        seed=d.within(0, 2**31),
        n_prompt=d.one(1, d.within(2, 30), d.within(60, 140)),
        n_generate=d.within(1, 16),
        lacking=of.optional is not None and d.chance(0.3),
        wrapped=of.wrapper is not None and d.chance(0.3),
    )


def draw_reference(variant: Variant, directory: Path) -> tuple[Variant, Dump]:
    """Builds the checkpoint and runs transformers, with other weights while a tie is near. Many rows, layers
    and experts bring ties near: then fewer tokens are run."""
    for attempt in range(DRAWS):
        if attempt and attempt % 5 == 0:
            shorter = (max(variant.n_prompt // 2, 1), max(variant.n_generate // 2, 1))
            variant = replace(variant, n_prompt=shorter[0], n_generate=shorter[1])
        variant = replace(variant, seed=variant.seed + 1)
        shutil.rmtree(directory, ignore_errors=True)
        write(variant, directory)
        d = dump(load_model(directory), prompt_ids(variant), variant.n_generate, set(QUANTITIES))
        if smallest_margin(d) >= MARGIN:
            return variant, d
    raise SystemExit(f"no draw of {DRAWS} keeps clear of ties: {variant.describe()}")


def call(command: list[str]) -> tuple[int, str, str]:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return -1, "", f"not finished after {TIMEOUT} s"
    return done.returncode, done.stdout, done.stderr


def failure(command: list[str], status: int, out: str, err: str) -> str:
    return f"{' '.join(command)}\nexit status {status}\n{out}{err}".strip()


def check_compare(program: Path, directory: Path, reference: Path) -> str | None:
    """What went wrong, or None."""
    command = [str(program), str(directory), str(reference)]
    status, out, err = call(command)
    return None if status == 0 else failure(command, status, out, err)


def check_run(program: Path, directory: Path, d: Dump) -> tuple[str | None, float]:
    """What went wrong, or None; the largest difference of a logit, in deviations."""
    logits_file = directory / "engine-logits.safetensors"
    ids = ",".join(map(str, d.tensors["prompt_ids"].tolist()))
    expected = d.tensors["generated_ids"].tolist()
    command = [str(program), str(directory), "--ids", ids, "-n", str(len(expected)), "--temperature", "0"]
    command += ["--ignore-eos", "--print-ids", "--logits", str(logits_file)]
    status, out, err = call(command)
    if status != 0:
        return failure(command, status, out, err), float("inf")
    if out.strip() != ",".join(map(str, expected)):
        return failure(command, status, out, err) + f"\nexpected ids {expected}", float("inf")
    logits = load_file(logits_file)["logits"]
    reference = d.tensors["logits"]
    if logits.shape != reference.shape or logits.dtype != torch.float32:
        shapes = f"{list(logits.shape)}, expected F32 {list(reference.shape)}"
        return failure(command, status, "", f"logits are {logits.dtype} {shapes}"), float("inf")
    worst = float((logits - reference).abs().max() / reference.std())
    if not worst <= LOGITS_TOLERANCE:  # NaN is a failure too
        return failure(command, status, "", f"logits differ by {worst:.3g} of their deviation"), worst
    return None, worst


def families_of(day: date, n: int) -> list[str]:
    """Those whose turn it is: n neighbours in the list, from where the day before ended."""
    names = list(FAMILIES)
    first = day.toordinal() * n
    return [names[i % len(names)] for i in range(first, first + min(n, len(names)))]


@dataclass
class Tally:
    n_ok: int = 0
    n_failed: int = 0
    worst: float = 0.0  # difference of a logit, in deviations


def check_one(args: argparse.Namespace, family: str, seed: list[int], tally: Tally) -> None:
    with tempfile.TemporaryDirectory(prefix="moe-oracle-") as temp:
        directory, reference = Path(temp) / "checkpoint", Path(temp) / "reference.safetensors"
        variant, d = draw_reference(random_variant(family, [*seed, *family.encode()]), directory)
        write_dump(d, reference)
        wrong = None
        if args.moe_compare is not None:
            wrong = check_compare(args.moe_compare, directory, reference)
        if wrong is None and args.moe_run is not None:
            wrong, difference = check_run(args.moe_run, directory, d)
            tally.worst = max(tally.worst, difference)
        print(f"{'ok' if wrong is None else 'DIFFERS'}: {variant.describe()}", flush=True)
        if wrong is None:
            tally.n_ok += 1
            return
        tally.n_failed += 1
        print("    " + wrong.replace("\n", "\n    "), flush=True)
        if args.keep is not None:
            kept = args.keep / f"{'-'.join(map(str, seed))}-{family}"
            shutil.copytree(directory, kept, dirs_exist_ok=True)
            shutil.copy(reference, kept / "reference.safetensors")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--moe-compare", type=Path, metavar="PATH")
    parser.add_argument("--moe-run", type=Path, metavar="PATH")
    parser.add_argument("--seed", type=int, help="default: a fresh one")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--families", default=",".join(FAMILIES))
    which.add_argument("--rotate", type=int, metavar="N", help="N families, others every day")
    parser.add_argument(
        "--date",
        type=date.fromisoformat,
        default=datetime.now(UTC).date(),
        help="of --rotate (default: today)",
    )
    parser.add_argument("--count", type=int, metavar="N", help="rounds: variants per family")
    parser.add_argument(
        "--budget", type=float, default=BUDGET, metavar="SECONDS", help=f"without --count (default {BUDGET})"
    )
    parser.add_argument("--keep", type=Path, metavar="DIR")
    args = parser.parse_args()
    if args.moe_compare is None and args.moe_run is None:
        args.moe_compare, args.moe_run = RELEASE / "moe-compare", RELEASE / "moe-run"
    for program in (args.moe_compare, args.moe_run):
        if program is not None and not program.exists():
            parser.error(f"{program}: is missing")
    if args.rotate is not None and args.rotate < 1:
        parser.error("--rotate: expected at least 1")
    families = args.families.split(",") if args.rotate is None else families_of(args.date, args.rotate)
    unknown = sorted(set(families) - set(FAMILIES))
    if unknown:
        parser.error(f"--families: {unknown[0]} is none of {', '.join(FAMILIES)}")
    seed = secrets.randbelow(2**31) if args.seed is None else args.seed
    print(f"seed {seed}, families {','.join(families)}", flush=True)

    start = time.monotonic()
    tally, n = Tally(), 0
    while n < args.count if args.count is not None else n == 0 or time.monotonic() - start < args.budget:
        for family in families:
            check_one(args, family, [seed, n], tally)
        n += 1
    total, seconds = tally.n_ok + tally.n_failed, time.monotonic() - start
    print(f"{tally.n_ok} of {total} agree with transformers, {n} rounds, {seconds:.0f} s, seed {seed}")
    if args.moe_run is not None:
        print(f"largest difference of a logit: {tally.worst:.2g} of their deviation")
    return 1 if tally.n_failed else 0


if __name__ == "__main__":
    sys.exit(main())
