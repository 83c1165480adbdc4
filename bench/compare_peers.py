#!/usr/bin/env python3
"""moe beside transformers and llama.cpp: the same random weights, the same tokens, the same machine.

Engines take turns, each in a process of its own, never two at once: moe, peer, peer, moe, ... for --rounds
rounds, and what counts is the median of rounds and of the ratios inside a round. Beside every figure
stands what moe-bench found the machine to give in that very round: machines are shared, and a speed
without it means nothing. First it is checked that the engines compute the same model: their logits for a
prompt are set beside transformers' in fp32.

Peers that are not installed are skipped by name. Each may have a Python of its own (--transformers-python,
--llama-python); bench/requirements.txt lists what they need. A run that was cut off goes on where it
stopped, if --output is the same.

example:
  bench/compare_peers.py --shape bench/shapes/qwen3-30b-a3b.json --layers 4 --rounds 5 \\
      --moe bf16= --moe packed=--pack --output peers.json > peers.md
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from peer_engines import token_at
from peer_models import Config, cut_config, write_checkpoint

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = ("transformers bf16", "transformers fp32", "llama.cpp bf16", "llama.cpp Q8_0", "llama.cpp Q4_K_M")
NEEDS = {"transformers": "torch, transformers", "llama.cpp": "llama_cpp, gguf"}
AGREEMENT_TOKENS = 64

Run = dict[str, Any]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Candidate:
    """Something to measure: one of moe's ways, or a peer with one kind of weights."""

    engine: str  # moe, transformers, llama.cpp
    storage: str
    options: tuple[str, ...] = ()  # of moe-bench

    @property
    def name(self) -> str:
        return f"{self.engine} {self.storage}"


@dataclass(frozen=True)
class Test:
    kind: str  # pp: a prompt of n tokens; tg: n tokens, one after the other
    n: int
    n_sequences: int = 1
    depth: int = 0

    @property
    def name(self) -> str:  # moe-bench's
        batch = f" x{self.n_sequences}" if self.n_sequences > 1 else ""
        return f"{self.kind}{self.n}{batch}" + (f" @ d{self.depth}" if self.depth else "")

    @property
    def n_tokens(self) -> int:
        return self.n if self.kind == "pp" else self.n * self.n_sequences


@dataclass
class Setting:
    """What is measured, and where things are."""

    args: argparse.Namespace
    config: Config
    tests: list[Test]
    checkpoint: Path
    files: dict[str, Path] = field(default_factory=dict)  # GGUF, by storage
    stored: dict[str, dict[str, int]] = field(default_factory=dict)  # its bytes: experts, rest

    @property
    def prefix(self) -> list[str]:
        return shlex.split(self.args.prefix)


