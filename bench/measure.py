#!/usr/bin/env python3
"""Measures everything that docs/performance.md shows, and writes it there: one command.

moe-bench runs over shapes, formats, threads, depths and batches; bench/compare_peers.py over the peers
that are installed; then the tables in docs/performance.md and the plots beside it are made anew. Formats
take turns: all in the first round, all in the second, so that a change of the machine meets all alike.
Each run leaves a JSON file in the folder of results; what is there is not measured again, so an
interrupted run goes on. Ways that this moe-bench does not have (--pack, --format, ...) are skipped by
name.

All of it is 87 runs of moe-bench with --rounds 3, each one to two minutes on two cores: about two hours, and
it says how much is left. The peers take about 25 minutes a round and shape. Up to 13 GB of memory
for transformers in fp32, and 28 GB of disk for the models of the peers.

example:
  bench/measure.py build/results --moe-bench build/release/moe-bench
  bench/measure.py build/results --only decode --rounds 1    # part of it
  bench/measure.py build/results --report                    # only tables and plots, from what is there
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SHAPES = ("qwen3-30b-a3b", "olmoe-1b-7b")
LAYERS = 4  # of the synthetic models: what fits, with experts that do not fit a cache

# name -> options of moe-bench. The first ones have the same bits.
FORMATS = {
    "bf16": "",
    "huge": "--huge-pages",
    "packed": "--pack",
    "f32": "--format f32",
    "fp8": "--format fp8",
    "affine8": "--format affine8",
    "affine4": "--format affine4",
    "mxfp4": "--format mxfp4",
    "bf16 mode": "--precision bf16",
}


@dataclass(frozen=True)
class Figure:
    """A plot and a table: which tests, of which formats and shapes. {threads} are all numbers of them, {most}
    is the largest."""

    name: str
    options: str
    formats: tuple[str, ...]
    shapes: tuple[str, ...] = SHAPES
    layers: int = LAYERS


FIGURES = (
    Figure("decode", "-p 0 -n 32 -d 0,4096 -t {threads} -r 3", tuple(FORMATS)[:-1]),
    Figure("prefill", "-p 16,32,64,128,256,512,1024 -n 0 -t {threads} -r 3", ("bf16", "packed", "bf16 mode")),
    Figure("batch", "-p 0 -n 16 -b 1,4,16,32 -t {most} -r 3", ("bf16", "packed", "affine4")),
    Figure("depth", "-p 512 -n 8 -d 0,1024,2048,4096,8192,16384 -t {most} -r 2", ("bf16",), SHAPES[:1], 2),
)


@dataclass(frozen=True)
class Job:
    figure: Figure
    shape: str
    format: str
    round: int

    @property
    def file(self) -> str:
        return f"{self.figure.name}.{self.shape}.{self.format.replace(' ', '-')}.{self.round}.json"

    def command(self, args: argparse.Namespace) -> list[str]:
        layers = self.figure.layers // 2 if self.format == "f32" else self.figure.layers  # twice the bytes
        threads = ",".join(map(str, args.threads))
        tests = self.figure.options.format(threads=threads, most=max(args.threads))
        shape = HERE / "shapes" / f"{self.shape}.json"
        command = [*shlex.split(args.prefix), str(args.moe_bench), "--synthetic", str(shape)]
        command += ["--layers", str(layers), *shlex.split(tests), *shlex.split(FORMATS[self.format])]
        return [*command, "-o", "json", "--quiet"]


def jobs_of(args: argparse.Namespace) -> list[Job]:
    known = subprocess.run([args.moe_bench, "--help"], capture_output=True, text=True, check=True).stdout
    missing = {f for f, options in FORMATS.items() if options and options.split()[0] not in known}
    for name in sorted(missing):
        print(f"skipped: {name}: this moe-bench has no {FORMATS[name].split()[0]}", flush=True)
    return [
        Job(figure, shape, name, number)
        for figure in FIGURES
        if not args.only or figure.name in args.only
        for number in range(args.rounds)
        for shape in figure.shapes
        for name in figure.formats
        if name not in missing
    ]


def measure(args: argparse.Namespace) -> None:
    jobs = jobs_of(args)
    left = [job for job in jobs if not (args.results / job.file).exists()]
    print(f"{len(jobs)} runs of moe-bench, {len(left)} to do", flush=True)
    started = time.monotonic()
    for i, job in enumerate(left):
        command = job.command(args)
        print(f"[{i + 1}/{len(left)}] {job.file}: {shlex.join(command)}", flush=True)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"measure.py: status {done.returncode}: {done.stderr.strip()}")
        (args.results / job.file).write_text(done.stdout)
        spent = time.monotonic() - started
        print(
            f"    {spent / 60:.1f} min, about {spent / (i + 1) * (len(left) - i - 1) / 60:.0f} left",
            flush=True,
        )


def measure_peers(args: argparse.Namespace) -> None:
    known = subprocess.run([args.moe_bench, "--help"], capture_output=True, text=True, check=True).stdout
    for shape in SHAPES:
        command = [sys.executable, str(HERE / "compare_peers.py"), "--layers", str(LAYERS)]
        command += ["--shape", str(HERE / "shapes" / f"{shape}.json"), "--moe-bench", str(args.moe_bench)]
        for name in ("bf16", "packed", "affine4", "affine8"):
            options = FORMATS[name]
            if not options or options.split()[0] in known:
                command += ["--moe", f"{name}={options}"]
        command += ["--rounds", str(args.rounds), "--threads", ",".join(map(str, args.threads))]
        command += ["--transformers-python", args.transformers_python, "--llama-python", args.llama_python]
        command += ["--prefix", args.prefix, "--output", str(args.results / f"peers.{shape}.json")]
        print(shlex.join(command), flush=True)
        if subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode != 0:
            sys.exit("measure.py: compare_peers.py failed")


def report(args: argparse.Namespace) -> None:
    scripts = [(sys.executable, "report.py"), (args.plot_python, "plot.py")]
    if subprocess.run([args.plot_python, "-c", "import matplotlib"], capture_output=True).returncode != 0:
        print(f"skipped: plots: {args.plot_python} cannot import matplotlib", flush=True)
        scripts.pop()
    for python, script in scripts:
        command = [python, str(HERE / script), str(args.results), str(args.docs)]
        print(shlex.join(command), flush=True)
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit(f"measure.py: {script} failed")


def integers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def parse() -> argparse.Namespace:
    doc = (__doc__ or "").split("example:")
    parser = argparse.ArgumentParser(
        description=doc[0], epilog="example:" + doc[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("results", type=Path, help="folder of the JSON files")
    add("--moe-bench", type=Path, default=ROOT / "build" / "release" / "moe-bench", metavar="PROGRAM")
    add("--only", type=lambda text: text.split(","), help=f"of: {', '.join(f.name for f in FIGURES)}, peers")
    add("--rounds", type=int, default=3, help="(3)")
    add("--threads", type=integers, default=[1, 2], help="(1,2)")
    add("--prefix", default="", metavar="COMMAND", help="before every measured one, such as 'taskset -c 0,1'")
    add("--transformers-python", default=sys.executable, metavar="FILE", help="that has torch, transformers")
    add("--llama-python", default=sys.executable, metavar="FILE", help="that has llama_cpp, gguf")
    add("--plot-python", default=sys.executable, metavar="FILE", help="that has matplotlib")
    add("--docs", type=Path, default=ROOT / "docs", help="where performance.md and the plots are (docs)")
    add("--report", action="store_true", help="measure nothing")
    return parser.parse_args()


def main() -> None:
    args = parse()
    args.results.mkdir(parents=True, exist_ok=True)
    if not args.report:
        measure(args)
        if not args.only or "peers" in args.only:
            measure_peers(args)
    report(args)


if __name__ == "__main__":
    main()
