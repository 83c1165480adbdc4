#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, tests/fuzz/corpus/TARGET/*, from the files of this repository.

    python scripts/make_fuzz_seeds.py MOE_PACK [OUT]

MOE_PACK is the program moe-pack: packed seeds are small models that it packed. OUT is tests/fuzz/corpus if it
is left out. Files of other names, which were found by fuzzing, stay as they are. docs/fuzzing.md says how an
input of each target is read.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests" / "fixtures"
NEXT = b"\xff"  # between the parts of an input: no UTF-8 has it
BITS = {"F64": 64, "F32": 32, "I64": 64, "BF16": 16, "F16": 16, "U8": 8, "F8_E4M3": 8, "BOOL": 8, "F4": 4}

Json = dict[str, Any]
Tensors = dict[str, tuple[str, list[int]]]  # name: dtype, shape
Seeds = Iterator[tuple[str, bytes]]


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


# ---- safetensors ------------------------------------------------------------------------------------------


def header(tensors: Tensors, metadata: Json | None = None) -> tuple[Json, int]:
    """The header of these tensors, one after the other, and the bytes of their data."""
    out: Json = {} if metadata is None else {"__metadata__": metadata}
    end = 0
    for name, (dtype, shape) in tensors.items():
        count = BITS[dtype]
        for n in shape:
            count *= n
        out[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + count // 8]}
        end += count // 8
    return out, end


def file_of(text: bytes, n_data: int, length: int | None = None) -> bytes:
    size = struct.pack("<Q", len(text) if length is None else length)
    return size + text + bytes(i % 251 for i in range(n_data))


def real_tensors(folder: str, n: int) -> Tensors:
    """Names, dtypes and ranks of the first tensors of a fixture, at sizes of at most 2."""
    raw = (FIXTURES / "exact" / folder / "model.safetensors").read_bytes()
    listed: Json = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    listed.pop("__metadata__", None)
    return {
        name: (t["dtype"] if t["dtype"] in BITS else "U8", [min(d, 2) for d in t["shape"]])
        for name, t in list(listed.items())[:n]
    }


def safetensors_seeds() -> Seeds:
    good: dict[str, Tensors] = {
        "every-dtype": {d.lower(): (d, [2]) for d in BITS},
        "scalar": {"a": ("F32", [])},
        "empty-tensors": {"a": ("F32", [0, 3]), "b": ("U8", [2, 0]), "c": ("I64", [1])},
        "rank-8": {"a": ("U8", [1, 2, 1, 1, 2, 1, 1, 1])},
        "unaligned": {"a": ("U8", [3]), "b": ("F32", [2])},
        "mixtral": real_tensors("mixtral-default", 4),
        "deepseek": real_tensors("deepseek_v3-fp8", 4),
        "mxfp4": real_tensors("gpt_oss-mxfp4", 4),
    }
    for name, tensors in good.items():
        described, n_data = header(tensors)
        yield name, file_of(compact(described), n_data)
    two: Tensors = {"a": ("F32", [2]), "b": ("BF16", [3])}
    described, n_data = header(two, {"format": "pt", "x": "ü\n"})
    yield "metadata", file_of(compact(described), n_data)
    yield "padded", file_of(b" " + compact(described) + b" \n ", n_data)
    yield "reversed", file_of(compact(dict(reversed(described.items()))), n_data)
    yield "escaped-name", file_of(compact(described).replace(b'"a"', b'"\\u00e9\\ud83d\\ude00"'), n_data)
    yield "no-tensor", file_of(b"{}", 0)
    yield "null-metadata", file_of(b'{"__metadata__":null}', 0)
    yield "empty", b""
    yield "short", b"\1\0\0"
    yield "length-past-end", file_of(compact(described), n_data, 2**63)
    yield "length-past-limit", file_of(compact(described), n_data, 100000001)
    yield "data-missing", file_of(compact(described), n_data - 1)
    yield "data-too-long", file_of(compact(described), n_data + 1)
    yield "hole", file_of(compact(described).replace(b"[8,14]", b"[9,15]"), n_data + 1)
    yield "overlap", file_of(compact(described).replace(b"[8,14]", b"[7,13]"), n_data - 1)
    yield "duplicate", file_of(compact(described).replace(b'"b"', b'"a"'), n_data)
    yield "nul-name", file_of(compact(described).replace(b'"b"', b'"b\\u0000"'), n_data)
    yield "rank-9", file_of(compact(described).replace(b"[2]", b"[2,1,1,1,1,1,1,1,1]"), n_data)
    yield "overflow", file_of(compact(described).replace(b"[2]", b"[4294967296,4294967296,2]"), n_data)
    yield (
        "half-a-byte",
        file_of(compact(described).replace(b'"F32"', b'"F4"').replace(b"[2]", b"[3]"), n_data),
    )
    yield "metadata-number", file_of(b'{"__metadata__":{"a":1}}', 0)
    yield "deep", file_of(b'{"a":' + b"[" * 65 + b"]" * 65 + b"}", 0)


# ---- index ------------------------------------------------------------------------------------------------


def shard(tensors: Tensors) -> bytes:
    described, n_data = header(tensors)
    assert n_data < 255
    return NEXT + bytes([n_data]) + compact(described)


def index_seeds() -> Seeds:
    one, two = shard({"a": ("F32", [2]), "b": ("U8", [1])}), shard({"c": ("BF16", [2, 2])})
    listed = {"metadata": {"total_size": 17}, "weight_map": {"a": "s0", "b": "s0", "c": "s1"}}
    yield "two-shards", compact(listed) + one + two
    yield "unlisted-tensor", compact({"weight_map": {"a": "s0", "c": "s1"}}) + one + two
    yield "one-shard", compact({"weight_map": {"b": "s0", "a": "s0"}}) + one
    yield "wrong-shard", compact({"weight_map": {"a": "s1", "c": "s0"}}) + one + two
    yield "no-such-tensor", compact({"weight_map": {"z": "s0"}}) + one
    yield "no-such-file", compact({"weight_map": {"a": "s9"}}) + one
    yield "tensor-twice", compact({"weight_map": {"a": "s0", "b": "s1"}}) + one + one
    yield "itself", compact({"weight_map": {"a": "model.safetensors.index.json"}}) + one
    yield "empty-shards", compact({"weight_map": {"a": "s2", "b": "s3"}})
    for name, path in {
        "above": "../s0",
        "absolute": "/etc/passwd",
        "dot": ".",
        "dots": "..",
        "empty": "",
    }.items():
        yield f"path-{name}", compact({"weight_map": {"a": path}}) + one
    yield "no-map", compact({"metadata": {}}) + one
    yield "empty-map", compact({"weight_map": {}}) + one
    yield (
        "four-shards",
        compact({"weight_map": {f"t{i}": f"s{i}" for i in range(4)}})
        + b"".join(shard({f"t{i}": ("F16", [i])}) for i in range(4)),
    )


# ---- config -----------------------------------------------------------------------------------------------

CONFIGS = """deepseek_v2-yarn-mscale deepseek_v2-greedy deepseek_v3-fp8 deepseek_v3-mlx6-g32 deepseek_v3-yarn
    dots1-layer-types ernie4_5_moe-intervals glm4_moe-partial-absent gpt_oss-mxfp4 gpt_oss-mlx-mxfp4-q8
    gpt_oss-rope-null mixtral-window olmoe-clip phimoe-longrope-grow qwen2_moe-layer-types
    qwen3_moe-mlx-mixed qwen3_moe-rope-dynamic qwen3_moe-rope-linear qwen3_moe-rope-llama3
    qwen3_moe-rope-longrope qwen3_moe-rope-yarn qwen3_moe-sparse-step""".split()


def config_seeds() -> Seeds:
    for path in sorted((FIXTURES / "structure").glob("*.json")):
        yield f"{path.stem}-full", compact(json.loads(path.read_text())) + NEXT + NEXT + bytes(16)
    generation = compact({"eos_token_id": [2, 3], "bos_token_id": 1, "temperature": 0.6})
    for i, name in enumerate(CONFIGS):
        config = compact(json.loads((FIXTURES / "exact" / name / "config.json").read_text()))
        yield name, config + NEXT + generation + NEXT + bytes([i] * 16)
    yield "empty", b""
    yield "refused-family", compact({"model_type": "llama"})
    small = json.loads((FIXTURES / "exact" / "mixtral-default" / "config.json").read_text())
    yield "huge-context", compact(small) + NEXT + NEXT + bytes([1, 1, 1, 1, 1, 1, 1, 1] + [255] * 8)
    yield "many-eos", compact(small) + NEXT + compact({"eos_token_id": list(range(17))})


# ---- tokenizers -------------------------------------------------------------------------------------------

N_MERGES = 24
SAMPLE = "The 12 foxes don't  é\u0301 你好 ▁x\n\t<s> 😀 fi ﬁ"


def smaller(tokenizer: Json) -> Json:
    """The tokenizer with its first merges alone, and the tokens that they and its flags need."""
    out: Json = json.loads(json.dumps(tokenizer))
    model = out["model"]
    model["merges"] = model["merges"][:N_MERGES]
    needed = {"a", "e", "t", "1", " ", "▁", "Ġ", "<0x0A>", "<0xC3>", "<0xA9>"}
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        needed |= {left, right, left + right}
    added = out["added_tokens"][:6]
    needed |= {t["content"] for t in added} | {model.get("unk_token")}
    old = {i: token for token, i in model["vocab"].items()}
    kept = [old[i] for i in sorted(old) if old[i] in needed]
    model["vocab"] = {token: i for i, token in enumerate(kept)}
    out["added_tokens"] = [{**t, "id": model["vocab"].get(t["content"], len(kept))} for t in added]
    return out


def tokenizer_seeds() -> Seeds:
    for folder in sorted((FIXTURES / "tokenizers").iterdir()):
        document = json.loads((folder / "tokenizer.json").read_text())
        yield folder.name, compact(smaller(document)) + NEXT + SAMPLE.encode()
    plain: Json = {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
    }

    def with_parts(**parts: Any) -> bytes:
        return compact(plain | parts) + NEXT + SAMPLE.encode()

    yield "plain", with_parts()
    yield (
        "normalizers",
        with_parts(
            normalizer={
                "type": "Sequence",
                "normalizers": [
                    {"type": "NFKD"},
                    {"type": "Prepend", "prepend": "▁"},
                    {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": "a"},
                    {"type": "NFC"},
                ],
            }
        ),
    )
    yield (
        "splits",
        with_parts(
            pre_tokenizer={
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Digits", "individual_digits": True},
                    {
                        "type": "Split",
                        "pattern": {"Regex": "[^\\p{L}&&[a-z]]|(?i:the)+?"},
                        "behavior": "Contiguous",
                        "invert": True,
                    },
                    {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
                ],
            }
        ),
    )
    yield (
        "decoders",
        with_parts(
            decoder={
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                    {"type": "Strip", "content": " ", "start": 1, "stop": 1},
                ],
            }
        ),
    )
    flags = {"single_word": True, "lstrip": True, "rstrip": True, "normalized": True, "special": False}
    yield (
        "added",
        with_parts(
            added_tokens=[{"id": 2, "content": "x", **flags}, {"id": 3, "content": "<s>", "special": True}]
        ),
    )
    yield (
        "truncation",
        with_parts(
            truncation={"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
        ),
    )


PROMPT_FILES = 17  # of fuzz_prompt.c


def prompt_seeds() -> Seeds:
    texts: list[str] = []
    for name in ("qwen2", "mixtral", "behaviors"):
        vectors = json.loads((FIXTURES / "tokenizers" / name / "vectors.json").read_text())
        texts += [t["text"] for t in vectors["encode"]]
    chosen = random.Random(1).sample(
        sorted({t for t in texts if 0 < len(t.encode()) < 300}), 2 * PROMPT_FILES
    )
    for i, text in enumerate(chosen):
        yield f"text-{i:02}", bytes([i % PROMPT_FILES, i % 2]) + text.encode()
    for i in range(PROMPT_FILES):
        ids = random.Random(i).choices(range(1100), k=24)
        yield f"ids-{i:02}", bytes([i, 4 + i % 2 * 2]) + struct.pack(f"<{len(ids)}H", *ids)
    yield "no-text", bytes(2)
    yield "not-utf-8", bytes([6, 0]) + b"caf\xc3 \xed\xa0\x80 \xf4\x90\x80\x80"


# ---- the sampler ------------------------------------------------------------------------------------------


def sampler_seeds() -> Seeds:
    logits = [0.5, -1.0, 3.25, 3.25, -0.0, 2.0]

    def request(
        values: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 1.0),
        top_k: int = 0,
        history: bytes = b"",
        logits: list[float] = logits,
    ) -> bytes:
        fixed = struct.pack("<4fQQHBB", *values, 7, 3, top_k, len(history), 0)
        return fixed + history + struct.pack(f"<{len(logits)}f", *logits)

    nan, inf = float("nan"), float("inf")
    yield "greedy", request((0.0, 1.0, 0.0, 1.0))
    yield "all", request()
    yield "top-k", request(top_k=2)
    yield "top-p", request((0.7, 0.5, 0.0, 1.0))
    yield "min-p", request((1.5, 1.0, 0.1, 1.0))
    yield "all-filters", request((0.8, 0.95, 0.05, 1.1), 3, b"\2\2\0")
    yield "history-outside", request((1.0, 1.0, 0.0, 1.3), 0, b"\x60")
    yield "hot", request((2e38, 0.9, 0.0, 1.0))
    yield "cold", request((1e-40, 0.9, 0.0, 1.0))
    yield "penalty-overflows", request((1.0, 1.0, 0.0, 1e-30), 0, b"\2", [1e20, 0.0, 3e38])
    yield "nan", request(logits=[1.0, nan, 2.0])
    yield "infinite", request(logits=[1.0, inf, 2.0])
    yield "masked", request(logits=[-inf, 1.0, -inf, 1e-42])
    yield "all-masked", request(logits=[-inf, -inf])
    yield "one-token", request(logits=[-3.0])
    yield "no-token", request(logits=[])
    yield "top-p-0", request((1.0, 0.0, 0.0, 1.0))
    yield "nan-parameters", request((nan, nan, nan, nan))
    yield "many", request((0.9, 0.8, 0.0, 1.0), 40, logits=[(i * 37 % 64) / 8 for i in range(64)])


# ---- packed checkpoints -----------------------------------------------------------------------------------


def tiny_model(config: Json, wild: bool) -> bytes:
    """A checkpoint of the shapes that the configuration asks for: bfloat16, but for gate and up, which are
    half precision so that wide experts cost little. With `wild` weights some blocks are escapes."""
    hidden, width, heads = (
        config["hidden_size"],
        config["moe_intermediate_size"],
        config["num_attention_heads"],
    )
    kv, n, head = config["num_key_value_heads"], config["num_experts"], config["head_dim"]
    layer = "model.layers.0."
    shapes = {
        "model.embed_tokens.weight": [config["vocab_size"], hidden],
        layer + "input_layernorm.weight": [hidden],
        layer + "self_attn.q_proj.weight": [heads * head, hidden],
        layer + "self_attn.k_proj.weight": [kv * head, hidden],
        layer + "self_attn.v_proj.weight": [kv * head, hidden],
        layer + "self_attn.o_proj.weight": [hidden, heads * head],
        layer + "self_attn.q_norm.weight": [head],
        layer + "self_attn.k_norm.weight": [head],
        layer + "post_attention_layernorm.weight": [hidden],
        layer + "mlp.gate.weight": [n, hidden],
        layer + "mlp.experts.gate_up_proj": [n, 2 * width, hidden],
        layer + "mlp.experts.down_proj": [n, hidden, width],
        "model.norm.weight": [hidden],
    }
    rng = random.Random(7)
    tensors, data = {}, b""
    for name, shape in shapes.items():
        count = 1
        for d in shape:
            count *= d
        values = [rng.gauss(0, 0.02) for _ in range(count)]
        if "gate_up" in name:
            tensors[name] = ("F16", shape)
            data += struct.pack(f"<{count}e", *values)
        else:
            tensors[name] = ("BF16", shape)
            bits = [struct.unpack("<I", struct.pack("<f", v))[0] >> 16 for v in values]
            if wild and len(shape) > 1:
                bits = [rng.randrange(0x10000) & 0xBFFF if i % 5 == 0 else b for i, b in enumerate(bits)]
            data += struct.pack(f"<{count}H", *bits)
    text = compact(header(tensors)[0])
    return struct.pack("<Q", len(text)) + text + data


def packed_seeds(moe_pack: str) -> Seeds:
    for name, wild in (("narrow", False), ("narrow", True), ("wide", True)):
        config = json.loads((ROOT / "tests" / "fuzz" / f"packed_{name}.json").read_text())
        plain = tiny_model(config, wild)
        with tempfile.TemporaryDirectory() as folder:
            source, packed = Path(folder, "source"), Path(folder, "packed")
            source.mkdir()
            (source / "config.json").write_text(json.dumps(config))
            (source / "model.safetensors").write_bytes(plain)
            subprocess.run([moe_pack, source, packed], check=True, stdout=subprocess.DEVNULL)
            data = (packed / "model.safetensors").read_bytes()
        kind = bytes([int(name == "wide")])
        yield f"{name}-{'escapes' if wild else 'tame'}", kind + data
        if not wild:
            yield f"{name}-not-packed", kind + plain
            yield f"{name}-cut", kind + data[: len(data) // 2]


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("moe_pack")
    ap.add_argument("out", type=Path, nargs="?", default=ROOT / "tests" / "fuzz" / "corpus")
    args = ap.parse_args()
    targets = {
        "safetensors": safetensors_seeds(),
        "index": index_seeds(),
        "config": config_seeds(),
        "tokenizer": tokenizer_seeds(),
        "prompt": prompt_seeds(),
        "sampler": sampler_seeds(),
        "packed": packed_seeds(args.moe_pack),
    }
    for target, seeds in targets.items():
        folder = args.out / target
        folder.mkdir(parents=True, exist_ok=True)
        n = n_bytes = 0
        for name, data in seeds:
            (folder / name).write_bytes(data)
            n, n_bytes = n + 1, n_bytes + len(data)
        print(f"{target}: {n} seeds, {n_bytes} bytes")


if __name__ == "__main__":
    main()