def last_json(command: list[str]) -> Any:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command)}: status {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


# ---- engines ----------------------------------------------------------------------------------------------


def python_of(args: argparse.Namespace, engine: str) -> str:
    chosen: str = args.transformers_python if engine == "transformers" else args.llama_python
    return chosen


def is_installed(args: argparse.Namespace, engine: str) -> bool:
    command = [python_of(args, engine), "-c", f"import {NEEDS[engine]}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def choose(args: argparse.Namespace) -> list[Candidate]:
    chosen = []
    for item in args.moe or ["bf16="]:
        name, found, options = item.partition("=")
        if not name or not found:
            raise ValueError(f"--moe {item}: expected NAME=OPTIONS")
        chosen.append(Candidate("moe", name, tuple(shlex.split(options))))
    for name in args.peers:
        engine, _, storage = name.partition(" ")
        if not storage or name not in PEERS:
            raise ValueError(f"--peers {name}: expected one of {', '.join(PEERS)}")
        if is_installed(args, engine):
            chosen.append(Candidate(engine, storage))
        else:
            say(f"skipped: {name}: {python_of(args, engine)} cannot import {NEEDS[engine]}")
    return chosen


def prepare(setting: Setting, candidates: list[Candidate]) -> None:
    """Writes the model in every form that is measured; what is there already stays."""
    args = setting.args
    write_checkpoint(setting.checkpoint, setting.config, args.seed, say)
    kinds = [c.storage for c in candidates if c.engine == "llama.cpp"]
    if not kinds:
        return
    setting.files = {kind: setting.checkpoint / f"{kind}.gguf" for kind in {"bf16", *kinds}}
    command = [args.llama_python, str(HERE / "peer_gguf.py"), str(setting.checkpoint)]
    command.append(str(setting.files["bf16"]))
    for kind in sorted(set(kinds) - {"bf16"}):
        command += ["--quantise", f"{kind}={setting.files[kind]}"]
    say("GGUF: " + ", ".join(sorted(setting.files)))
    setting.stored = last_json([*command, "--threads", str(max(args.threads))])


def peer_job(setting: Setting, candidate: Candidate, n_threads: int) -> dict[str, Any]:
    is_llama = candidate.engine == "llama.cpp"
    return {
        "engine": candidate.engine,
        "storage": candidate.storage,
        "model": str(setting.files[candidate.storage] if is_llama else setting.checkpoint),
        "n_threads": n_threads,
        "seed": setting.args.seed,
        "vocab_size": setting.config["vocab_size"],
        "n_repeats": setting.args.repetitions,
    }


def run_peer(setting: Setting, candidate: Candidate, job: dict[str, Any]) -> Any:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(job, f)
        f.flush()
        python = python_of(setting.args, candidate.engine)
        return last_json([*setting.prefix, python, str(HERE / "peer_engines.py"), f.name])


def measure_peer(setting: Setting, candidate: Candidate, n_threads: int) -> dict[str, Any]:
    job = peer_job(setting, candidate, n_threads)
    job["tests"] = [vars(test) for test in setting.tests]
    samples = run_peer(setting, candidate, job)
    return {
        test.name: {"ts": test.n_tokens / statistics.median(seconds), "seconds": seconds}
        for test, seconds in zip(setting.tests, samples, strict=True)
    }


KEPT = ("bandwidth_gbs", "peak_gflops", "bytes_per_token", "flops_per_token", "logits_hash")


def measure_moe(setting: Setting, candidate: Candidate, n_threads: int) -> dict[str, Any]:
    """A process for every depth and number of tokens, since moe-bench tests all combinations of its lists."""
    args, out = setting.args, {}
    is_synthetic = "--format" in candidate.options
    synthetic = ["--synthetic", str(args.shape), "--layers", str(args.layers), "--seed", str(args.seed)]
    model = synthetic if is_synthetic else ["-m", str(setting.checkpoint), "--seed", str(args.seed)]
    for kind, depth, n in dict.fromkeys((test.kind, test.depth, test.n) for test in setting.tests):
        batches = {t.n_sequences for t in setting.tests if (t.kind, t.depth, t.n) == (kind, depth, n)}
        lists = {"-p": [n if kind == "pp" else 0], "-n": [n if kind == "tg" else 0], "-b": sorted(batches)}
        command = [*setting.prefix, str(args.moe_bench), *model, *candidate.options, "-o", "json", "--quiet"]
        command += ["-t", str(n_threads), "-d", str(depth), "-r", str(args.repetitions)]
        for option, values in lists.items():
            command += [option, ",".join(map(str, values))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{shlex.join(command)}: status {done.returncode}\n{done.stderr[-2000:]}")
        for row in json.loads(done.stdout):
            seconds = [ns * 1e-9 for ns in row["samples_ns"]]
            out[row["test"]] = {"ts": row["median_ts"], "seconds": seconds, **{k: row[k] for k in KEPT}}
    return out


# ---- do they compute the same? ----------------------------------------------------------------------------


def moe_logits(setting: Setting, ids: list[int], folder: Path) -> Any:
    import numpy as np

    out = folder / "moe.safetensors"
    command = [str(setting.args.moe_bench.with_name("moe-run")), str(setting.checkpoint)]
    command += [
        "-n",
        "1",
        "--quiet",
        "--ids",
        ",".join(map(str, ids)),
        "--print-ids",
        "--ignore-eos",
        "--logits",
        str(out),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(command[:2])}: {done.stderr[-2000:]}")
    data = out.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])["logits"]
    begin, end = header["data_offsets"]
    return np.frombuffer(data[start + begin : start + end], dtype=np.float32).reshape(header["shape"])


def compare_logits(logits: Any, reference: Any) -> dict[str, float]:
    """Means over positions: Kullback-Leibler divergence from the reference, correlation; and how often the
    most likely token is the same."""
    import numpy as np

    def log_softmax(x: Any) -> Any:
        x = x.astype(np.float64) - x.max(axis=-1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))

    p, q = log_softmax(reference), log_softmax(logits)
    pairs = zip(reference, logits, strict=True)
    return {
        "kl": float((np.exp(p) * (p - q)).sum(axis=-1).mean()),
        "correlation": float(np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs])),
        "same_top": float((reference.argmax(-1) == logits.argmax(-1)).mean()),
    }


def check_agreement(setting: Setting, candidates: list[Candidate]) -> dict[str, dict[str, float]]:
    """Every engine against the first of: transformers fp32, moe."""
    import numpy as np

    ids = [token_at(setting.args.seed, 0, p, setting.config["vocab_size"]) for p in range(AGREEMENT_TOKENS)]
    reference = Candidate("transformers", "fp32")
    order = [c for c in candidates if c.engine != "moe" and c != reference]
    order = ([reference] if reference in candidates else []) + order
    with tempfile.TemporaryDirectory() as temp:
        logits = {"moe bf16": moe_logits(setting, ids, Path(temp))[: len(ids)]}
        for candidate in order:
            file = str(Path(temp) / "logits.npy")
            job = {**peer_job(setting, candidate, max(setting.args.threads)), "ids": ids, "logits": file}
            run_peer(setting, candidate, job)
            logits[candidate.name] = np.load(file)
    against = reference.name if reference in candidates else "moe bf16"
    out = {name: compare_logits(x, logits[against]) for name, x in logits.items() if name != against}
    for name, found in out.items():
        say(f"{name} against {against}: KL {found['kl']:.2e}, same top {100 * found['same_top']:.0f} %")
    return out


