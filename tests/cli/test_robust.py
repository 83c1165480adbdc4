"""Outputs that fail, signals, terminals, files that shrink."""

from __future__ import annotations

import json
import os
import pty
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from programs import MODEL, RUNNER, TIMEOUT, ProgramCase, command, environment

LONG = ("-n", "20000", "--ignore-eos", "--ids", "1,2,3")
SLACK = 2.0  # s: an interrupt is answered within


def start(*args: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment()}
    return subprocess.Popen(command("moe-run", *args), **{**settings, **options})


class Outputs(ProgramCase):
    commands: tuple[tuple[str, ...], ...] = (
        ("moe-run", "-p", "Once", "-n", "4"),
        ("moe-run", "-p", "Once", "-n", "4", "--print-ids"),
        ("moe-run", "-p", "Once", "-n", "4", "--json"),
        ("moe-run", "-p", "Once", "-n", "0", "--print-ids"),
        ("moe-run", "--tokenize"),
        ("moe-run", "--detokenize"),
        ("moe-run", "--help"),
        ("moe-run", "--version"),
        ("moe-compare", "--help"),
        ("moe-bench", "--help"),
        ("moe-pack", "--help"),
    )

    def assert_fails(self, words: tuple[str, ...], **options: Any) -> None:
        done = subprocess.run(
            command(*words),
            input=b"1,2\n",
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=TIMEOUT,
            **options,
        )
        last = done.stderr.decode().splitlines()[-1]
        self.assertEqual(done.returncode, 1, (words, done.stderr))
        self.assertTrue(last.startswith(f"{words[0]}: standard output: "), (words, last))

    def test_full_device(self) -> None:
        for words in self.commands:
            with self.subTest(words=words), open("/dev/full", "wb") as full:
                self.assert_fails(words, stdout=full)

    def test_closed(self) -> None:
        for words in self.commands:
            with self.subTest(words=words):
                self.assert_fails(words, preexec_fn=lambda: os.close(1))

    def test_nobody_reads(self) -> None:
        for words in self.commands:
            with self.subTest(words=words):
                reader, writer = os.pipe()
                os.close(reader)
                self.assert_fails(words, stdout=writer)
                os.close(writer)

    def test_the_reader_leaves_in_the_middle(self) -> None:
        process = start(*LONG, "--print-ids", "--quiet")
        assert process.stdout and process.stderr
        process.stdout.read(10)
        process.stdout.close()
        message = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(TIMEOUT), 1)
        self.assertIn(b"Broken pipe", message)

    def test_closed_input_and_error(self) -> None:
        done = subprocess.run(
            command("moe-run", "--tokenize"),
            stdout=subprocess.PIPE,
            env=environment(),
            preexec_fn=lambda: os.close(0),
        )
        self.assertEqual((done.returncode, done.stdout), (0, b""))
        logits = Path(tempfile.mkdtemp()) / "logits"  # must not be given descriptor 2
        self.addCleanup(shutil.rmtree, logits.parent)
        done = subprocess.run(
            command("moe-run", "--ids", "1", "-n", "1", "--print-ids", "--logits", logits),
            stdout=subprocess.PIPE,
            env=environment(),
            preexec_fn=lambda: os.close(2),
        )
        self.assertEqual(done.returncode, 0)
        self.assertNotIn(b"moe-run:", logits.read_bytes())

    def test_logits_stop_at_a_limit(self) -> None:
        """A file system that is full after the first rows."""

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 20, 4 << 20))

        if RUNNER:
            self.skipTest("the limit holds for the emulator too")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command("moe-run", *LONG, "--print-ids", "--quiet", "--logits", Path(folder) / "x"),
                capture_output=True,
                env=environment(),
                preexec_fn=limit,
                timeout=TIMEOUT,
            )
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)


