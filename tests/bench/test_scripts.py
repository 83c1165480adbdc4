#!/usr/bin/env python3
"""bench/compare_peers.py on a tiny model, with transformers as the only peer; bench/measure.py.

Nothing is asserted about time. Exits with 77 where torch or transformers is not installed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
try:
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError:
    print("skipped: no torch or transformers for this Python")
    sys.exit(77)

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("MOE_BIN", ROOT / "build" / "release"))
sys.path.insert(0, str(ROOT / "bench"))

import numpy as np  # noqa: E402
from compare_peers import compare_logits  # noqa: E402
from peer_engines import token_at  # noqa: E402
from peer_tables import tables  # noqa: E402
from report import fill  # noqa: E402

# Narrow layers, few experts, a small vocabulary; the names are the real ones.
TINY = {
    "qwen3-30b-a3b": {
        "head_dim": 16,
        "hidden_size": 64,
        "moe_intermediate_size": 32,
        "num_attention_heads": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        "bos_token_id": 126,
        "eos_token_id": 127,
    },
    "olmoe-1b-7b": {
        "hidden_size": 64,
        "intermediate_size": 32,
        "num_attention_heads": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "num_key_value_heads": 4,
        "vocab_size": 128,
        "pad_token_id": 1,
        "eos_token_id": 127,
    },
}


Args = list[str | Path]


def write_shape(folder: Path, name: str) -> Path:
    config = json.loads((ROOT / "bench" / "shapes" / f"{name}.json").read_text())
    out = folder / f"{name}.json"
    out.write_text(json.dumps({**config, **TINY[name]}))
    return out


def run(script: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Peers(unittest.TestCase):
    def compare(self, folder: Path, name: str, *more: str | Path) -> tuple[str, dict[str, Any]]:
        shape = write_shape(folder, name)
        out = folder / "out.json"
        args: Args = ["--shape", shape, "--layers", "2", "--work", folder, "--moe-bench", BIN / "moe-bench"]
        args += ["-p", "16", "-n", "2", "-d", "0,16", "--n-batch-gen", "1", "-b", "3"]
        args += ["-t", "1", "-r", "1", "--output", out]
        done = run(ROOT / "bench" / "compare_peers.py", *args, *more)
        self.assertEqual(done.returncode, 0, done.stderr)
        report: dict[str, Any] = json.loads(out.read_text())
        self.assertEqual(done.stdout.strip(), tables(report).strip())
        return done.stdout, report

    def test_takes_turns(self) -> None:
        peers = "transformers bf16,transformers fp32"
        with tempfile.TemporaryDirectory() as temp:
            table, report = self.compare(
                Path(temp), "qwen3-30b-a3b", "--peers", peers, "--rounds", "2", "--no-check"
            )
        order = ["moe bf16", "transformers bf16", "transformers fp32"]
        self.assertEqual([run["candidate"] for run in report["runs"]], 2 * order)
        for entry in report["runs"]:
            self.assertEqual(set(entry["tests"]), {"pp16", "tg2", "tg1 x3", "tg2 @ d16"})
            self.assertTrue(all(test["ts"] > 0 for test in entry["tests"].values()))
        self.assertIn("| transformers fp32 |", table)

    def test_computes_the_same(self) -> None:
        for name in TINY:
            with self.subTest(shape=name), tempfile.TemporaryDirectory() as temp:
                table, report = self.compare(
                    Path(temp), name, "--peers", "transformers fp32", "--rounds", "0"
                )
                self.assertLess(report["agreement"]["moe bf16"]["kl"], 1e-6)
                self.assertEqual(report["agreement"]["moe bf16"]["same_top"], 1)
                self.assertIn("| moe bf16 |", table)

    def test_agreement_sees_a_difference(self) -> None:
        reference = np.random.default_rng(0).standard_normal((5, 40)).astype(np.float32)
        same = compare_logits(reference, reference)
        self.assertEqual((same["kl"], same["same_top"]), (0, 1))
        other = compare_logits(reference[::-1], reference)
        self.assertGreater(other["kl"], 0.1)
        self.assertLess(other["same_top"], 1)

    def test_goes_on(self) -> None:
        with tempfile.TemporaryDirectory() as temp:
            _, first = self.compare(Path(temp), "olmoe-1b-7b", "--peers", "", "--rounds", "1")
            _, second = self.compare(Path(temp), "olmoe-1b-7b", "--peers", "", "--rounds", "2")
            self.assertEqual(second["runs"][:1], first["runs"])
            self.assertEqual(len(second["runs"]), 2)

    def test_skips_by_name(self) -> None:
        with tempfile.TemporaryDirectory() as temp:
            without = Path(temp) / "python"
            without.write_text("#!/bin/sh\nexit 1\n")
            without.chmod(0o755)
            shape = write_shape(Path(temp), "olmoe-1b-7b")
            args: Args = ["--shape", shape, "--layers", "1", "--work", temp, "--moe-bench", BIN / "moe-bench"]
            args += [
                "-p",
                "0",
                "-n",
                "1",
                "--n-batch-gen",
                "0",
                "-t",
                "1",
                "-r",
                "1",
                "--rounds",
                "1",
                "--no-check",
            ]
            peers = "llama.cpp Q8_0"
            done = run(
                ROOT / "bench" / "compare_peers.py", *args, "--llama-python", without, "--peers", peers
            )
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("skipped: llama.cpp Q8_0", done.stderr)

    def test_same_tokens_as_moe_bench(self) -> None:
        """SplitMix64's finaliser of 1 * 0x9e3779b97f4a7c15 is the first number of that generator."""
        self.assertEqual(token_at(1, 0, 0, 1 << 64), 0xE220A8397B1DCDAF)