# ---- rounds -----------------------------------------------------------------------------------------------


def measure_all(setting: Setting, candidates: list[Candidate], report: dict[str, Any]) -> None:
    args = setting.args
    runs: list[Run] = report["runs"]
    done = {(run["round"], run["threads"], run["candidate"]) for run in runs}
    for number in range(args.rounds):
        for n_threads in args.threads:
            for candidate in candidates:
                if (number, n_threads, candidate.name) in done:
                    continue
                say(f"round {number + 1} of {args.rounds}, {n_threads} threads: {candidate.name}")
                measure = measure_moe if candidate.engine == "moe" else measure_peer
                tests = measure(setting, candidate, n_threads)
                run = {"round": number, "threads": n_threads, "candidate": candidate.name, "tests": tests}
                runs.append(run)
                if args.output:
                    args.output.write_text(json.dumps(report, indent=1) + "\n")


def make_tests(args: argparse.Namespace) -> list[Test]:
    tests = [Test("pp", args.n_prompt)] if args.n_prompt else []
    if args.n_gen:
        tests += [Test("tg", args.n_gen, depth=depth) for depth in args.depths]
    if args.n_batch_gen:
        tests += [Test("tg", args.n_batch_gen, n_sequences=batch) for batch in args.batches]
    return tests


def integers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


def words(text: str) -> list[str]:
    return text.split(",") if text else []


def parse() -> argparse.Namespace:
    doc = (__doc__ or "").split("example:")
    parser = argparse.ArgumentParser(
        description=doc[0], epilog="example:" + doc[1], formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--shape", type=Path, default=HERE / "shapes" / "qwen3-30b-a3b.json", help="config.json of the model")
    add("--layers", type=int, default=4, help="only the first so many (4)")
    add("--work", type=Path, default=ROOT / "build" / "peers", help="folder of the models (build/peers)")
    add("--moe-bench", type=Path, default=ROOT / "build" / "release" / "moe-bench", metavar="PROGRAM")
    add("--moe", action="append", metavar="NAME=OPTIONS", help="moe-bench's options for a way to run (bf16=)")
    add("--peers", type=words, default=list(PEERS), help=f"of: {', '.join(PEERS)} (all); '' for none")
    add("--transformers-python", default=sys.executable, metavar="FILE", help="that has torch, transformers")
    add("--llama-python", default=sys.executable, metavar="FILE", help="that has llama_cpp, gguf")
    add("--prefix", default="", metavar="COMMAND", help="before every measured one, such as 'taskset -c 0,1'")
    add("-p", "--n-prompt", type=int, default=512, help="tokens of a prompt; 0: no such test (512)")
    add("-n", "--n-gen", type=int, default=32, help="tokens to generate; 0: no such test (32)")
    add("-d", "--depths", type=integers, default=[0], help="positions in the cache before them (0)")
    add("--n-batch-gen", type=int, default=16, help="tokens that each of several sequences generates (16)")
    add("-b", "--batches", type=integers, default=[4, 16, 32], help="sequences side by side (4,16,32)")
    add("-t", "--threads", type=integers, default=[1, 2], help="(1,2)")
    add("-r", "--repetitions", type=int, default=2, help="in a process, after one to warm up (2)")
    add("--rounds", type=int, default=3, help="(3)")
    add("--seed", type=int, default=1, help="of weights and tokens (1)")
    add("--no-check", action="store_true", help="without comparing logits first")
    add("--output", type=Path, metavar="FILE", help="all samples as JSON; the table goes to standard output")
    return parser.parse_args()


def settings_of(args: argparse.Namespace, candidates: list[Candidate]) -> dict[str, Any]:
    """What must be equal for a cut-off run to go on."""
    kept = ("layers", "n_prompt", "n_gen", "depths", "n_batch_gen", "batches", "repetitions", "seed")
    moe = {c.name: list(c.options) for c in candidates if c.engine == "moe"}
    return {"shape": args.shape.name, "moe": moe, **{key: getattr(args, key) for key in kept}}


def main() -> None:
    from peer_tables import tables

    args = parse()
    config = cut_config(args.shape, args.layers)
    candidates = choose(args)
    checkpoint = args.work / f"{args.shape.stem}-{args.layers}"
    setting = Setting(args, config, make_tests(args), checkpoint)
    report: dict[str, Any] = {"settings": settings_of(args, candidates), "agreement": {}, "runs": []}
    if args.output and args.output.exists():
        earlier = json.loads(args.output.read_text())
        if earlier["settings"] == report["settings"]:
            report = earlier
            say(f"{args.output}: goes on after {len(report['runs'])} runs")
    prepare(setting, candidates)
    if not args.no_check and not report["agreement"]:
        report["agreement"] = check_agreement(setting, candidates)
    report["active"] = config["num_experts_per_tok"] / config["num_experts"]
    report["stored"] = setting.stored
    measure_all(setting, candidates, report)
    if args.output:
        args.output.write_text(json.dumps(report, indent=1) + "\n")
    print(tables(report))


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, OSError) as e:
        sys.exit(f"compare_peers.py: {e}")
