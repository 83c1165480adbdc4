"""Exit status and message of every wrong command line, and of every failure."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from programs import FIXTURES, MODEL, ProgramCase, Tensors


class Usage(ProgramCase):
    def test_unknown_and_incomplete_options(self) -> None:
        for args, says in (
            (["--nonsense"], "--nonsense"),
            (["-Z"], "-Z"),
            (["-qx"], "-q"),
            (["--top"], "--top"),  # ambiguous
            (["-p"], "-p"),
            (["-p", "a", "--seed"], "seed"),
            (["--json=yes", "-p", "a"], "takes no value"),
            (["a", "b"], "'b'"),
            ([MODEL, "-m", MODEL, "-p", "a"], "--model"),
        ):
            with self.subTest(args=args):
                self.assert_refused(2, *args, says=says)

    def test_numbers_outside_their_ranges(self) -> None:
        huge = "99999999999999999999999"
        for option, values in {
            "-n": ("-1", "x", "", "1.5", "1e3", "2147483648", huge, " 1", "0x10", "1 "),
            "-c": ("0", "-1", huge),
            "-t": ("0", "1025", "two"),
            "--batch-size": ("0", "65537"),
            "--temperature": ("-0.1", "nan", "inf", "x", "", "1001", "1,5", "0x1", "1e999", "1 "),
            "--top-k": ("-1", "1.5", huge),
            "--top-p": ("0", "1.01", "-1", "nan"),
            "--min-p": ("-0.1", "1.1", "nan"),
            "--repeat-penalty": ("0", "-1", "101", "nan"),
            "--seed": ("-1", "18446744073709551616", "x"),
        }.items():
            for value in values:
                with self.subTest(option=option, value=value):
                    self.assert_refused(2, "-p", "a", option, value, says=f"'{value}'")

    def test_ids(self) -> None:
        for value in ("", ",", "1,,2", "1,2,", ",1", "-1", "a", "1 2", "1;2", "4294967296", "1.0"):
            with self.subTest(value=value):
                self.assert_refused(2, "--ids", value, says="--ids")
        self.assert_refused(2, "--ids", "1,4096", says="id 4096")
        self.assert_refused(2, "--ids", "4294967295", says="vocabulary")

    def test_names(self) -> None:
        self.assert_refused(2, "-p", "a", "--isa", "mmx", says="scalar")
        self.assert_refused(2, "-p", "a", "--isa", "", says="scalar")
        self.assert_refused(2, "-p", "a", "--gemm", "cublas", says="openblas")
        self.assert_refused(2, "-p", "a", "--precision", "half", says="bf16")
        self.assert_refused(1, "-p", "a", "--precision", "bf16", "--gemm", "openblas", says="native")

    def test_contradictions(self) -> None:
        for args in (
            ["-p", "a", "-f", "b"],
            ["-p", "a", "--ids", "1"],
            ["-f", "a", "--ids", "1"],
            ["-p", "a", "-p", "b"],
            ["--ids", "1", "--ids", "2"],
            ["-p", "a", "--add-bos", "--no-bos"],
            ["--ids", "1", "--add-bos"],
            ["--ids", "1", "--no-bos"],
            ["-p", "a", "--json", "--print-ids"],
            ["--tokenize", "-p", "a"],
            ["--tokenize", "--detokenize"],
            ["--tokenize", "-n", "3"],
            ["--tokenize", "--json"],
            ["--detokenize", "--temperature", "1"],
            ["--detokenize", "--escaped"],
            ["-p", "a", "--escaped"],
            ["-p", "a", "--skip-special"],
            ["--tokenize", "--add-bos"],
        ):
            with self.subTest(args=args):
                self.assert_refused(2, *args)

    def test_stop_texts(self) -> None:
        self.assert_refused(2, "-p", "a", "--stop", "", says="--stop")
        self.assert_refused(2, "-p", "a", "--stop", os.fsdecode(b"\xff"), says="--stop")
        self.assert_refused(2, "-p", "a", "--stop", "x" * 4097, says="--stop")
        self.assert_refused(2, "-p", "a", *(["--stop", "x"] * 17), says="--stop")

    def test_prompts_that_are_none(self) -> None:
        self.assert_refused(2, MODEL, says="prompt")
        self.assert_refused(2, "-p", "", says="empty")
        self.assert_refused(2, "-p", "-", stdin=b"", says="empty")

    def test_prompt_and_n_above_the_context(self) -> None:
        self.assert_refused(2, "--ids", "1,2,3", "-n", "8", "-c", "10", says="10")
        self.assert_refused(2, "--ids", "1,2,3", "-c", "2")
        self.assert_refused(2, "--ids", "1,2,3", "-c", "3")  # no room for a token

    def test_a_control_character_in_an_argument_does_not_reach_the_terminal(self) -> None:
        done = self.run_program("--x\x1b[31m\r\n\x7f")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr.count(b"\n"), 1)
        for byte in (b"\x1b", b"\r", b"\x7f"):
            self.assertNotIn(byte, done.stderr)

    def test_help_and_version(self) -> None:
        for program in ("moe-run", "moe-compare", "moe-bench"):
            self.program = program
            for option in ("-h", "--help"):
                text = self.output_of(option).decode()
                self.assertTrue(text.startswith(f"Usage: {program} "))
                self.assertLessEqual(max(map(len, text.splitlines())), 110)
            self.assertRegex(self.output_of("--version").decode(), rf"\A{program} \d+\.\d+\.\d+\n\Z")


class Failures(ProgramCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_models_that_are_none(self) -> None:
        (self.folder / "file").write_bytes(b"")
        os.mkfifo(self.folder / "fifo")
        for model in ("nowhere", "", "no/such", "../x/y", "file", "fifo", "/dev/null", ".", "a/b/c", "-m"):
            with self.subTest(model=model):
                self.assert_refused(1, "-m", model, "--ids", "1", cwd=self.folder)

    def test_prompt_files(self) -> None:
        os.mkfifo(self.folder / "fifo")
        (self.folder / "bad").write_bytes(b"abc \xff\xfe")
        for file, says in (
            ("missing", "missing"),
            (".", "directory"),
            ("/dev/zero", "device"),
            ("/dev/null", "device"),
            ("bad", "UTF-8"),
        ):
            with self.subTest(file=file):
                self.assert_refused(1, "-f", file, cwd=self.folder, says=says)
        self.assert_refused(2, "-f", "fifo", cwd=self.folder, says="empty")  # nobody writes it

    def test_logits_files(self) -> None:
        for file in ("/dev/full", "/nonexistent/x", "."):
            with self.subTest(file=file):
                done = self.run_program("--ids", "1", "-n", "1", "--logits", file, "--quiet", cwd=self.folder)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)

    def test_context_that_no_machine_holds(self) -> None:
        self.assert_refused(1, "--ids", "1", "-n", "1", "-c", "2147483647", says="context")

    def test_a_tokenizer_that_is_missing(self) -> None:
        copy = self.folder / "model"
        copy.mkdir()
        for name in ("config.json", "generation_config.json", "model.safetensors"):
            (copy / name).symlink_to(MODEL / name)
        self.assert_refused(1, copy, "-p", "a", says="tokenizer.json")
        self.assert_refused(1, copy, "--ids", "1", says="tokenizer.json")
        self.assert_refused(1, copy, "--ids", "1", "--print-ids", "--stop", "x", says="tokenizer.json")
        self.assertEqual(len(self.output_of(copy, "--ids", "1", "-n", "3", "--print-ids").split(b",")), 3)
        self.assertIn(b'"text": null', self.output_of(copy, "--ids", "1", "-n", "3", "--json"))

    def test_a_tokenizer_of_another_model(self) -> None:
        copy = self.folder / "model"
        shutil.copytree(FIXTURES / "qwen3_moe-default", copy)
        shutil.copy(MODEL / "tokenizer.json", copy)
        self.assert_refused(1, copy, "-p", "Once upon a time", says="vocabulary")

    def test_logits_that_are_not_numbers(self) -> None:
        copy = self.folder / "model"
        shutil.copytree(FIXTURES / "qwen3_moe-default", copy)
        tensors = Tensors(copy / "model.safetensors")
        begin, end = tensors.header["lm_head.weight"]["data_offsets"]
        data = bytearray(tensors.data)
        data[tensors.start + begin : tensors.start + end] = b"\xff" * (end - begin)  # NaN in BF16 and in F32
        (copy / "model.safetensors").write_bytes(data)
        for temperature in ("0", "1"):
            done = self.run_program(
                copy, "--ids", "1", "--print-ids", "--quiet", "--temperature", temperature
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn(b"not a number", done.stderr)
            self.assertEqual(done.stderr.count(b"\n"), 1)


if __name__ == "__main__":
    unittest.main()
