"""What moe-run generates and how it prints it."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Any

from programs import FIXTURES, MODEL, TIMEOUT, VOCAB, ProgramCase, Tensors, command, environment, ids_of

PROMPT = "Once upon a time, there was"


class RunCase(ProgramCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def text_of(self, *args: str | Path) -> str:
        return self.output_of(*args, "--quiet").decode()

    def json_of(self, *args: str | Path) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.output_of(*args, "--json", "--quiet"))
        return answer


class Generation(RunCase):
    def test_without_arguments_it_tells_a_story(self) -> None:
        done = self.run_program()
        self.assertEqual(done.returncode, 0)
        text = done.stdout.decode()
        self.assertGreater(len(text), 100)
        self.assertNotIn(PROMPT, text)
        last = done.stderr.decode().splitlines()[-1]
        self.assertRegex(
            last,
            r"\Amoe-run: \d+ prompt tokens, [\d.]+ tokens/s; \d+ generated tokens, [\d.]+ tokens/s; "
            r"peak memory [\d.]+ MiB\Z",
        )
        self.assertEqual(text, self.text_of("-p", PROMPT))

    def test_ids_text_and_json_agree(self) -> None:
        ids = ids_of(self.output_of("-p", PROMPT, "-n", "30", "--ignore-eos", "--print-ids"))
        answer = self.json_of("-p", PROMPT, "-n", "30", "--ignore-eos")
        text = self.text_of("-p", PROMPT, "-n", "30", "--ignore-eos")
        self.assertEqual(len(ids), 30)
        self.assertEqual(answer["ids"], ids)
        self.assertEqual(answer["text"], text)
        self.assertEqual(answer["finish_reason"], "length")
        self.assertEqual(answer["generated_tokens"], 30)
        line = ",".join(map(str, ids)).encode()
        shown = self.output_of("--detokenize", "--skip-special", stdin=line).decode()
        self.assertEqual(re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r"}.get(m[1], m[1]), shown[:-1]), text)

    def test_print_ids_is_one_line(self) -> None:
        self.assertRegex(self.output_of("-p", PROMPT, "-n", "5", "--print-ids"), rb"\A\d+(,\d+){4}\n\Z")
        self.assertEqual(self.output_of("-p", PROMPT, "-n", "0", "--print-ids"), b"\n")

    def test_the_prompt_comes_from_everywhere(self) -> None:
        expected = self.text_of("-p", PROMPT, "-n", "12")
        (self.folder / "prompt").write_text(PROMPT)
        self.assertEqual(self.text_of("-f", self.folder / "prompt", "-n", "12"), expected)
        done = self.run_program("-p", "-", "-n", "12", stdin=PROMPT.encode())
        self.assertEqual(done.stdout.decode(), expected)
        ids = self.output_of("--tokenize", stdin=PROMPT.encode()).decode().strip()
        self.assertEqual(self.text_of("--ids", ids, "-n", "12"), expected)
        self.assertEqual(self.text_of(MODEL, "-p", PROMPT, "-n", "12"), expected)

    def test_a_pipe_is_a_prompt_file(self) -> None:
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        writer = os.open(fifo, os.O_RDWR)
        os.write(writer, PROMPT.encode())
        process = subprocess.Popen(
            command("moe-run", "-f", fifo, "-n", "4", "--quiet"), stdout=subprocess.PIPE, env=environment()
        )
        try:
            with self.assertRaises(subprocess.TimeoutExpired):  # more may come until the writer closes it
                process.communicate(timeout=1)
            os.close(writer)
            shown = process.communicate(timeout=TIMEOUT)[0].decode()
        finally:
            process.kill()
        self.assertEqual(shown, self.text_of("-p", PROMPT, "-n", "4"))

    def test_lengths(self) -> None:
        self.assertEqual(self.text_of("-p", PROMPT, "-n", "0"), "")
        self.assertEqual(self.json_of("--ids", "1,2,3", "-n", "0")["finish_reason"], "length")
        answer = self.json_of("--ids", "1,2,3", "-c", "10", "--ignore-eos")
        self.assertEqual((answer["generated_tokens"], answer["context"]), (7, 10))
        self.assertEqual(self.json_of("--ids", "1,2,3", "-n", "5", "--ignore-eos")["context"], 8)

    def test_end_of_sequence(self) -> None:
        answer = self.json_of("-p", PROMPT, "-n", "900")
        self.assertEqual(answer["finish_reason"], "eos")
        config = json.loads((MODEL / "generation_config.json").read_text())
        eos = config["eos_token_id"]
        self.assertIn(answer["ids"][-1], eos if isinstance(eos, list) else [eos])
        self.assertEqual(
            self.output_of("-p", PROMPT, "-n", "900", "--print-ids").decode().split(",")[-1].strip(),
            str(answer["ids"][-1]),
        )
        n = len(answer["ids"])
        longer = self.json_of("-p", PROMPT, "-n", str(n + 3), "--ignore-eos")
        self.assertEqual(longer["ids"][:n], answer["ids"])
        self.assertEqual(len(longer["ids"]), n + 3)

    def test_fixture_ids(self) -> None:
        for name in ("qwen3_moe-default", "olmoe-default", "qwen2_moe-default", "mixtral-default"):
            with self.subTest(model=name):
                dump = Tensors(FIXTURES / name / "reference.safetensors")
                expected = dump.integers("generated_ids")
                prompt = ",".join(map(str, dump.integers("prompt_ids")))
                out = self.output_of(
                    FIXTURES / name, "--ids", prompt, "-n", str(len(expected)), "--ignore-eos", "--print-ids"
                )
                self.assertEqual(ids_of(out), expected)


class Sampling(RunCase):
    def sample(self, *args: str) -> list[int]:
        return ids_of(self.output_of("-p", PROMPT, "-n", "24", "--ignore-eos", "--print-ids", *args))

    def test_a_seed_repeats(self) -> None:
        one = self.sample("--temperature", "1", "--seed", "1")
        self.assertEqual(self.sample("--temperature", "1", "--seed", "1", "-t", "1"), one)
        self.assertNotEqual(self.sample("--temperature", "1", "--seed", "2"), one)
        self.assertEqual(
            self.sample("--temperature", "1", "--seed", "18446744073709551615"),
            self.sample("--temperature", "1", "--seed", "18446744073709551615"),
        )

    def test_narrow_filters_are_greedy(self) -> None:
        greedy = self.sample()
        for args in (["--top-k", "1"], ["--top-p", "0.000001"], ["--min-p", "1"]):
            with self.subTest(args=args):
                self.assertEqual(self.sample("--temperature", "1.5", "--seed", "3", *args), greedy)

    def test_repeat_penalty_avoids_what_was_there(self) -> None:
        free, penalised = self.sample(), self.sample("--repeat-penalty", "100")
        self.assertNotEqual(free, penalised)
        self.assertEqual(len(set(penalised)), len(penalised))

    def test_options_without_effect_are_said(self) -> None:
        done = self.run_program("-p", "a", "-n", "1", "--top-k", "5")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"--top-k changes nothing", done.stderr)


class Stops(RunCase):
    @classmethod
    def setUpClass(cls) -> None:
        case = cls()
        cls.answer = case.json_of("-p", PROMPT, "-n", "30", "--ignore-eos")
        cls.text = cls.answer["text"]
        cls.prefixes = [
            case.output_of("--detokenize", stdin=",".join(map(str, cls.answer["ids"][:k])).encode()).decode()[
                :-1
            ]
            for k in range(1, 20)
        ]

    answer: dict[str, Any]
    text: str
    prefixes: list[str]

    def stopped(self, *stops: str) -> dict[str, Any]:
        args = [word for stop in stops for word in ("--stop", stop)]
        answer = self.json_of("-p", PROMPT, "-n", "30", "--ignore-eos", *args)
        self.assertEqual(answer["text"], self.text_of("-p", PROMPT, "-n", "30", "--ignore-eos", *args))
        return answer

    def test_every_place_and_length(self) -> None:
        """Stop texts inside a token, at its borders and across several."""
        for start in range(0, 40, 6):
            for length in (1, 5, 17):
                stop = self.text[start : start + length]
                with self.subTest(stop=stop):
                    answer = self.stopped(stop)
                    self.assertEqual(answer["finish_reason"], "stop")
                    self.assertEqual(answer["text"], self.text[: self.text.index(stop)])

    def test_ids_hold_the_token_that_completed_it(self) -> None:
        end = len(self.prefixes[4])
        stop = self.text[end - 2 : end + 2]  # begins in token 5 and ends in a later one
        answer = self.stopped(stop)
        self.assertEqual(answer["ids"], self.answer["ids"][: len(answer["ids"])])
        self.assertGreater(len(answer["ids"]), 5)

    def test_what_looked_like_a_stop_text_is_printed(self) -> None:
        almost = self.text[10:30] + "\u2603"
        answer = self.stopped(almost)
        self.assertEqual((answer["text"], answer["finish_reason"]), (self.text, "length"))
        self.assertEqual(self.stopped(self.text[-5:] + "more")["text"], self.text)

    def test_the_one_that_ends_first_counts(self) -> None:
        long, short = self.text[10:30], self.text[20:24]
        self.assertEqual(self.stopped(long, short)["text"], self.text[: self.text.index(short)])
        self.assertEqual(self.stopped(short, long)["text"], self.text[: self.text.index(short)])
        same_end = self.text[12:24]
        self.assertEqual(self.stopped(short, same_end)["text"], self.text[: self.text.index(same_end)])

    def test_with_print_ids(self) -> None:
        stop = self.text[15:20]
        ids = ids_of(self.output_of("-p", PROMPT, "-n", "30", "--print-ids", "--stop", stop))
        self.assertEqual(ids, self.stopped(stop)["ids"])


class Output(RunCase):
    def test_json(self) -> None:
        answer = self.json_of("-p", PROMPT, "-n", "10", "--temperature", "0.5", "--seed", "7")
        for key in (
            "text",
            "ids",
            "finish_reason",
            "prompt_tokens",
            "generated_tokens",
            "timings",
            "peak_memory_bytes",
            "context",
            "threads",
            "seed",
            "model",
            "version",
        ):
            self.assertIn(key, answer)
        for key in ("load_s", "prompt_s", "generate_s", "prompt_tokens_per_s", "generated_tokens_per_s"):
            self.assertTrue(math.isfinite(answer["timings"][key]))
            self.assertGreater(answer["timings"][key], 0)
        self.assertEqual(answer["model"]["vocabulary"], VOCAB)
        self.assertEqual(answer["seed"], 7)
        self.assertGreater(answer["peak_memory_bytes"], 1 << 20)

    def test_json_of_any_bytes(self) -> None:
        """Random tokens decode to broken UTF-8, quotes and control characters."""
        for seed in range(4):
            args = ["-p", PROMPT, "-n", "60", "--temperature", "1000", "--seed", str(seed), "--ignore-eos"]
            answer = self.json_of(*args)
            self.assertEqual(answer["text"].encode(), self.output_of(*args, "--quiet"))

    def test_quiet(self) -> None:
        done = self.run_program("-p", PROMPT, "-n", "3", "--quiet")
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_logits(self) -> None:
        file = self.folder / "logits.safetensors"
        ids = ids_of(
            self.output_of("--ids", "5,6,7,8", "-n", "6", "--ignore-eos", "--print-ids", "--logits", file)
        )
        tensors = Tensors(file)
        self.assertEqual([k for k in tensors.header if k != "__metadata__"], ["logits"])
        self.assertEqual(tensors.header["logits"]["dtype"], "F32")
        self.assertEqual(tensors.shape("logits"), [9, VOCAB])  # the last token is not fed
        values = tensors.floats("logits")
        for i, token in enumerate(ids):
            row = values[(3 + i) * VOCAB : (4 + i) * VOCAB]
            self.assertEqual(row.index(max(row)), token)
        self.output_of("--ids", "5,6,7,8", "-n", "0", "--logits", file)
        self.assertEqual(Tensors(file).shape("logits"), [4, VOCAB])

    def test_same_bits_for_threads_chunks_and_instruction_sets(self) -> None:
        ids = ",".join(str((7 * i) % VOCAB) for i in range(150))
        files = {}
        for name, args in {
            "plain": [],
            "1 thread": ["-t", "1"],
            "3 threads": ["-t", "3"],
            "chunks of 1": ["--batch-size", "1"],
            "chunks of 7": ["--batch-size", "7"],
            "scalar": ["--isa", "scalar"],
        }.items():
            file = self.folder / "logits"
            self.output_of("--ids", ids, "-n", "3", "--ignore-eos", "--print-ids", "--logits", file, *args)
            files[name] = file.read_bytes()
        for name, data in files.items():
            self.assertTrue(data == files["plain"], name)


if __name__ == "__main__":
    unittest.main()
