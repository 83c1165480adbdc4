"""Checkpoints with one fault each, of three families.

What is wrong is refused in one line that names the file and the key or tensor, soon and in little memory;
what only looks odd gives the ids of the checkpoint that it was made from.
"""

from __future__ import annotations

import copy
import functools
import json
import os
import random
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from programs import BIN, FIXTURES, RUNNER, TIMEOUT, command, environment

FAMILIES = ("qwen3_moe-default", "olmoe-default", "mixtral-default")
REQUEST = ("--ids", "1,2,3", "-n", "6", "--print-ids", "--quiet", "--ignore-eos", "-t", "1")
IS_PLAIN = not RUNNER and BIN.name in ("release", "dev", "clang")  # neither emulated nor under a sanitizer
LIMIT_S = 5.0
LIMIT_BYTES = 1 << 30

Header = dict[str, Any]


class Checkpoint:
    """A fixture in a directory of its own, to be changed."""

    def __init__(self, name: str) -> None:
        self.source = FIXTURES / name
        self.path = Path(tempfile.mkdtemp()) / "model"
        shutil.copytree(self.source, self.path)
        raw = (self.path / "model.safetensors").read_bytes()
        (n,) = struct.unpack("<Q", raw[:8])
        self.header: Header = json.loads(raw[8 : 8 + n])
        self.header.pop("__metadata__", None)
        self.data = raw[8 + n :]
        self.config: dict[str, Any] = json.loads((self.path / "config.json").read_text())
        self.names = list(self.header)

    def remove(self) -> None:
        shutil.rmtree(self.path.parent)

    def write(
        self, header: Header | bytes, data: bytes | None = None, *, n: int | None = None, name: str = ""
    ) -> None:
        head = header if isinstance(header, bytes) else json.dumps(header).encode()
        length = struct.pack("<Q", len(head) if n is None else n)
        body = self.data if data is None else data
        (self.path / (name or "model.safetensors")).write_bytes(length + head + body)

    def arrange(self, names: list[str], gap: bytes = b"") -> tuple[Header, bytes]:
        """The tensors in this order, after `gap`."""
        header: Header = (
            {"gap": {"dtype": "U8", "shape": [len(gap)], "data_offsets": [0, len(gap)]}} if gap else {}
        )
        data = gap
        for name in names:
            begin, end = self.header[name]["data_offsets"]
            place = [len(data), len(data) + end - begin]
            header[name] = {**self.header[name], "data_offsets": place}
            data += self.data[begin:end]
        return header, data

    def changed(self, name: str, **fields: Any) -> Header:
        """The header with these fields of a tensor; None takes one away."""
        header = copy.deepcopy(self.header)
        header[name].update(fields)
        header[name] = {key: value for key, value in header[name].items() if value is not None}
        return header

    def write_config(self, key: str, value: str | None) -> None:
        """config.json with one member as this text, or without it."""
        members = {name: json.dumps(old) for name, old in self.config.items() if name != key}
        if value is not None:
            members[key] = value
        text = ", ".join(f"{json.dumps(name)}: {old}" for name, old in members.items())
        (self.path / "config.json").write_text("{" + text + "}")

    def write_shards(self, n: int) -> dict[str, str]:
        """The tensors dealt out to n files, and the weight_map of that."""
        (self.path / "model.safetensors").unlink(missing_ok=True)
        files = [f"model-{i + 1:05d}-of-{n:05d}.safetensors" for i in range(n)]
        for i, file in enumerate(files):
            self.write(*self.arrange(self.names[i::n]), name=file)
        return {name: files[i % n] for i, name in enumerate(self.names)}

    def write_index(self, text: str) -> None:
        (self.path / "model.safetensors.index.json").write_text(text)


def each_family(test: Callable[[Any, Checkpoint], None]) -> Callable[[Any], None]:
    """Runs a test once with a checkpoint of each family."""

    @functools.wraps(test)
    def run(self: Hostile) -> None:
        for name in FAMILIES:
            checkpoint = Checkpoint(name)
            self.addCleanup(checkpoint.remove)
            with self.subTest(family=name):
                test(self, checkpoint)

    return run


