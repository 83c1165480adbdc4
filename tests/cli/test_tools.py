"""moe-compare and moe-bench."""

from __future__ import annotations

import array
import csv
import io
import json
import math
import tempfile
import unittest
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from programs import FIXTURES, MODEL, ROOT, ProgramCase, Tensors, write_tensors

NAME = "qwen3_moe-default"


class Compare(ProgramCase):
    program = "moe-compare"

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dump = Path(folder.name) / "dump.safetensors"
        self.reference = Tensors(FIXTURES / NAME / "reference.safetensors")
        self.n_prompt = len(self.reference.integers("prompt_ids"))
        self.generated = self.reference.integers("generated_ids")
        self.n_rows, self.vocab = self.reference.shape("logits")

    def write(self, **changes: tuple[str, Sequence[int], bytes] | None) -> None:
        """The reference with some tensors replaced or (None) left out; '__' in a name stands for a dot."""
        tensors: dict[str, tuple[str, Sequence[int], bytes]] = {
            name: (entry["dtype"], entry["shape"], self.reference.bytes_of(name))
            for name, entry in self.reference.header.items()
            if name != "__metadata__"
        }
        for key, value in changes.items():
            name = key.replace("__", ".")
            tensors.pop(name, None)
            if value is not None:
                tensors[name] = value
        write_tensors(self.dump, tensors)

    def compare(self, status: int, *args: str) -> dict[str, Any]:
        done = self.run_program(FIXTURES / NAME, self.dump, "--json", *args)
        self.assertEqual(done.returncode, status, done.stderr)
        answer: dict[str, Any] = json.loads(done.stdout)
        self.assertEqual(answer["exact"], status == 0)
        table = self.run_program(FIXTURES / NAME, self.dump, *args)
        self.assertEqual(table.returncode, status)
        self.assertIn(b"\nresult     exact\n" if status == 0 else b"\nresult     differs", table.stdout)
        return answer

    def test_exact(self) -> None:
        self.write()
        answer = self.compare(0)
        n = len(self.generated)
        self.assertEqual((answer["tokens"]["compared"], answer["tokens"]["equal"]), (n, n))
        self.assertEqual(answer["rows"], self.n_prompt + n - 1)
        self.assertLess(answer["logits"]["largest_in_deviations"], 1e-4)
        self.assertNotIn("begins", answer)
        for layer in answer["layers"]:
            self.assertLess(layer["hidden"]["largest_in_deviations"], 1e-4)
            self.assertEqual(layer["experts"]["rows_differing"], 0)
        for args in (["-t", "1"], ["--isa", "scalar"], ["--batch-size", "1"], ["--batch-size", "5"]):
            again = self.compare(0, *args)
            self.assertEqual((again["logits"], again["layers"]), (answer["logits"], answer["layers"]))

    def test_another_token(self) -> None:
        ids = array.array("q", self.generated)
        ids[3] = (ids[3] + 1) % self.vocab
        self.write(generated_ids=("I64", [len(ids)], ids.tobytes()))
        answer = self.compare(1)
        first = answer["tokens"]["first_difference"]
        self.assertEqual(first["token"], 3)
        self.assertEqual((first["ours"], first["reference"]), (self.generated[3], ids[3]))
        self.assertGreater(first["reference_margin"], 0)

    def test_where_it_begins(self) -> None:
        hidden = array.array("f", self.reference.bytes_of("hidden.1"))
        width = self.reference.shape("hidden.1")[1]
        hidden[5 * width + 3] += 100.0
        self.write(hidden__1=("F32", self.reference.shape("hidden.1"), hidden.tobytes()))
        answer = self.compare(0)  # the tokens are what counts
        self.assertEqual(answer["begins"], {"layer": 1, "quantity": "hidden"})
        self.assertEqual(answer["layers"][1]["hidden"]["row"], 5)
        self.assertAlmostEqual(answer["layers"][1]["hidden"]["largest"], 100, places=2)

    def test_other_experts(self) -> None:
        experts = array.array("q", self.reference.bytes_of("experts.0"))
        rows, k = self.reference.shape("experts.0")
        experts[2 * k : 3 * k] = array.array("q", reversed(experts[2 * k : 3 * k]))  # as sets: equal
        self.write(experts__0=("I64", [rows, k], experts.tobytes()))
        self.assertNotIn("begins", self.compare(0))
        chosen = set(experts[7 * k : 8 * k])
        experts[7 * k] = next(e for e in range(64) if e not in chosen)
        self.write(experts__0=("I64", [rows, k], experts.tobytes()))
        answer = self.compare(0)
        self.assertEqual(answer["begins"], {"layer": 0, "quantity": "experts"})
        self.assertEqual(answer["layers"][0]["experts"]["rows_differing"], 1)
        self.assertEqual(answer["layers"][0]["experts"]["first_row"], 7)
        self.assertGreater(answer["layers"][0]["experts"]["margin"], 0)

    def test_numbers_that_are_none(self) -> None:
        logits = array.array("f", self.reference.bytes_of("logits"))
        logits[4] = math.nan
        self.write(logits=("F32", [self.n_rows, self.vocab], logits.tobytes()))
        answer = self.compare(0)
        self.assertIsNone(answer["logits"]["largest"])  # infinitely far
        self.assertIsNone(answer["distributions"]["kl"])
        self.assertEqual(answer["distributions"]["top_equal"], self.n_rows - 1)

    def test_distributions(self) -> None:
        ours = array.array("f", self.reference.bytes_of("logits"))
        self.write()
        answer = self.compare(0)["distributions"]
        self.assertEqual((answer["rows"], answer["top_equal"]), (self.n_rows, self.n_rows))
        self.assertTrue(0 <= answer["kl"] <= answer["largest_kl"] < 1e-9)

        theirs, at = ours[:], 4 * self.vocab
        row = list(ours[at : at + self.vocab])
        theirs[at + row.index(min(row))] = max(row) + 1
        theirs[at + row.index(max(row))] = -math.inf  # a probability of 0 adds nothing

        def softmax(x: Sequence[float]) -> list[float]:
            e = [math.exp(v - max(x)) for v in x]
            return [v / math.fsum(e) for v in e]

        p, q = softmax(theirs[at : at + self.vocab]), softmax(row)
        kl = math.fsum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)
        self.write(logits=("F32", [self.n_rows, self.vocab], theirs.tobytes()))
        answer = self.compare(0)["distributions"]
        self.assertEqual((answer["row"], answer["top_equal"]), (4, self.n_rows - 1))
        self.assertAlmostEqual(answer["largest_kl"] / kl, 1, places=4)
        self.assertAlmostEqual(answer["kl"] / kl * self.n_rows, 1, places=4)

    def test_precision(self) -> None:
        self.write()
        answers = []
        for args in ([], ["--isa", "scalar"], ["--pack", "-t", "1"], ["--batch-size", "3"]):
            done = self.run_program(FIXTURES / NAME, self.dump, "--json", "--precision", "bf16", *args)
            self.assertIn(done.returncode, (0, 1), done.stderr)
            answers.append(json.loads(done.stdout))
        self.assertEqual(answers[0]["precision"], "bf16")
        self.assertTrue(1e-8 < answers[0]["distributions"]["kl"] < 0.05)
        self.assertGreater(answers[0]["logits"]["largest_in_deviations"], 1e-4)
        for other in answers[1:]:
            self.assertEqual(other["distributions"], answers[0]["distributions"])
            self.assertEqual(other["layers"], answers[0]["layers"])
        table = self.run_program(FIXTURES / NAME, self.dump, "--precision", "bf16").stdout
        self.assertIn(b"activations in bf16", table)
        self.assert_refused(2, FIXTURES / NAME, self.dump, "--precision", "fp16", says="bf16")
        plain = FIXTURES / "qwen3_moe-odd"
        self.assert_refused(
            1, plain, plain / "reference.safetensors", "--precision", "bf16", says="no weights in BF16"
        )

    def test_fewer_rows_and_quantities(self) -> None:
        rows = self.n_prompt
        logits = self.reference.bytes_of("logits")[: rows * self.vocab * 4]
        self.write(logits=("F32", [1, rows, self.vocab], logits), hidden__0=None, experts__1=None)
        answer = self.compare(0)
        self.assertEqual(answer["logits"]["rows"], rows)
        self.assertNotIn("hidden", answer["layers"][0])
        self.write(logits=None)
        self.assertNotIn("logits", self.compare(0))
        self.write(generated_ids=("I64", [0], b""))
        self.assertEqual(self.compare(0)["tokens"]["compared"], 1)

    def test_refusals(self) -> None:
        bad: dict[str, dict[str, Any]] = {
            "prompt_ids": {"prompt_ids": None},
            "generated_ids": {"generated_ids": None},
            "no token": {"generated_ids": ("I64", [0], b""), "logits": None},
            "prompt_ids is empty": {"prompt_ids": ("I64", [0], b"")},
            "expected I64": {"prompt_ids": ("I32", [1], b"\0" * 4)},
            "vocabulary": {"prompt_ids": ("I64", [1], array.array("q", [-1]).tobytes())},
            "tensor logits": {"logits": ("F32", [2, 3], b"\0" * 24)},
            "tensor hidden.0": {"hidden__0": ("F16", [1, 1], b"\0" * 2)},
            "tensor hidden.99": {},
        }
        for says, changes in bad.items():
            self.write(**changes)
            if changes:
                with self.subTest(says=says):
                    self.assert_refused(1, FIXTURES / NAME, self.dump, says=says)
        self.dump.write_bytes(b"short")
        self.assert_refused(1, FIXTURES / NAME, self.dump)
        self.assert_refused(1, FIXTURES / NAME, "/nonexistent", says="/nonexistent")
        self.assert_refused(1, "/nonexistent", self.dump, says="/nonexistent")
        for args in (
            [],
            ["a"],
            ["a", "b", "c"],
            ["a", "b", "--nonsense"],
            ["a", "b", "-t", "0"],
            ["a", "b", "--tolerance", "-1"],
        ):
            with self.subTest(args=args):
                self.assert_refused(2, *args)


