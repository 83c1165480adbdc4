#!/usr/bin/env python3
"""kernel_bench from outside: that it measures what it says, not how fast. Needs Python alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("MOE_BIN", ROOT / "build" / "release"))
QUICK = ("--samples", "1", "--ms", "1", "--cols", "8", "--k", "64")


def run(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "kernel_bench"), *args], capture_output=True, text=True, timeout=300, check=False
    )


def names_of(file: str, macro: str) -> set[str]:
    return set(re.findall(rf"^{macro}\((\w+)\)", (ROOT / "kernels" / file).read_text(), re.M))


class KernelBench(unittest.TestCase):
    def test_every_operation(self) -> None:
        done = run(*QUICK, "--isa", "scalar", "--rows", "2", "-o", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        cases: list[dict[str, Any]] = json.loads(done.stdout)
        measured = {case["op"] for case in cases if case["us"] > 0}
        for file, macro in (("ops.def", "MOE_OP"), ("format_ops.def", "MOE_FORMAT_OP")):
            names = names_of(file, macro)
            self.assertTrue(names)
            self.assertEqual(names - measured, set())

    def test_experts(self) -> None:
        done = run(*QUICK, "--gemm", "--rows", "2", "--clock", "cpu", "--huge-pages")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"\| +2 \| +[0-9.]+ ms +[0-9.]+ GFLOP/s")

    def test_usage(self) -> None:
        self.assertIn("Usage: kernel_bench", run("--help").stdout)
        for args in (
            ("--op", "nonsense"),
            ("--isa", "nonsense"),
            ("--clock", "sun"),
            ("--rows", "0"),
            ("--nonsense",),
            ("word",),
        ):
            done = run(*args)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (2, "", 1), args)


if __name__ == "__main__":
    unittest.main()