class Hostile(unittest.TestCase):
    def run_on(self, path: Path) -> tuple[int, str, str]:
        def limit() -> None:
            if IS_PLAIN:
                resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))

        start = time.monotonic()
        done = subprocess.run(
            command("moe-run", path, *REQUEST),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment(),
            timeout=TIMEOUT,
            preexec_fn=limit,
        )
        if IS_PLAIN:
            self.assertLess(time.monotonic() - start, LIMIT_S)
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def expected(self, checkpoint: Checkpoint) -> str:
        status, out, err = self.run_on(checkpoint.source)
        self.assertEqual((status, err), (0, ""))
        return out

    def assert_same(self, checkpoint: Checkpoint, out: str, what: object) -> None:
        self.assertEqual(self.run_on(checkpoint.path), (0, out, ""), what)

    def assert_refused(
        self, checkpoint: Checkpoint, what: object, *says: str, one_of: Sequence[str] = ("",)
    ) -> None:
        status, out, err = self.run_on(checkpoint.path)
        message = f"{what}: {err!r}"
        self.assertEqual((status, out), (1, ""), message)
        self.assertEqual(err.count("\n"), 1, message)
        self.assertTrue(err.startswith("moe-run: ") and err.endswith("\n"), message)
        for text in (str(checkpoint.path), *says):
            self.assertIn(text, err, what)
        self.assertTrue(any(text in err for text in one_of), message)


