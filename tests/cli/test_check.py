"""moe-run --check: what it says of checkpoints that are whole, and of those that are not."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from typing import Any

from programs import (
    FIXTURES,
    MODEL,
    ROOT,
    RUNNER,
    TIMEOUT,
    Finished,
    ProgramCase,
    Tensors,
    command,
    environment,
)

NAME = "qwen3_moe-default"
SLACK = 2.0  # s: an interrupt is answered within
NAN, INFINITY = b"\xc0\x7f", b"\x80\xff"  # in BF16; minus infinity
SMALL_TOKENIZER = ROOT / "tests" / "faults" / "tokenizer.json"


class CheckCase(ProgramCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def copy(self, source: Path) -> Path:
        model = self.folder / "model"
        shutil.copytree(source, model)
        return model

    def fixture(self, name: str = NAME) -> Path:
        return self.copy(FIXTURES / name)

    def assert_ended(self, done: Finished, status: int) -> None:
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        self.assertEqual(done.stderr.count(b"\n"), status, done.stderr)
        self.assertTrue(status == 0 or done.stderr.startswith(b"moe-run: "), done.stderr)

    def check(self, status: int, *args: str | Path, **options: Any) -> list[str]:
        """The lines of a report; standard error has one where something is wrong, else none."""
        done = self.run_program("--check", *args, **options)
        self.assert_ended(done, status)
        return done.stdout.decode().splitlines()

    def check_json(self, status: int, *args: str | Path) -> dict[str, Any]:
        done = self.run_program("--check", "--json", *args)
        self.assert_ended(done, status)
        answer: dict[str, Any] = json.loads(done.stdout)
        self.assertEqual(answer["passes"], status == 0)
        return answer

    def assert_line(self, lines: list[str], name: str, *says: str) -> None:
        """One of the lines of that name holds all of it."""
        of_name = [line for line in lines if line.split(maxsplit=1)[:1] == [name]]
        self.assertTrue(any(all(s in line for s in says) for line in of_name), (name, says, lines))

    def assert_result(self, lines: list[str], says: str) -> None:
        self.assertEqual(lines[-1], f"result      {says}")


def plant(model: Path, tensor: str, at: int, value: bytes) -> None:
    """At element `at` of a tensor of 16 bits; -1 is the last."""
    path = model / "model.safetensors"
    file = Tensors(path)
    begin, end = file.header[tensor]["data_offsets"]
    data = bytearray(file.data)
    place = file.start + (begin if at >= 0 else end) + 2 * at
    data[place : place + 2] = value
    path.write_bytes(data)


def rewrite_header(model: Path, changes: dict[str, dict[str, Any] | None]) -> None:
    """Changes what the header says of tensors; None: gives the tensor another name."""
    path = model / "model.safetensors"
    file = Tensors(path)
    for name, change in changes.items():
        if change is None:
            file.header[f"{name}.gone"] = file.header.pop(name)
        else:
            file.header[name].update(change)
    head = json.dumps(file.header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + file.data[file.start :])


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class Good(CheckCase):
    def test_the_storyteller(self) -> None:
        lines = self.check(0)
        self.assert_line(lines, "model", str(MODEL))
        self.assert_line(lines, "family", "qwen3_moe: 6 layers, 2 of 8 experts, vocabulary of 4096")
        self.assert_line(lines, "tensors", "200, all there")
        self.assert_line(lines, "values", "6766208, all finite")
        self.assert_line(lines, "tokenizer", "largest id 4095")
        self.assert_line(lines, "special", "eos_token_id 4093 (config.json)")
        self.assert_line(lines, "weights", " 12.9 MiB", "mapped")
        self.assert_line(lines, "cache", " 2.3 MiB", "for 768 positions")
        for name in ("copies", "scratch", "needed"):
            self.assert_line(lines, name, " MiB")
        self.assert_line(lines, "available", "iB")
        self.assert_result(lines, "runs here")
        self.assertEqual([line for line in lines if "unnamed" in line or "outside" in line], [])

    def test_fixtures(self) -> None:
        for name in (
            "qwen3_moe-tied",  # shards
            "deepseek_v3-fp8",
            "gpt_oss-mxfp4",
            "gpt_oss-default",  # transposed
            "llama4_text-llama3",  # wrapped
            "longcat_flash-zero-experts",
            "dbrx-default",
            "qwen3_moe-mlx-mixed",
            "phimoe-longrope-grow",
            "olmoe-mixed",
        ):
            with self.subTest(name=name):
                lines = self.check(0, FIXTURES / name)
                self.assert_line(lines, "tokenizer", "none")
                self.assert_result(lines, "runs here")

    def test_json(self) -> None:
        answer = self.check_json(0, "-c", "100", "-t", "1", "--batch-size", "9")
        self.assertEqual(answer["model"]["family"], "qwen3_moe")
        self.assertEqual(
            answer["tensors"], {"count": 200, "faults": 0, "has_more_faults": False, "messages": []}
        )
        self.assertEqual((answer["values"]["count"], answer["values"]["tensors"]), (6766208, []))
        self.assertEqual(
            answer["tokenizer"], {"error": None, "largest_id": 4095, "unnamed_ids": 0, "fits": True}
        )
        self.assertEqual({i["id"] for i in answer["special_ids"]}, {4093})
        memory = answer["memory"]
        self.assertEqual((memory["context"], memory["rows"], memory["threads"]), (100, 9, 1))
        parts = memory["copied_bytes"] + memory["cache_bytes"] + memory["scratch_bytes"]
        self.assertEqual(memory["needed_bytes"], parts)
        self.assertEqual((memory["runs"], answer["result"]), ("in memory", "runs here"))

    def test_memory_is_what_a_session_takes(self) -> None:
        """For the prompt and -n that give this context, and as many rows."""
        checked = self.check_json(0, "-c", "40", "-t", "2", "--batch-size", "8")["memory"]
        run = json.loads(
            self.output_of("--ids", "1,2,3,4,5,6,7,8", "-n", "32", "-t", "2", "--json", "--quiet")
        )
        self.assertEqual(checked["cache_bytes"] + checked["scratch_bytes"], run["session_bytes"])

    def test_one_file(self) -> None:
        self.assert_result(self.check(0, MODEL / "model.safetensors"), "runs here")
        self.assert_result(self.check(0, "-m", MODEL, "--quiet"), "runs here")

    def test_options_of_the_machine(self) -> None:
        plain = self.check_json(0)["memory"]
        for option in ("--pack", "--huge-pages"):
            memory = self.check_json(0, option)["memory"]
            self.assertEqual(memory["weight_bytes"], 0)  # the embedding is the head
            self.assertGreater(memory["copied_bytes"], 0.7 * plain["weight_bytes"])
        self.check(0, "--precision", "bf16", "--isa", "scalar")
        model = FIXTURES / "mixtral-mlx3-g32"
        self.assert_refused(1, "--check", model, "--precision", "bf16", says="no weights in BF16")


class Faults(CheckCase):
    def test_values(self) -> None:
        model = self.fixture()
        plant(model, "model.embed_tokens.weight", 0, NAN)
        plant(model, "model.embed_tokens.weight", 1, NAN)
        plant(model, "lm_head.weight", -1, INFINITY)
        n = math.prod(Tensors(model / "model.safetensors").shape("lm_head.weight"))
        lines = self.check(1, model)
        self.assert_line(lines, "values", "2 NaN, 1 infinite of", ", in 2 tensors")
        self.assertIn(f"            model.embed_tokens.weight: 2 NaN, 0 infinite of {n}, BF16", lines)
        self.assertIn(f"            lm_head.weight: 0 NaN, 1 infinite of {n}, BF16", lines)
        self.assert_result(lines, "runs here, but has values that are not finite")
        values = self.check_json(1, model)["values"]
        self.assertEqual((values["nan"], values["infinite"], values["tainted_tensors"]), (2, 1, 2))
        self.assertEqual(
            values["tensors"][0],
            {"name": "model.embed_tokens.weight", "storage": "BF16", "count": n, "nan": 2, "infinite": 0},
        )

    def test_many(self) -> None:
        """A screenful is named; of a program's answer, all."""
        model = self.fixture()
        path = model / "model.safetensors"
        file = Tensors(path)
        names = [n for n, t in file.header.items() if n != "__metadata__" and t["dtype"] == "BF16"]
        self.assertGreater(len(names), 20)
        path.write_bytes(file.data[: file.start] + b"\xff" * (len(file.data) - file.start))
        lines = self.check(1, model)
        self.assertIn(
            f"            and {len(file.header) - ('__metadata__' in file.header) - 20} more", lines
        )
        self.assertLess(len(lines), 60)
        self.assertLessEqual(set(names), {t["name"] for t in self.check_json(1, model)["values"]["tensors"]})

    def test_tensors(self) -> None:
        model = self.fixture()
        file = Tensors(model / "model.safetensors")
        rows, columns = file.shape("lm_head.weight")
        rewrite_header(
            model,
            {
                "model.norm.weight": None,
                "lm_head.weight": {"shape": [columns, rows]},
                "model.layers.0.self_attn.q_proj.weight": {"dtype": "I16"},
            },
        )
        lines = self.check(1, model)
        self.assert_line(lines, "tensors", "3 of", "missing or wrong")
        text = "\n".join(lines)
        self.assertIn("tensor model.norm.weight: missing\n", text)
        self.assertIn(f"lm_head.weight: shape [{columns}, {rows}], expected [{rows}, {columns}]\n", text)
        self.assertIn("q_proj.weight: dtype I16, expected F32, BF16 or F16\n", text)
        self.assert_line(lines, "values", "all finite")
        self.assert_result(lines, "does not run: it has tensors missing or wrong")
        answer = self.check_json(1, model)
        self.assertEqual((answer["tensors"]["faults"], len(answer["tensors"]["messages"])), (3, 3))
        self.assertEqual((answer["memory"], answer["model"]["storage"]), (None, None))

    def test_many_tensors(self) -> None:
        model = self.fixture()
        edit_json(model / "config.json", num_hidden_layers=4000)
        lines = self.check(1, model)
        self.assert_line(lines, "tensors", "10000 of", "missing or wrong, and more")
        self.assertIn("            and 9980 more", lines)

    def test_special_ids(self) -> None:
        model = self.fixture()
        edit_json(model / "config.json", eos_token_id=[1, 64])
        edit_json(model / "generation_config.json", pad_token_id=-2)
        lines = self.check(1, model)
        self.assert_line(lines, "special", "eos_token_id 64 (config.json), outside the vocabulary")
        self.assert_line(lines, "special", "pad_token_id -2 (generation_config.json), outside the vocabulary")
        self.assert_result(lines, "runs here, but has special ids outside the vocabulary")
        outside = [i["id"] for i in self.check_json(1, model)["special_ids"] if not i["fits"]]
        self.assertEqual(outside, [64, -2])

    def test_special_ids_of_a_model_of_more_than_text(self) -> None:
        model = self.fixture("llama4_text-llama3")
        text = json.loads((model / "config.json").read_text())["text_config"]
        edit_json(model / "config.json", text_config={**text, "eos_token_id": 10**6})
        lines = self.check(1, model)
        self.assert_line(lines, "special", "eos_token_id 1000000 (config.json), outside the vocabulary")

    def test_a_tokenizer_of_another_vocabulary(self) -> None:
        model = self.fixture()
        shutil.copy(MODEL / "tokenizer.json", model)
        lines = self.check(1, model)
        self.assert_line(lines, "tokenizer", "largest id 4095, outside the vocabulary")
        self.assert_result(lines, "runs here, but has a tokenizer of another vocabulary")
        self.assertEqual(self.check_json(1, model)["tokenizer"]["fits"], False)

    def test_an_id_that_only_the_template_adds(self) -> None:
        model = self.fixture()
        tokenizer = json.loads(SMALL_TOKENIZER.read_text())
        tokenizer["post_processor"] = {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "special_tokens": {"x": {"id": "x", "ids": [5000], "tokens": ["x"]}},
        }
        (model / "tokenizer.json").write_text(json.dumps(tokenizer))
        self.assert_line(self.check(1, model), "tokenizer", "largest id 5000, outside the vocabulary")

    def test_a_tokenizer_with_fewer_tokens(self) -> None:
        model = self.fixture()
        shutil.copy(SMALL_TOKENIZER, model / "tokenizer.json")
        answer = self.check_json(0, model)
        unnamed = answer["tokenizer"]["unnamed_ids"]
        self.assertGreater(unnamed, 0)
        lines = self.check(0, model)
        self.assert_line(lines, "unnamed", f"{unnamed} ids of the vocabulary have no token")
        self.assert_result(lines, "runs here")

    def test_tokenizers_that_cannot_be_read(self) -> None:
        model = self.fixture()
        (model / "tokenizer.json").write_text('{"model": {"type": "Unigram"}}')
        lines = self.check(1, model)
        self.assert_line(lines, "tokenizer", "tokenizer.json: ", "Unigram")
        self.assert_result(lines, "runs here, but has a tokenizer that cannot be read")
        self.assertIn("Unigram", self.check_json(1, model)["tokenizer"]["error"])
        (model / "tokenizer.json").unlink()
        (model / "tokenizer.json").mkdir()
        self.assert_refused(1, "--check", model, says="directory")

    def test_no_tokenizer(self) -> None:
        lines = self.check(0, self.fixture())
        self.assert_line(lines, "tokenizer", "none", "only --ids work")
        self.assertIsNone(self.check_json(0, self.folder / "model")["tokenizer"])

    def test_everything_at_once(self) -> None:
        model = self.fixture()
        shutil.copy(MODEL / "tokenizer.json", model)
        edit_json(model / "config.json", eos_token_id=64)
        plant(model, "lm_head.weight", 0, NAN)
        rewrite_header(model, {"model.norm.weight": None})
        self.assert_result(
            self.check(1, model),
            "does not run: it has tensors missing or wrong, values that are not finite, "
            "a tokenizer of another vocabulary, special ids outside the vocabulary",
        )

    def test_context_that_does_not_fit(self) -> None:
        lines = self.check(1, "-c", str(1 << 28))
        self.assert_line(lines, "cache", "768.0 GiB  for 268435456 positions")
        self.assertRegex(
            lines[-1], r"\Aresult      does not run here: needs [\d.]+ GiB of memory, [\d.]+ .iB are "
        )
        self.assertEqual(self.check_json(1, "-c", str(1 << 28))["memory"]["runs"], "no")