class Measure(unittest.TestCase):
    def test_report(self) -> None:
        row = {
            "test": "tg32",
            "n_threads": 1,
            "n_prompt": 0,
            "n_batch": 1,
            "n_depth": 0,
            "median_ts": 50.0,
            "bandwidth_pct": 80.0,
            "peak_pct": 2.0,
            "bandwidth_gbs": 17.25,
            "peak_gflops": 196.0,
            "bytes_per_token": 1e8,
            "logits_hash": "00",
        }
        with tempfile.TemporaryDirectory() as temp:
            folder = Path(temp)
            for number, (speed, hash_) in enumerate([(50.0, "00"), (60.0, "00"), (70.0, "01")]):
                changed = {**row, "median_ts": speed, "logits_hash": hash_}
                (folder / f"decode.qwen3-30b-a3b.bf16.{number}.json").write_text(json.dumps([changed]))
            shutil.copy(ROOT / "docs" / "performance.md", folder)
            args: Args = [folder, "--docs", folder, "--report"]
            done = run(ROOT / "bench" / "measure.py", *args)
            self.assertEqual(done.returncode, 0, done.stderr)
            text = (folder / "performance.md").read_text()
            self.assertIn("| bf16 | 60.0 (80 %) |", text)
            self.assertIn("0 of 1 tests left the same logits hash", text)
            before = (folder / "performance.md").read_bytes()
            run(ROOT / "bench" / "measure.py", *args)
            self.assertEqual((folder / "performance.md").read_bytes(), before)

    def test_marker_is_needed(self) -> None:
        with self.assertRaises(ValueError):
            fill("no markers", "decode", ["x"])


class KernelBench(unittest.TestCase):
    def test_every_operation_reports(self) -> None:
        command = [str(BIN / "kernel_bench"), "--samples", "1", "--ms", "1", "--op", "pack", "-o", "json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        rows = json.loads(done.stdout)
        self.assertIn("scalar", {row["isa"] for row in rows})
        for row in rows:
            self.assertEqual(row["op"], "pack")
            self.assertGreater(row["us"], 0)
            self.assertGreater(row["bandwidth_pct"], 0)

    def test_usage(self) -> None:
        for args in (["--op", "nothing"], ["--isa", "nothing"], ["-o", "xml"], ["stray"], ["--ms", "0"]):
            with self.subTest(args=args):
                command = [str(BIN / "kernel_bench"), *args]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertTrue(done.stderr.startswith("kernel_bench: "))


if __name__ == "__main__":
    unittest.main()