class Bench(ProgramCase):
    program = "moe-bench"
    fast = ("-p", "9", "-n", "3", "-r", "3", "--quiet")

    def test_json(self) -> None:
        rows = json.loads(self.output_of(*self.fast, "-t", "1,2", "-b", "1,3", "-d", "0,4", "-o", "json"))
        self.assertEqual(len(rows), 2 * 2 * 3)
        hashes: dict[tuple[Any, ...], set[str]] = {}
        for row in rows:
            for name in (
                "avg_ns",
                "avg_ts",
                "median_ts",
                "bytes_per_token",
                "bandwidth_gbs",
                "bandwidth_pct",
                "flops_per_token",
                "peak_gflops",
                "peak_pct",
            ):
                self.assertGreater(row[name], 0, name)
            for name in (
                "build_commit",
                "cpu_info",
                "model_type",
                "model_size",
                "model_n_params",
                "test_time",
                "stddev_ns",
                "stddev_ts",
                "isa",
                "gemm",
                "precision",
            ):
                self.assertIn(name, row)
            self.assertEqual((len(row["samples_ns"]), len(row["samples_ts"])), (3, 3))
            self.assertAlmostEqual(row["avg_ns"] / (sum(row["samples_ns"]) / 3), 1, places=4)
            tokens = row["n_prompt"] or row["n_gen"] * row["n_batch"]
            self.assertAlmostEqual(row["samples_ts"][0] * row["samples_ns"][0] / (tokens * 1e9), 1, places=4)
            key = (row["n_prompt"], row["n_gen"], row["n_batch"], row["n_depth"])
            hashes.setdefault(key, set()).add(row["logits_hash"])
        self.assertEqual(len(hashes), 6)
        self.assertTrue(all(len(of_threads) == 1 for of_threads in hashes.values()))
        self.assertEqual(len(set.union(*hashes.values())), 6)  # other tokens, other logits
        names = [row["test"] for row in rows[:6]]
        self.assertEqual(names, ["pp9", "tg3", "tg3 x3", "pp9 @ d4", "tg3 @ d4", "tg3 x3 @ d4"])
        one, three = (row for row in rows[:3] if row["n_gen"])
        self.assertLess(three["bytes_per_token"], one["bytes_per_token"])  # weights are read once for all

    def test_csv_and_markdown(self) -> None:
        table = list(csv.DictReader(io.StringIO(self.output_of(*self.fast, "-o", "csv").decode())))
        self.assertEqual([row["test"] for row in table], ["pp9", "tg3"])
        self.assertGreater(float(table[0]["avg_ts"]), 0)
        lines = self.output_of(*self.fast, "-p", "0").decode().splitlines()
        self.assertEqual(len(lines), 3)
        self.assertEqual(len({line.count("|") for line in lines}), 1)
        self.assertIn("tg3", lines[2])

    def test_synthetic(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shape = json.loads((ROOT / "bench/shapes/qwen3-30b-a3b.json").read_text())
            shape.update(
                hidden_size=64,
                vocab_size=128,
                num_experts=8,
                num_experts_per_tok=2,
                head_dim=16,
                moe_intermediate_size=64,
                num_attention_heads=4,
                num_key_value_heads=2,
            )
            file = Path(folder) / "config.json"
            file.write_text(json.dumps(shape))

            def measure(*args: str) -> dict[str, Any]:
                options = [*self.fast, "-n", "0", "-o", "json", *args]
                row: dict[str, Any] = json.loads(self.output_of("--synthetic", file, *options))[0]
                return row

            whole, cut = measure(), measure("--layers", "3")
            self.assertLess(cut["model_n_params"], whole["model_n_params"])
            self.assertEqual(cut["logits_hash"], measure("--layers", "3")["logits_hash"])
            self.assertNotEqual(cut["logits_hash"], measure("--layers", "3", "--seed", "2")["logits_hash"])
            by_format = {
                f: measure("--layers", "3", "--format", f) for f in ("bf16", "f32", "fp8", "affine4")
            }
            storage = [row["model_storage"] for row in by_format.values()]
            self.assertEqual(storage, ["BF16", "F32", "FP8", "affine 4-bit"])
            self.assertEqual(by_format["bf16"]["logits_hash"], cut["logits_hash"])
            rounded = measure("--layers", "3", "--precision", "bf16")
            self.assertEqual((rounded["precision"], cut["precision"]), ("bf16", "fp32"))
            self.assertNotEqual(rounded["logits_hash"], cut["logits_hash"])
            again = measure("--layers", "3", "--precision", "bf16", "--pack", "--isa", "scalar", "-t", "3")
            self.assertEqual(again["logits_hash"], rounded["logits_hash"])
            self.assertEqual(len({row["logits_hash"] for row in by_format.values()}), 4)
            sizes = [by_format[f]["model_size"] for f in ("affine4", "fp8", "bf16", "f32")]
            self.assertEqual(sizes, sorted(set(sizes)))
            self.assert_refused(2, "--synthetic", file, "--format", "q4", says="affine4")
            self.assert_refused(2, "--synthetic", file, "--layers", "49", says="48")
            file.write_text("{}")
            self.assert_refused(1, "--synthetic", file, "--layers", "2", says="num_hidden_layers")
            self.assert_refused(1, "--synthetic", file)
        self.assert_refused(1, "--synthetic", "/nonexistent", says="/nonexistent")

    def test_refusals(self) -> None:
        for args in (
            ["x"],
            ["-p", "x"],
            ["-p", "-1"],
            ["-b", "0"],
            ["-t", "0"],
            ["-t", "1,,2"],
            ["-r", "0"],
            ["-o", "xml"],
            ["--isa", "mmx"],
            ["--precision", "f32"],
            ["--layers", "2"],
            ["--format", "fp8"],
            ["-m", str(MODEL), "--synthetic", "x"],
            ["--no-warmup=1"],
        ):
            with self.subTest(args=args):
                self.assert_refused(2, *args)
        self.assert_refused(1, "-m", "/nonexistent")


if __name__ == "__main__":
    unittest.main()