class Refusals(CheckCase):
    def test_what_opening_refuses(self) -> None:
        self.assert_refused(1, "--check", "nowhere", says="nowhere")
        model = self.fixture()
        edit_json(model / "config.json", model_type="qwen3_next")
        self.assert_refused(1, "--check", model, says="model_type")
        (model / "config.json").write_text("{")
        self.assert_refused(1, "--check", model, "--json", says="config.json")

    def test_a_file_that_is_cut_short(self) -> None:
        model = self.fixture("qwen3_moe-long")
        shard = model / "model-00002-of-00003.safetensors"
        os.truncate(shard, shard.stat().st_size - 1)
        self.assert_refused(1, "--check", model, says=shard.name)

    def test_contexts(self) -> None:
        self.assert_refused(1, "--check", "-c", str((1 << 31) - 1), says="context")
        self.assert_refused(2, "--check", "-c", "0", says="--ctx")

    def test_usage(self) -> None:
        for args in (
            ["-p", "a"],
            ["-f", "a"],
            ["--ids", "1"],
            ["--logits", "x"],
            ["-n", "3"],
            ["--stop", "x"],
            ["--print-ids"],
            ["--ignore-eos"],
            ["--temperature", "0"],
            ["--top-k", "1"],
            ["--top-p", "1"],
            ["--min-p", "0"],
            ["--repeat-penalty", "1"],
            ["--seed", "1"],
            ["--add-bos"],
            ["--no-bos"],
            ["--tokenize"],
            ["--detokenize"],
            ["--escaped"],
            ["--skip-special"],
        ):
            with self.subTest(args=args):
                says = "--check" if args[0] != "--tokenize" else "check"
                self.assert_refused(2, "--check", MODEL, *args, says=says)