class Headers(Hostile):
    @each_family
    def test_what_is_legal_changes_nothing(self, c: Checkpoint) -> None:
        out, end = self.expected(c), len(c.data)
        empty = {"dtype": "F32", "shape": [3, 0], "data_offsets": [end, end]}
        scalar = {"dtype": "F64", "shape": [], "data_offsets": [end, end + 8]}
        cases: dict[str, tuple[Header | bytes, bytes]] = {
            f"padding {n}": (json.dumps(c.header).encode() + b" " * n, c.data) for n in (1, 7, 64)
        }
        cases |= {
            "metadata": ({"__metadata__": {"format": "pt"}, **c.header}, c.data),
            "no metadata": (c.header, c.data),
            "names reversed": (dict(reversed(c.header.items())), c.data),
            "a tensor without elements": ({**c.header, "more": empty}, c.data),
            "a tensor of rank 0": ({**c.header, "more": scalar}, c.data + bytes(8)),
            "an unknown field": (c.changed(c.names[0], note="x"), c.data),
            "escapes": (json.dumps(c.header).replace("model", "\\u006dodel").encode(), c.data),
        }
        for seed in range(3):
            names = random.Random(seed).sample(c.names, len(c.names))
            cases[f"data shuffled, {seed}"] = c.arrange(names)
        for n in (1, 2, 3, 5):
            cases[f"unaligned by {n}"] = c.arrange(c.names, b"x" * n)
        for what, (header, data) in cases.items():
            c.write(header, data)
            self.assert_same(c, out, what)

    @each_family
    def test_fields(self, c: Checkpoint) -> None:
        name = c.names[len(c.names) // 2]
        shape, (begin, end) = c.header[name]["shape"], c.header[name]["data_offsets"]
        faults: dict[str, list[Any]] = {
            "dtype": [None, 5, "F99", "bf16", "I16", "BOOL", ""],
            "shape": [None, "x", 3, [-1, *shape], [0.5], [2**62, 4], [2**64], [*shape, 2], ["2"]],
            "data_offsets": [None, [begin], [begin, end, end], [end, begin], [-1, end], [begin, end + 2],
                             [begin + 0.5, end], [begin - 2, end - 2], [2**64 - 1, 2**64], "x", [begin, "x"]],
        }  # fmt: skip
        for field, values in faults.items():
            for value in values:
                c.write(c.changed(name, **{field: value}))
                self.assert_refused(c, (field, value), "model.safetensors", one_of=c.names)

    @each_family
    def test_sizes(self, c: Checkpoint) -> None:
        whole = c.source.joinpath("model.safetensors").read_bytes()
        for n in (0, 1, 7, 8, 9, 100, len(whole) - len(c.data), len(whole) - 1):
            (c.path / "model.safetensors").write_bytes(whole[:n])
            self.assert_refused(c, f"{n} bytes", "model.safetensors")
        for n in (0, 1, 5, 100_000_001, 2**31, 2**63, 2**64 - 1):
            c.write(c.header, n=n)
            self.assert_refused(c, f"a header of {n}", "model.safetensors")
        c.write(c.header, c.data + b"x")
        self.assert_refused(c, "a byte too many", "model.safetensors")

    @each_family
    def test_text(self, c: Checkpoint) -> None:
        text, name = json.dumps(c.header), c.names[0]
        entry = f"{json.dumps(name)}: {json.dumps(c.header[name])}"
        faults: dict[str, bytes] = {
            "no UTF-8": text.replace("dtype", "d\xfftype", 1).encode("latin1"),
            "something after it": text.encode() + b"x",
            "an array": b"[]",
            "a comma at the end": text[:-1].encode() + b",}",
            "a name twice": (text[:-1] + f", {entry}}}").encode(),
            "a field twice": text.replace('"dtype"', '"dtype": "F32", "dtype"', 1).encode(),
            "NUL in a name": text.replace(name, name + "\\u0000", 1).encode(),
            "another case": text.replace("dtype", "Dtype", 1).encode(),
            "nested deeply": b'{"a":' * 200_000,
            "metadata of numbers": b'{"__metadata__": {"a": 1}, ' + text[1:].encode(),
            "metadata as a list": b'{"__metadata__": ["a"], ' + text[1:].encode(),
            "a byte order mark": b"\xef\xbb\xbf" + text.encode(),
            "NaN": text.replace("[0,", "[NaN,", 1).encode(),
            "a number of two zeros": text.replace("[0,", "[00,", 1).encode(),
            "half a surrogate": text.replace(name, name + "\\ud800", 1).encode(),
            "a comment": text.encode() + b"/**/",
            "nothing": b"",
            "an unfinished string": b'{"a',
        }
        for what, header in faults.items():
            c.write(header)
            self.assert_refused(c, what, "model.safetensors")

    @each_family
    def test_missing_tensors(self, c: Checkpoint) -> None:
        for name in c.names:
            c.write(*c.arrange([other for other in c.names if other != name]))
            self.assert_refused(c, name, "model.safetensors", name)

    @each_family
    def test_shapes_are_those_of_the_config(self, c: Checkpoint) -> None:
        for name in c.names:
            shape = c.header[name]["shape"]
            wrong = [shape[0] * 2, *shape[1:]] if shape[0] == shape[-1] else list(reversed(shape))
            header, data = c.arrange([other for other in c.names if other != name])
            n = 1
            for size in wrong:
                n *= size
            header[name] = {
                "dtype": "F32",
                "shape": wrong,
                "data_offsets": [len(data), len(data) + 4 * n],
            }
            c.write(header, data + bytes(4 * n))
            self.assert_refused(c, (name, wrong), "model.safetensors", name)


class Indices(Hostile):
    @each_family
    def test_shards(self, c: Checkpoint) -> None:
        out = self.expected(c)
        for n in (1, 2, 5):
            weight_map = c.write_shards(n)
            for index in (
                {"metadata": {"total_size": 1}, "weight_map": weight_map},
                {"weight_map": dict(sorted(weight_map.items(), reverse=True))},
            ):
                c.write_index(json.dumps(index))
                self.assert_same(c, out, (n, index))

    @each_family
    def test_faults(self, c: Checkpoint) -> None:
        weight_map = c.write_shards(3)
        name = c.names[4]
        for file in (
            "../model/a",
            "/etc/passwd",
            "a/b",
            "..",
            ".",
            "",
            "x\0y",
            5,
            None,
            ["a"],
            "gone",
            "./a",
        ):
            c.write_index(json.dumps({"weight_map": {**weight_map, name: file}}))
            self.assert_refused(c, file)
        text = json.dumps({"weight_map": weight_map})
        for index in ("", "{", "[]", "{}", text + "x", '{"weight_map": []}', '{"weight_map": {}}', text[:-1],
                      text[:-2] + f', "{name}": "x"}}}}'):  # fmt: skip
            c.write_index(index)
            self.assert_refused(c, index[:20], "model.safetensors.index.json")
        c.write_index(text)
        shard = c.path / weight_map[name]
        for what, replace in SPECIAL.items():
            kept = shard.read_bytes() if shard.exists() else b""
            shard.unlink(missing_ok=True)
            replace(shard)
            self.assert_refused(c, what, shard.name)
            clear(shard)
            shard.write_bytes(kept or b"x")

    @each_family
    def test_a_tensor_in_two_files(self, c: Checkpoint) -> None:
        weight_map = c.write_shards(2)
        c.write(*c.arrange([*c.names[1::2], c.names[0]]), name=weight_map[c.names[1]])
        c.write_index(json.dumps({"weight_map": weight_map}))
        self.assert_refused(c, "twice", c.names[0])


def make_socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # the path of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(path.name)
    finally:
        os.chdir(here)


def make_sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 200 << 30)


def clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


SPECIAL: Mapping[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a directory": lambda path: path.mkdir(),
    "a socket": make_socket,
    "a device without an end": lambda path: path.symlink_to("/dev/zero"),
    "a device that is full": lambda path: path.symlink_to("/dev/full"),
    "a link to nothing": lambda path: path.symlink_to("/nonexistent"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "empty": lambda path: path.touch(),
    "200 GiB of nothing": make_sparse,
}


class Files(Hostile):
    @each_family
    def test_special_files(self, c: Checkpoint) -> None:
        for name in ("model.safetensors", "config.json", "generation_config.json"):
            kept = (c.path / name).read_bytes()
            for what, replace in SPECIAL.items():
                if name == "generation_config.json" and what in ("a link to nothing", "a link to itself"):
                    continue  # as if it were absent, which it may be
                clear(c.path / name)
                replace(c.path / name)
                self.assert_refused(c, (name, what), name)
            clear(c.path / name)
            (c.path / name).write_bytes(kept)

    @each_family
    def test_absent(self, c: Checkpoint) -> None:
        out = self.expected(c)
        (c.path / "generation_config.json").unlink()
        self.assert_same(c, out, "without generation_config.json")
        (c.path / "config.json").rename(c.path / "kept")
        self.assert_refused(c, "without config.json", "config.json")
        (c.path / "kept").rename(c.path / "config.json")
        (c.path / "model.safetensors").unlink()
        self.assert_refused(c, "without weights", "model.safetensors")

    @unittest.skipIf(os.geteuid() == 0, "root may read everything")
    @each_family
    def test_unreadable(self, c: Checkpoint) -> None:
        for name in ("model.safetensors", "config.json"):
            (c.path / name).chmod(0)
            self.assert_refused(c, name, name, "Permission denied")
            (c.path / name).chmod(0o600)

    @each_family
    def test_links_of_a_cache(self, c: Checkpoint) -> None:
        out = self.expected(c)
        blobs = c.path.parent / "blobs"
        blobs.mkdir()
        for i, file in enumerate(sorted(c.path.iterdir())):
            file.rename(blobs / str(i))
            file.symlink_to(Path("..") / "blobs" / str(i))
        self.assert_same(c, out, "links")


class Configs(Hostile):
    # keys that no number of this engine depends on, or that may be absent or anything by their meaning
    LOOSE = frozenset(
        "architectures attention_dropout initializer_range output_router_logits router_aux_loss_coef "
        "torch_dtype dtype transformers_version use_cache model_type rope_scaling router_jitter_noise "
        "mlp_only_layers".split()
    )
    # what every number is tried as, and never is
    JSON = ("-1", "0.5", "1e30", "18446744073709551616", '"1"', "true", "[]", "{}")
    NO_JSON = ("NaN", "Infinity", "1e400", "01", "+1", "1.", ".5", "0x1", "1_0", "nul")
    MEANT = frozenset((  # values of JSON that are a number of that key, and change what is computed
        *((key, value) for key in ("rms_norm_eps", "rope_theta", "clip_qkv") for value in ("0.5", "1e30")),
        ("rope_theta", "18446744073709551616"), ("rms_norm_eps", "18446744073709551616"),
        ("clip_qkv", "18446744073709551616"), ("eos_token_id", "[]"),
        *((key, "-1") for key in ("sliding_window", "max_window_layers", "pad_token_id")),
    ))  # fmt: skip

    def numbers(self, c: Checkpoint) -> Iterator[str]:
        for key, value in c.config.items():
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if key not in self.LOOSE and is_number:
                yield key

    @each_family
    def test_numbers(self, c: Checkpoint) -> None:
        for key in self.numbers(c):
            for value in (*self.JSON, *self.NO_JSON):
                if (key, value) in self.MEANT:
                    continue
                c.write_config(key, value)
                self.assert_refused(c, (key, value), "config.json", *([key] if value in self.JSON else []))

    @each_family
    def test_zero(self, c: Checkpoint) -> None:
        for key in self.numbers(c):
            if key.endswith("_token_id") or key in ("max_window_layers", "sliding_window"):
                continue
            c.write_config(key, "0")
            self.assert_refused(c, key, "config.json", key)

    @each_family
    def test_flags(self, c: Checkpoint) -> None:
        for key, value in c.config.items():
            if not isinstance(value, bool) or key in self.LOOSE:
                continue
            for fault in ("0", "1", '"false"', "[]", "{}", "tru"):
                c.write_config(key, fault)
                self.assert_refused(c, (key, fault), "config.json")

    @each_family
    def test_what_has_no_default(self, c: Checkpoint) -> None:
        for key in (
            "hidden_size",
            "vocab_size",
            "num_hidden_layers",
            "num_attention_heads",
            "model_type",
        ):
            for value in (None, "null"):
                c.write_config(key, value)
                self.assert_refused(c, (key, value), "config.json", key)

    @each_family
    def test_numbers_that_contradict(self, c: Checkpoint) -> None:
        experts = "num_local_experts" if "num_local_experts" in c.config else "num_experts"
        for key, value in (
            ("num_experts_per_tok", str(c.config[experts] + 1)),
            ("num_key_value_heads", "3"),
            ("num_attention_heads", "5"),
        ):
            c.write_config(key, value)
            self.assert_refused(c, (key, value), "config.json", key)
        for key in ("hidden_size", "vocab_size", experts, "num_hidden_layers"):
            c.write_config(key, str(c.config[key] * 2))
            self.assert_refused(c, key, "tensor ")  # the one that does not fit it

    @each_family
    def test_what_would_change_the_arithmetic(self, c: Checkpoint) -> None:
        for key, value in (
            ("hidden_act", '"gelu"'),
            ("hidden_act", "null"),
            ("model_type", '"qwen9_moe"'),
            ("model_type", '"MIXTRAL"'),
            ("rope_scaling", '{"rope_type": "mystery", "factor": 2}'),
            ("rope_scaling", '{"rope_type": "yarn", "factor": -2}'),
            ("rope_scaling", '{"rope_type": "linear"}'),
            ("rope_scaling", "[]"),
            ("quantization_config", '{"quant_method": "gptq", "bits": 4}'),
            ("quantization_config", '{"quant_method": "awq", "bits": 4}'),
        ):
            c.write_config(key, value)
            self.assert_refused(c, (key, value), "config.json", key)

    @each_family
    def test_text(self, c: Checkpoint) -> None:
        text = json.dumps(c.config)
        for fault in ("", "{", "[]", '"x"', "1", "null", text + "x", text + "\0", "\ufeff" + text,
                      "[" * 10**6, '{"a":' * 10**5, "{'a': 1}", text[:-1] + ",}",
                      text[:-1] + ', "hidden_size": 32}',
                      text.replace("hidden_size", "hidden_size\\u0000", 1), "//x\n" + text, text[:-1],
                      text.replace("{", "{\v", 1), text + " " * (20 << 20)):  # fmt: skip
            (c.path / "config.json").write_text(fault)
            self.assert_refused(c, fault[:30], "config.json")
        (c.path / "config.json").write_bytes(text.replace("{", '{"\xff": 1,', 1).encode("latin1"))
        self.assert_refused(c, "no UTF-8", "config.json")

    @each_family
    def test_what_only_looks_odd(self, c: Checkpoint) -> None:
        out = self.expected(c)
        size = c.config["hidden_size"]
        for key, value in (
            ("hidden_size", f"{size}"),
            ("Hidden_Size", "3"),  # keys are exact
            ("an_unknown_key", '{"a": [1, 2, null]}'),
            ("architectures", "null"),
            ("max_position_embeddings", "2000000000"),  # memory is sized by the context alone
            ("eos_token_id", "[1, 2]"),
            ("hidden_act", '"swish"'),
        ):
            c.write_config(key, value)
            self.assert_same(c, out, (key, value))
        for space in (" ", "\n\t\r"):
            text = json.dumps(c.config, indent=1).replace(" ", space)
            (c.path / "config.json").write_text(text)
            self.assert_same(c, out, repr(space))

    @each_family
    def test_a_head_that_is_the_embedding(self, c: Checkpoint) -> None:
        """As transformers: of two matrices both count, whatever the config says; of one it is both."""
        both = self.expected(c)
        c.write_config("tie_word_embeddings", "true")
        self.assert_same(c, both, "two that differ")
        embedding, head = "model.embed_tokens.weight", "lm_head.weight"
        begin, end = c.header[embedding]["data_offsets"]
        header, data = c.arrange([name for name in c.names if name != head])
        place = [len(data), len(data) + end - begin]
        c.write({**header, head: {**c.header[embedding], "data_offsets": place}}, data + c.data[begin:end])
        tied = self.run_on(c.path)[1]
        self.assertNotEqual(tied, both)
        c.write(header, data)
        self.assert_same(c, tied, "the embedding alone")
        c.header[head], c.header[embedding] = c.header[embedding], c.header[head]
        c.write(*c.arrange([name for name in c.names if name != embedding]))
        self.assert_same(c, tied, "the head alone")
        c.write(*c.arrange([name for name in c.names if name not in (embedding, head)]))
        self.assert_refused(c, "neither", embedding)
        c.write_config("tie_word_embeddings", "false")
        c.write(header, data)
        self.assert_refused(c, "no head", head)

    @each_family
    def test_generation_config(self, c: Checkpoint) -> None:
        out = self.expected(c)
        file = c.path / "generation_config.json"
        for value in ("-1", "1.5", '"x"', "true", '[1, "a"]', "{}", "4294967296"):
            file.write_text(f'{{"eos_token_id": {value}}}')
            self.assert_refused(c, value, "generation_config.json", "eos_token_id")
        for text in ("", "{", "[]x"):
            file.write_text(text)
            self.assert_refused(c, text, "generation_config.json")
        for text in ("{}", '{"eos_token_id": null}', '{"eos_token_id": [1, 2]}', '{"temperature": "x"}'):
            file.write_text(text)
            self.assert_same(c, out, text)


if __name__ == "__main__":
    unittest.main()
