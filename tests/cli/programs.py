"""What the tests of the programs share: running them, and reading what they write.

Only Python's standard library is needed. MOE_BIN names the folder of the programs, MOE_RUNNER what to start
them with, an emulator (words separated by '|').
"""

from __future__ import annotations

import array
import json
import os
import struct
import subprocess
import unittest
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("MOE_BIN", ROOT / "build" / "release"))
RUNNER = [word for word in os.environ.get("MOE_RUNNER", "").split("|") if word]
MODEL = ROOT / "models" / "storyteller"
FIXTURES = ROOT / "tests" / "fixtures" / "exact"
VOCAB = 4096
TIMEOUT = 300  # s: sanitizers and emulators are slow

Finished = subprocess.CompletedProcess[bytes]


def command(program: str, *args: str | Path) -> list[str]:
    return [*RUNNER, str(BIN / program), *map(str, args)]


def environment(changes: Mapping[str, str | None] | None = None) -> dict[str, str]:
    """This process's, without what would change the programs' behaviour."""
    env = dict(os.environ)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "NO_COLOR", "TERM"):
        env.pop(name, None)
    if "TSAN_OPTIONS" in env:  # which sleeps a second before each exit
        env["TSAN_OPTIONS"] += ":atexit_sleep_ms=0"
    for name, value in (changes or {}).items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


def run(
    program: str,
    *args: str | Path,
    stdin: bytes = b"",
    env: Mapping[str, str | None] | None = None,
    cwd: Path | None = None,
) -> Finished:
    return subprocess.run(
        command(program, *args),
        input=stdin,
        capture_output=True,
        env=environment(env),
        cwd=cwd,
        timeout=TIMEOUT,
        check=False,
    )


def ids_of(line: bytes) -> list[int]:
    return [int(word) for word in line.decode().split(",") if word.strip()]


class Tensors:
    """A safetensors file."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        (n,) = struct.unpack("<Q", data[:8])
        self.header: dict[str, Any] = json.loads(data[8 : 8 + n])
        self.start = 8 + n
        self.data = data

    def bytes_of(self, name: str) -> bytes:
        begin, end = self.header[name]["data_offsets"]
        return self.data[self.start + begin : self.start + end]

    def integers(self, name: str) -> list[int]:
        return list(array.array("q", self.bytes_of(name)))

    def floats(self, name: str) -> list[float]:
        return list(array.array("f", self.bytes_of(name)))

    def shape(self, name: str) -> list[int]:
        shape: list[int] = self.header[name]["shape"]
        return shape


def write_tensors(path: Path, tensors: Mapping[str, tuple[str, Sequence[int], bytes]]) -> None:
    """name -> (dtype, shape, data)"""
    header: dict[str, Any] = {}
    body = b""
    for name, (dtype, shape, data) in tensors.items():
        begin = len(body)
        body += data
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, len(body)]}
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + body)


class ProgramCase(unittest.TestCase):
    program = "moe-run"

    def run_program(self, *args: str | Path, **options: Any) -> Finished:
        return run(self.program, *args, **options)

    def output_of(self, *args: str | Path, **options: Any) -> bytes:
        """Standard output of a run that succeeds."""
        done = self.run_program(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done.stdout

    def assert_refused(self, status: int, *args: str | Path, says: str = "", **options: Any) -> None:
        """One line on standard error, nothing on standard output, this exit status."""
        done = self.run_program(*args, **options)
        message = done.stderr.decode(errors="replace")
        what = f"{args}: {message!r}"
        self.assertEqual(done.returncode, status, what)
        self.assertEqual(done.stdout, b"", what)
        self.assertTrue(message.startswith(f"{self.program}: "), what)
        self.assertEqual(message.count("\n"), 1, what)
        self.assertTrue(message.endswith("\n"), what)
        self.assertIn(says, message)