class Outputs(CheckCase):
    def finished(self, *args: str, **options: Any) -> Finished:
        return subprocess.run(
            command("moe-run", "--check", *args),
            stderr=subprocess.PIPE,
            env=environment(),
            timeout=TIMEOUT,
            **options,
        )

    def assert_fails(self, done: Finished) -> None:
        self.assertEqual(done.returncode, 1)
        self.assertTrue(done.stderr.startswith(b"moe-run: standard output: "), done.stderr)
        self.assertEqual(done.stderr.count(b"\n"), 1)

    def test_outputs_that_fail(self) -> None:
        for args in ((), ("--json",)):
            with open("/dev/full", "wb") as full:
                self.assert_fails(self.finished(*args, stdout=full))
            self.assert_fails(self.finished(*args, preexec_fn=lambda: os.close(1)))
            reader, writer = os.pipe()
            os.close(reader)
            self.assert_fails(self.finished(*args, stdout=writer))
            os.close(writer)


class Large(CheckCase):
    """A model that is looked at for some seconds: a file of holes, whose values are all 0."""

    VOCAB = 1 << 24

    def setUp(self) -> None:
        super().setUp()
        if RUNNER:
            self.skipTest("an emulator is too slow for it, and reports faults in its own way")
        self.model = self.fixture("deepseek_v3-fp8")
        self.file = self.model / "model.safetensors"
        edit_json(self.model / "config.json", vocab_size=self.VOCAB)
        at = 0
        header: dict[str, Any] = {}
        for name, t in Tensors(self.file).header.items():
            if name == "__metadata__":
                continue
            shape, (begin, end) = t["shape"], t["data_offsets"]
            n = end - begin
            if name in ("lm_head.weight", "model.embed_tokens.weight"):
                n = n // shape[0] * self.VOCAB
                shape = [self.VOCAB, shape[1]]
            header[name] = {"dtype": t["dtype"], "shape": shape, "data_offsets": [at, at + n]}
            at += n
        head = json.dumps(header).encode()
        self.file.write_bytes(struct.pack("<Q", len(head)) + head)
        try:
            os.truncate(self.file, 8 + len(head) + at)
        except OSError as e:
            self.skipTest(f"a file of {at} bytes: {e.strerror}")

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Running, and looking at values."""
        process = subprocess.Popen(
            command("moe-run", "--check", str(self.model), *args),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        maps = Path(f"/proc/{process.pid}/maps")
        deadline = time.monotonic() + TIMEOUT
        while process.poll() is None and str(self.file) not in maps.read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        time.sleep(0.1)
        return process

    def test_signals(self) -> None:
        for number, args in ((signal.SIGINT, []), (signal.SIGTERM, ["--json", "-t", "1"])):
            process = self.start(*args)
            sent = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT)
            self.assertLess(time.monotonic() - sent, SLACK)
            self.assertEqual((process.returncode, out, err), (128 + number, b"", b""))

    def test_a_file_that_shrinks_meanwhile(self) -> None:
        process = self.start()
        os.truncate(self.file, 4096)
        out, err = process.communicate(timeout=TIMEOUT)
        self.assertEqual((process.returncode, out), (1, b""))
        self.assertEqual(err.count(b"\n"), 1, err)
        self.assertRegex(err, rb"\Amoe-run: .*(truncated|shorter)")


if __name__ == "__main__":
    unittest.main()
