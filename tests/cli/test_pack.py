"""moe-pack, and packed weights in the other programs."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from programs import (
    FIXTURES,
    MODEL,
    RUNNER,
    TIMEOUT,
    ProgramCase,
    Tensors,
    command,
    environment,
    run,
    write_tensors,
)

NAME = "qwen3_moe-default"
SLACK = 2.0  # s: an interrupt is answered within


def dtypes_of(model: Path) -> set[str]:
    """Of the matrices among the tensors of a fixture."""
    header = Tensors(model / "model.safetensors").header
    return {t["dtype"] for n, t in header.items() if n != "__metadata__" and len(t["shape"]) > 1}


class PackCase(ProgramCase):
    program = "moe-pack"

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "packed"

    def pack(self, name: str = NAME) -> Tensors:
        self.output_of(FIXTURES / name, self.out)
        return Tensors(self.out / "model.safetensors")

    def assert_only(self, *names: str) -> None:
        self.assertEqual(sorted(os.listdir(self.folder)), sorted(names))


class Fixtures(PackCase):
    def test_every_fixture(self) -> None:
        """What has a matrix in BF16 packs, verifies and stays exact; the rest is refused."""
        n_packed = 0
        for model in sorted(FIXTURES.iterdir()):
            if not (model / "model.safetensors").exists() or not (model / "config.json").exists():
                continue
            shutil.rmtree(self.out, ignore_errors=True)
            with self.subTest(model=model.name):
                done = self.run_program(model, self.out)
                if done.returncode:
                    self.assertIn("has no matrix in BF16 to pack", done.stderr.decode())
                    self.assertTrue("BF16" not in dtypes_of(model) or self.is_not_bound(model), model)
                    self.assert_only()
                    continue
                n_packed += 1
                self.assertIn(b"result     every weight equal\n", done.stdout)
                self.assertIn(b"undamaged", self.output_of("--verify", self.out))
                self.output_of("--compare", model, self.out)
                if not model.name.endswith("-block"):  # which has no tokens
                    compared = run("moe-compare", self.out, model / "reference.safetensors")
                    self.assertEqual(compared.returncode, 0, compared.stderr)
                    self.assertIn(b"result     exact\n", compared.stdout)
        self.assertGreater(n_packed, 100)

    def is_not_bound(self, model: Path) -> bool:
        """Whether BF16 is only in tensors that are no matrices: scales and biases."""
        header = Tensors(model / "model.safetensors").header
        names = [
            n
            for n, t in header.items()
            if n != "__metadata__" and t["dtype"] == "BF16" and len(t["shape"]) > 1
        ]
        return all(n.endswith((".scales", ".biases", "_scale_inv", "_bias", "bias")) for n in names)

    def test_logits_are_the_same_bits(self) -> None:
        for name in (NAME, "deepseek_v2-mixed", "gpt_oss-default", "mixtral-mixed", "ernie4_5_moe-default"):
            self.output_of(FIXTURES / name, self.out)
            plain = self.logits(FIXTURES / name)
            for args in ([], ["-t", "1"], ["-t", "3", "--batch-size", "2"], ["--pack"], ["--huge-pages"]):
                self.assertEqual(self.logits(self.out, *args), plain, (name, args))
                self.assertEqual(self.logits(FIXTURES / name, *args), plain, (name, args))
            shutil.rmtree(self.out)

    def logits(self, model: Path, *args: str) -> bytes:
        file = self.folder / "logits"
        done = run(
            "moe-run",
            model,
            "--ids",
            "3,1,4,1,5,9,2,6",
            "-n",
            "6",
            "--ignore-eos",
            "--print-ids",
            *args,
            "--logits",
            file,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return Tensors(file).bytes_of("logits")


class File(PackCase):
    def test_layout(self) -> None:
        """What docs/formats.md says of the file: names, shapes, alignment, order, checksums for all."""
        plain, packed = Tensors(FIXTURES / NAME / "model.safetensors"), self.pack()
        metadata = packed.header.pop("__metadata__")
        plain.header.pop("__metadata__", None)
        self.assertEqual(metadata.pop("moe.packed"), "1")
        self.assertEqual({f"xxh3:{name}" for name in packed.header}, set(metadata))
        for value in metadata.values():
            self.assertRegex(value, r"\A[0-9a-f]{16}\Z")
        self.assertEqual(packed.start % 64, 0)
        order = sorted(packed.header, key=lambda n: packed.header[n]["data_offsets"])
        kinds = ["".join(n.rpartition("_")[1:]) for n in order]
        n = kinds.count("_packed")
        self.assertEqual(kinds[:n], ["_packed"] * n)
        self.assertEqual(kinds[n : 2 * n], ["_escapes"] * n)
        for name, tensor in plain.header.items():
            if name in packed.header:
                self.assertEqual(tensor["shape"], packed.header[name]["shape"])
                self.assertEqual(plain.bytes_of(name), packed.bytes_of(name))
                self.assertFalse(name.endswith("proj.weight"), name)
                continue
            *stack, rows, cols = tensor["shape"]
            data = packed.header[f"{name}_packed"]
            self.assertEqual(data["shape"], [*stack, rows, -(-cols // 128), 192])
            self.assertEqual(data["data_offsets"][0] % 64, 0)
            self.assertEqual(packed.header[f"{name}_escapes"]["data_offsets"][0] % 64, 0)
            self.assertEqual(self.unpack(packed, name, rows, cols), plain.bytes_of(name))

    @staticmethod
    def unpack(packed: Tensors, name: str, rows: int, cols: int) -> bytes:
        """By the words of docs/formats.md alone."""
        data, apart = packed.bytes_of(f"{name}_packed"), packed.bytes_of(f"{name}_escapes")
        table, blocks = apart[:16], -(-cols // 128)
        first = struct.unpack_from(f"<{rows + 1}I", apart, 16)
        block = struct.unpack_from(f"<{first[-1]}I", apart, 16 + 4 * (rows + 1))
        high_at = -(-(16 + 4 * (rows + 1) + 4 * first[-1]) // 64) * 64
        out = bytearray()
        for r in range(rows):
            escaped = {block[e]: high_at + 128 * e for e in range(first[r], first[r + 1])}
            row = bytearray()
            for b in range(blocks):
                at = (r * blocks + b) * 192
                for i in range(128):
                    place = i // 64 * 64 + i % 32 // 8 * 16 + i // 32 % 2 * 8 + i % 8
                    code = data[at + place % 64] >> (0 if place < 64 else 4) & 15
                    high = apart[escaped[b] + place] if b in escaped else table[code]
                    row += bytes((data[at + 64 + place], high))
            out += row[: 2 * cols]
        return bytes(out)

    def test_small_files_come_along(self) -> None:
        model = self.folder / "model"
        shutil.copytree(FIXTURES / NAME, model)
        (model / "tokenizer.json").write_text("{}")
        (model / "notes.txt").write_text("x")
        (model / "pytorch_model.bin").write_text("x")
        (model / ".hidden").write_text("x")
        (model / "folder").mkdir()
        self.output_of(model, self.out)
        self.assertEqual(
            sorted(os.listdir(self.out)),
            ["config.json", "generation_config.json", "model.safetensors", "notes.txt", "tokenizer.json"],
        )

    def test_one_file(self) -> None:
        file = self.folder / "x.safetensors"
        self.output_of(FIXTURES / NAME, file)
        self.assert_only("config.json", "generation_config.json", "x.safetensors")
        self.assertIn(b"undamaged", self.output_of("--verify", file))
        for program, args in (
            ("moe-run", ["--ids", "1,2", "-n", "2", "--print-ids"]),
            ("moe-compare", [str(FIXTURES / NAME / "reference.safetensors")]),
        ):
            self.assertEqual(run(program, file, *args).returncode, 0)
            done = run(program, file.name, *args, cwd=self.folder)
            self.assertEqual(done.returncode, 0, done.stderr)
        # beside a config.json of another model it would be read as that
        other = self.folder / "other"
        other.mkdir()
        (other / "config.json").write_text("{}")
        self.assert_refused(1, FIXTURES / NAME, other / "x.safetensors", says="config.json: is not that of")
        self.assertEqual(os.listdir(other), ["config.json"])

    def test_a_packed_file_as_model(self) -> None:
        self.pack()
        again = self.folder / "again"
        self.assert_refused(1, self.out, again, says="is packed already")
        self.assert_refused(1, FIXTURES / "qwen3_moe-mlx4-g64", again, says="BF16")
        self.assert_only("packed")

    def test_damage_is_named(self) -> None:
        packed = self.pack()
        file = self.out / "model.safetensors"
        data = file.read_bytes()
        del packed.header["__metadata__"]
        for name, tensor in list(packed.header.items())[::7]:
            damaged = bytearray(data)
            at = packed.start + (tensor["data_offsets"][0] + tensor["data_offsets"][1] - 1) // 2
            damaged[at] ^= 1
            file.write_bytes(damaged)
            self.assert_refused(1, "--verify", self.out, says=f"tensor {name}: damaged")
        for old, new in (
            (b'"moe.packed":"1"', b'"moe.packed":"2"'),
            (b'"xxh3:model.norm', b'"xxh4:model.norm'),
            (b'"dtype":"BF16"', b'"dtype":"F16" '),
        ):
            self.assertIn(old, data)
            file.write_bytes(data.replace(old, new, 1))
            self.assert_refused(1, "--verify", self.out)
        for name, at in (("lm_head.weight_packed", 64), ("model.norm.weight", 0)):  # the first low byte
            damaged = bytearray(data)
            damaged[packed.start + packed.header[name]["data_offsets"][0] + at] ^= 1
            file.write_bytes(damaged)
            self.assert_refused(1, "--compare", FIXTURES / NAME, self.out, says=f"tensor {name}: ")
        file.write_bytes(data[:-1])
        self.assert_refused(1, "--verify", self.out)
        self.assert_refused(1, "--verify", FIXTURES / NAME, says="moe.packed is missing")

    def test_single_faults(self) -> None:
        """A byte of the header, or of the numbers of escapes: refused, or read; never a signal."""
        packed = self.pack("olmoe-odd") if "BF16" in dtypes_of(FIXTURES / "olmoe-odd") else self.pack()
        file = self.out / "model.safetensors"
        data = file.read_bytes()
        places = list(range(0, min(packed.start, 4000), 37))
        for name, tensor in packed.header.items():
            if name.endswith("_escapes") and len(places) < 260:
                places += [packed.start + tensor["data_offsets"][0] + at for at in (16, 19, 20, 23, 40)]
        n_refused = 0
        for at in places:
            damaged = bytearray(data)
            damaged[at] ^= 0x80
            file.write_bytes(damaged)
            done = run("moe-run", self.out, "--ids", "1,2,3", "-n", "2", "--print-ids", "--quiet")
            self.assertIn(done.returncode, (0, 1), (at, done.stderr))
            if done.returncode:
                n_refused += 1
                self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
                self.assertIn(b"model.safetensors", done.stderr)
        self.assertGreater(n_refused, len(places) // 2)

    def test_opening_reads_little(self) -> None:
        """A packed file is mapped: its weights come in as they are used."""
        if RUNNER:
            self.skipTest("an emulator's memory is its own")
        model = self.folder / "wide"
        write_wide(model, 64 << 20)
        self.output_of(model, self.out)
        peaks = []
        for path in (model, self.out):
            done = run("moe-run", path, "--ids", "1", "-n", "0", "--json", "--quiet")
            peaks.append(json.loads(done.stdout)["peak_memory_bytes"])
        self.assertLess(peaks[1], peaks[0] + (8 << 20))


def write_wide(model: Path, n_bytes: int) -> None:
    """The fixture with one more tensor, which the model does not use."""
    shutil.copytree(FIXTURES / NAME, model)
    tensors = Tensors(model / "model.safetensors")
    tensors.header.pop("__metadata__", None)
    entries: dict[str, Any] = {
        name: (t["dtype"], t["shape"], tensors.bytes_of(name)) for name, t in tensors.header.items()
    }
    entries["unused"] = ("BF16", [n_bytes // 2], os.urandom(1 << 20) * (n_bytes >> 20))
    write_tensors(model / "model.safetensors", entries)


class Places(PackCase):
    def test_nothing_is_overwritten(self) -> None:
        self.pack()
        before = (self.out / "model.safetensors").stat().st_mtime_ns
        self.assert_refused(1, FIXTURES / NAME, self.out, says="is there already")
        self.assertEqual((self.out / "model.safetensors").stat().st_mtime_ns, before)
        (self.out / "stale.txt").write_text("x")
        self.output_of("--force", FIXTURES / NAME, self.out)
        self.assertNotIn("stale.txt", os.listdir(self.out))
        self.assert_only("packed")
        file = self.folder / "packed" / "x.safetensors"
        self.output_of(FIXTURES / NAME, file)
        self.assert_refused(1, FIXTURES / NAME, file, says="is there already")
        self.output_of("--force", FIXTURES / NAME, file)

    def test_only_what_is_packed_is_replaced(self) -> None:
        model = self.folder / "model"
        shutil.copytree(FIXTURES / NAME, model)
        (self.folder / "full").mkdir()
        (self.folder / "full" / "thesis.txt").write_text("x")
        (self.folder / "x.safetensors").write_text("x")
        for place, says in (
            (model, "is the model itself"),
            (model / "model.safetensors", "is the model itself"),
            (self.folder / "full", "no packed checkpoint"),
            (self.folder / "x.safetensors", "no packed checkpoint"),
            (self.folder / "full" / "thesis.txt", "no packed checkpoint"),
        ):
            self.assert_refused(1, "--force", model, place, says=says)
        self.pack()
        (self.out / "folder").mkdir()
        self.assert_refused(1, "--force", FIXTURES / NAME, self.out, says="no packed checkpoint")
        self.assert_only("model", "full", "x.safetensors", "packed")

    def test_places_that_cannot_be(self) -> None:
        (self.folder / "file").write_text("x")
        for place in ("", self.folder / "none" / "x", self.folder / "file" / "x", "/proc/x", "/dev/full"):
            self.assert_refused(1, FIXTURES / NAME, place)
        self.assert_refused(1, self.folder / "none", self.out)
        self.assert_refused(1, self.folder, self.out, says="config.json")
        self.assert_only("file")

    def test_a_directory_that_takes_nothing(self) -> None:
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        self.folder.chmod(0o500)
        self.assert_refused(1, FIXTURES / NAME, self.out, says="Permission denied")
        self.folder.chmod(0o700)
        self.assert_only()

    def test_a_full_disk(self) -> None:
        """At every size that is too small, the last byte included: one line, and nothing is left."""

        def limited(n: int) -> Callable[[], None]:
            def limit() -> None:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (n, n))

            return limit

        if RUNNER:
            self.skipTest("the limit holds for the emulator too")
        if "TSAN_OPTIONS" in os.environ:
            self.skipTest("the sanitizer maps a file that it writes when it starts")
        self.pack()
        size = (self.out / "model.safetensors").stat().st_size
        shutil.rmtree(self.out)
        for n in (0, 100, 4096, size // 2, size - 1):
            done = subprocess.run(
                command("moe-pack", FIXTURES / NAME, self.out),
                capture_output=True,
                env=environment(),
                preexec_fn=limited(n),
                timeout=TIMEOUT,
            )
            self.assertEqual(
                (done.returncode, done.stdout, done.stderr.count(b"\n")), (1, b"", 1), done.stderr
            )
            self.assert_only()
        done = subprocess.run(
            command("moe-pack", FIXTURES / NAME, self.out),
            preexec_fn=limited(size),
            capture_output=True,
            env=environment(),
            timeout=TIMEOUT,
        )
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_interrupts(self) -> None:
        """Whenever they come, they leave nothing, and what was there stays."""
        model = self.folder / "wide"
        write_wide(model, 512 << 20)
        self.pack()
        before = (self.out / "model.safetensors").read_bytes()
        for i, number in enumerate((signal.SIGINT, signal.SIGTERM) * 3):
            process = subprocess.Popen(
                command("moe-pack", "--force", model, self.out, "--quiet"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment(),
            )
            deadline = time.monotonic() + TIMEOUT
            while not list(self.folder.glob(".moe-pack-*")) and time.monotonic() < deadline:
                time.sleep(0.005)
            time.sleep(0.05 * i)
            sent = time.monotonic()
            process.send_signal(number)
            out, err = process.communicate(timeout=TIMEOUT)
            self.assertLess(time.monotonic() - sent, SLACK)
            self.assertEqual((process.returncode, out, err), (128 + number, b"", b""))
            self.assert_only("wide", "packed")
            self.assertEqual((self.out / "model.safetensors").read_bytes(), before)


class Usage(PackCase):
    def test_wrong_usage(self) -> None:
        for args in (
            [],
            ["a"],
            ["a", "b", "c"],
            ["--verify"],
            ["--verify", "a", "b"],
            ["--compare", "a"],
            ["--verify", "--compare", "a"],
            ["--force", "--verify", "a"],
            ["-t", "0", "a", "b"],
            ["--x"],
        ):
            with self.subTest(args=args):
                self.assert_refused(2, *args)

    def test_other_programs(self) -> None:
        self.program = "moe-run"
        self.assert_refused(2, "--pack", "--huge-pages", "-p", "a", says="contradicts")
        self.assert_refused(2, "--pack", "--tokenize", says="contradicts")
        self.program = "moe-compare"
        self.assert_refused(2, "--pack", "--huge-pages", "a", "b", says="contradicts")
        self.program = "moe-bench"
        self.assert_refused(2, "--huge-pages", "--pack", says="contradicts")

    def test_storyteller(self) -> None:
        """The shipped checkpoint, packed when it is loaded: the same text."""
        text = [
            run("moe-run", "-n", "24", "--quiet", *args).stdout
            for args in ([], ["--pack"], ["--huge-pages"], ["--pack", "-t", "1"])
        ]
        self.assertTrue(text[0])
        self.assertEqual(text, [text[0]] * 4)
        done = run("moe-run", MODEL, "--ids", "1", "-n", "1", "--json", "--quiet", "--pack")
        self.assertEqual(json.loads(done.stdout)["model"]["storage"], "packed BF16")


if __name__ == "__main__":
    unittest.main()