class Signals(unittest.TestCase):
    def interrupt(self, process: subprocess.Popen[bytes], number: int) -> tuple[bytes, bytes]:
        """Standard output and error after the signal, which must end the program in time."""
        sent = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertLess(time.monotonic() - sent, SLACK)
        self.assertEqual(process.returncode, 128 + number, err)
        return out, err

    def test_while_generating(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            process = start(*LONG, "--print-ids")
            assert process.stdout
            first = process.stdout.read1(1)  # type: ignore[attr-defined]
            out, err = self.interrupt(process, number)
            ids = (first + out).decode()
            self.assertRegex(ids, r"\A\d+(,\d+)*\n\Z")
            self.assertIn(f"{ids.count(',') + 1} generated tokens", err.decode().splitlines()[-1])

    def test_json_is_whole(self) -> None:
        process = start(*LONG, "--json", "--quiet")
        time.sleep(1.5)
        out, err = self.interrupt(process, signal.SIGINT)
        answer = json.loads(out)
        self.assertEqual(answer["finish_reason"], "interrupted")
        self.assertEqual(answer["generated_tokens"], len(answer["ids"]))
        self.assertEqual(err, b"")

    def test_logits_are_whole(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "logits"
            process = start(*LONG, "--json", "--quiet", "--logits", file)
            time.sleep(1)
            out, _ = self.interrupt(process, signal.SIGTERM)
            header = json.loads(file.read_bytes()[8:].split(b"}}")[0] + b"}}")
            rows = header["logits"]["shape"][0]
            self.assertIn(rows, (len(json.loads(out)["ids"]) + 2, len(json.loads(out)["ids"]) + 3))

    def test_in_the_middle_of_one_long_evaluation(self) -> None:
        prompt = b"Once upon a time, there was a fox. " * 8000
        process = start("-p", "-", "-n", "5", "--batch-size", "65536", "--json", stdin=subprocess.PIPE)
        assert process.stdin and process.stderr
        process.stdin.write(prompt)
        process.stdin.close()
        process.stdin = None
        process.stderr.readline()  # the model is there
        time.sleep(1)
        out, err = self.interrupt(process, signal.SIGINT)
        answer = json.loads(out)
        self.assertEqual((answer["finish_reason"], answer["ids"], answer["text"]), ("interrupted", [], ""))

    def test_while_waiting_for_input(self) -> None:
        for args in (("-p", "-"), ("--tokenize",), ("--detokenize",)):
            process = start(*args, stdin=subprocess.PIPE)
            assert process.stdin and process.stdout
            if args[0] != "-p":
                process.stdin.write(b"5,6\nunfinished")
                process.stdin.flush()
                self.assertTrue(process.stdout.readline().endswith(b"\n"))  # answered while the input is open
            else:
                time.sleep(0.5)
            out, _ = self.interrupt(process, signal.SIGINT)
            self.assertEqual(out, b"")

    def test_a_full_pipe(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        try:
            while True:
                os.write(writer, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writer, True)
        process = start(*LONG, "--quiet", "--print-ids", stdout=writer)
        time.sleep(1)  # it hangs in its first write
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(TIMEOUT), 128 + signal.SIGINT)
        self.assertLess(time.monotonic() - sent, SLACK)
        process.communicate()
        os.close(reader)
        os.close(writer)

    def test_twice(self) -> None:
        process = start(*LONG, "--quiet", "--print-ids")
        assert process.stdout
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        self.assertIn(process.wait(TIMEOUT), (128 + signal.SIGINT, -signal.SIGINT))
        process.communicate()


class Shrinking(ProgramCase):
    def test_a_model_that_is_truncated_while_it_is_used(self) -> None:
        if RUNNER:
            self.skipTest("an emulator reports the fault in its own way")
        with tempfile.TemporaryDirectory() as folder:
            model = Path(folder) / "model"
            shutil.copytree(MODEL, model)
            process = start(model, *LONG, "--print-ids", "--quiet")
            assert process.stdout
            process.stdout.read(1)
            os.truncate(model / "model.safetensors", 4096)
            _, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual(process.returncode, 1)
        self.assertEqual(err.count(b"\n"), 1, err)
        self.assertTrue(err.startswith(b"moe-run: "), err)


class Terminal(unittest.TestCase):
    def on_terminal(
        self, *args: str | Path, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> tuple[str, int]:
        """What a terminal gets: standard output and error together."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            command("moe-run", *args),
            stdin=subprocess.PIPE,
            stdout=theirs,
            stderr=theirs,
            env=environment({"TERM": "xterm", **(env or {})}),
        )
        os.close(theirs)
        assert process.stdin
        process.stdin.write(stdin)
        process.stdin.close()
        seen = b""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not part:
                break
            seen += part
        os.close(ours)
        return seen.decode(errors="replace").replace("\r\n", "\n"), process.wait(TIMEOUT)

    def test_colours(self) -> None:
        shown, status = self.on_terminal("-p", "The fox", "-n", "5")
        self.assertEqual(status, 0)
        self.assertIn("\x1b[2mThe fox\x1b[0m", shown)
        for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
            shown, status = self.on_terminal("-p", "The fox", "-n", "5", env={name: value})
            self.assertEqual(status, 0)
            self.assertNotIn("\x1b", shown)
            self.assertIn("The fox", shown)
        shown, _ = self.on_terminal("-p", "The fox", "-n", "5", "--quiet", env={"NO_COLOR": ""})
        self.assertNotIn("The fox", shown)

    def test_a_line_is_finished(self) -> None:
        shown, _ = self.on_terminal("-p", "The fox", "-n", "2", "--quiet")
        self.assertTrue(shown.endswith("\n"))

    def test_control_characters_are_visible(self) -> None:
        nasty = "a\x1b[31mb\x07c\x7fd\u009b5me\u202ef\rg"
        ids = subprocess.run(
            command("moe-run", "--tokenize"),
            input=nasty.encode(),
            capture_output=True,
            env=environment(),
            check=True,
        ).stdout
        raw = subprocess.run(
            command("moe-run", "--detokenize"), input=ids, capture_output=True, env=environment(), check=True
        ).stdout.decode()
        self.assertEqual(raw, nasty.replace("\r", "\\r") + "\n")  # a pipe gets it as it is
        shown, _ = self.on_terminal("--detokenize", stdin=ids)
        self.assertEqual(shown, "a\\x1b[31mb\\x07c\\x7fd\\u009b5me\\u202ef\\rg\n")


if __name__ == "__main__":
    unittest.main()
