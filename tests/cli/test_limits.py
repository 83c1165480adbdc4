"""Little of what a process may have: address space, descriptors, processor time to answer in."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import unittest
from collections.abc import Callable
from pathlib import Path

from programs import BIN, FIXTURES, MODEL, RUNNER, TIMEOUT, ProgramCase, command, environment

IS_PLAIN = not RUNNER and BIN.name in ("release", "dev", "clang")
COMMANDS: tuple[tuple[str | Path, ...], ...] = (
    ("moe-run", MODEL, "-p", "Once", "-n", "3", "--quiet", "-t", "2"),
    ("moe-run", MODEL, "--tokenize"),
    ("moe-run", FIXTURES / "olmoe-default", "--ids", "1,2", "-n", "3", "--print-ids", "--quiet", "--pack"),
    (
        "moe-compare",
        FIXTURES / "qwen3_moe-tied",
        FIXTURES / "qwen3_moe-tied" / "reference.safetensors",
        "-t",
        "2",
    ),
)


@unittest.skipUnless(IS_PLAIN, "emulators and sanitizers need more than the limits leave")
class Limits(ProgramCase):
    def run_limited(
        self, limit: Callable[[], None], *words: str | Path
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command(str(words[0]), *words[1:]),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(),
            preexec_fn=limit,
            timeout=TIMEOUT,
        )

    def assert_orderly(self, done: subprocess.CompletedProcess[bytes], what: object) -> bool:
        """Done, or one line of the program's own; whether it was done.

        What the dynamic linker cannot load it says itself, with 127, before there is a program.
        """
        if done.returncode == 127 and b"error while loading shared libraries" in done.stderr:
            return False
        self.assertIn(done.returncode, (0, 1), (what, done.stderr))
        if done.returncode == 1:
            self.assertEqual(done.stderr.count(b"\n"), 1, (what, done.stderr))
            self.assertTrue(done.stderr.startswith(b"moe-"), (what, done.stderr))
        return done.returncode == 0

    def test_address_space(self) -> None:
        for words in COMMANDS:
            outcomes = []
            for kib in (*range(8_000, 64_000, 2_000), 80_000, 120_000, 200_000, 1 << 20):

                def limit(n: int = kib * 1024) -> None:
                    resource.setrlimit(resource.RLIMIT_AS, (n, n))

                outcomes.append(self.assert_orderly(self.run_limited(limit, *words), (words, kib)))
            self.assertTrue(outcomes[-1], words)
            self.assertFalse(outcomes[0], words)

    def test_descriptors(self) -> None:
        for words in COMMANDS:
            outcomes = []
            for n in (3, 4, 5, 6, 7, 8, 16):

                def limit(n: int = n) -> None:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

                outcomes.append(self.assert_orderly(self.run_limited(limit, *words), (words, n)))
            self.assertTrue(outcomes[-1], words)

    def test_packing_with_few_descriptors_leaves_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "packed"
            for n in (4, 5, 6, 7, 8, 9, 10, 11, 12):

                def limit(n: int = n) -> None:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))

                done = self.run_limited(
                    limit, "moe-pack", FIXTURES / "qwen3_moe-default", place, "--force", "--quiet"
                )
                is_done = self.assert_orderly(done, n)
                self.assertEqual(os.listdir(folder), ["packed"] if is_done else [], n)
                if is_done:
                    break
            self.assertTrue(place.exists())

    def test_threads(self) -> None:
        """More than the limit of the system: the error says how many there can be."""

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (400 << 20, 400 << 20))

        words = ("moe-run", MODEL, "-p", "Once", "-n", "3", "--quiet", "-t", "1000")
        done = self.run_limited(limit, *words)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r"\Amoe-run: threads: 1000 wanted, \d+ can be had: .*\n\Z")


if __name__ == "__main__":
    unittest.main()
