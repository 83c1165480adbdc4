#!/usr/bin/env python3
"""Compares tokenizers put together at random with PyPI's `tokenizers`.

    fuzz_components.py DRIVER FIXTURES [-n TOKENIZERS] [--seed N]

Every tokenizer has the model of a fixture and random normalizers, pre-tokenizers, decoders, templates and
added tokens, in combinations that no family has. One may be refused; one that is accepted must encode and
decode as the reference does, unless the reference panics. Exits with 1 if one does not; with 77 if
`tokenizers` is not installed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: no Python package tokenizers")
    sys.exit(77)

from fuzz_tokenizer import TextMaker

Json = dict[str, Any]

MODELS = ("bare", "mixtral", "qwen2", "behaviors", "ernie")
PATTERNS = [
    r"\s+",
    r"\w+",
    r"[a-z]+",
    r"\p{L}+|\p{N}",
    r"[^\s]+",
    r"e|\u0301",
    r"▁?[^▁]+",
    r".{1,3}",
    r"\p{M}",
]
EMPTY_PATTERNS = [r"(?=a)", r"\b", r"\s*$", r"^.", r"(?<=e)", r"(?i:the|s)", ""]
STRINGS = ["a", "e", "▁", " ", "  ", "th", "x", "é", "<", "_", "\n", "ab", "e\u0301", "ﬁ"]
ADDED = [
    "<s>",
    "</s>",
    "<unk>",
    "a",
    "the",
    "  ",
    "\n",
    "<x>",
    "é",
    "e\u0301",
    "▁",
    "ﬁ",
    "<|im|>",
    "x y",
    "word",
    "1",
]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


class Maker:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def coin(self) -> bool:
        return self.rng.random() < 0.5

    def pattern(self, regexes: list[str]) -> Json:
        return {"String": self.rng.choice(STRINGS)} if self.coin() else {"Regex": self.rng.choice(regexes)}

    def replace(self, regexes: list[str]) -> Json:
        content = self.rng.choice(["", "▁", " ", "zz", "é"])
        return {"type": "Replace", "pattern": self.pattern(regexes), "content": content}

    def normalizer(self, depth: int = 0) -> Json:
        kind = self.rng.randrange(9)
        if kind < 4:
            return {"type": self.rng.choice(["NFC", "NFD", "NFKC", "NFKD"])}
        if kind == 4:
            return {"type": "Prepend", "prepend": self.rng.choice(["▁", "x", "  ", " é"])}
        if kind < 7 or depth > 1:
            return self.replace(PATTERNS)
        return {
            "type": "Sequence",
            "normalizers": [self.normalizer(depth + 1) for _ in range(self.rng.randrange(4))],
        }

    def metaspace(self) -> Json:
        scheme = self.rng.choice(["first", "first", "always", "never"])
        out: Json = {"type": "Metaspace", "replacement": self.rng.choice("▁_é"), "prepend_scheme": scheme}
        if self.coin():
            out["split"] = self.coin()
        return out

    def pre_tokenizer(self, depth: int = 0) -> Json:
        kind = self.rng.randrange(9)
        if kind < 3:
            pattern, behavior = self.pattern(PATTERNS + EMPTY_PATTERNS), self.rng.choice(BEHAVIORS)
            return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": self.coin()}
        if kind == 3:
            return {"type": "Digits", "individual_digits": self.coin()}
        if kind == 4:
            flags = {k: self.coin() for k in ("add_prefix_space", "trim_offsets", "use_regex")}
            return {"type": "ByteLevel", **flags}
        if kind < 7 or depth > 1:
            return self.metaspace()
        steps = [self.pre_tokenizer(depth + 1) for _ in range(self.rng.randrange(4))]
        return {"type": "Sequence", "pretokenizers": steps}

    def decoder(self, depth: int = 0) -> Json:
        kind = self.rng.randrange(9)
        if kind == 0:
            return {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
        if kind == 1:
            return self.replace(PATTERNS + EMPTY_PATTERNS)
        if kind == 2:
            return {"type": "ByteFallback"}
        if kind == 3 or depth > 1:
            return {"type": "Fuse"}
        if kind == 4:
            content, start = self.rng.choice(" ▁a"), self.rng.randrange(3)
            return {
                "type": "Strip",
                "content": content,
                "start": start,
                "stop": self.rng.choice([0, 0, 0, 1, 2]),
            }
        if kind == 5:
            return self.metaspace()
        return {
            "type": "Sequence",
            "decoders": [self.decoder(depth + 1) for _ in range(self.rng.randrange(5))],
        }

    def template(self) -> Json:
        text = {"Sequence": {"id": "A", "type_id": 0}}
        token = {"SpecialToken": {"id": "<s>", "type_id": 0}}
        ids = [1, 2][: self.rng.randrange(3)]
        return {
            "type": "TemplateProcessing",
            "single": [self.rng.choice([text, token]) for _ in range(self.rng.randrange(4))],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": ids, "tokens": ["x"] * len(ids)}},
        }

    def added(self) -> list[Json]:
        contents = self.rng.sample(ADDED, self.rng.randrange(6))
        return [
            {"id": 5000 + i, "content": c, **{k: self.rng.random() < 0.4 for k in FLAGS}}
            for i, c in enumerate(contents)
        ]

    def model(self, model: Json) -> Json:
        out = dict(model)
        for flag in ("byte_fallback", "fuse_unk", "ignore_merges"):
            if self.rng.random() < 0.4:
                out[flag] = self.coin()
        if self.rng.random() < 0.3:
            out["unk_token"] = self.rng.choice([None, "a", "<unk>"])
        return out

    def tokenizer(self, models: list[Json]) -> Json:
        chance = self.rng.random
        return {
            "version": "1.0",
            "added_tokens": self.added(),
            "normalizer": self.normalizer() if chance() < 0.8 else None,
            "pre_tokenizer": self.pre_tokenizer() if chance() < 0.85 else None,
            "post_processor": self.template() if chance() < 0.5 else None,
            "decoder": self.decoder() if chance() < 0.9 else None,
            "model": self.model(self.rng.choice(models)),
        }


def reference(tokenizer: Tokenizer, subject: str | list[int], flag: bool) -> str | None:
    """The answer that the driver should give; None if the reference panics."""
    try:
        if isinstance(subject, str):
            return ",".join(map(str, tokenizer.encode(subject, add_special_tokens=flag).ids))
        return str(tokenizer.decode(subject, skip_special_tokens=flag).encode().hex())
    except BaseException as e:
        if type(e).__name__ not in ("PanicException", "Exception"):
            raise
        return None


def compare(driver: str, document: Json, rng: random.Random, folder: str) -> tuple[str, list[str]]:
    """What came of it, and the differences."""
    text = json.dumps(document, ensure_ascii=False)
    Path(folder, "tokenizer.json").write_text(text)
    tokenizer = Tokenizer.from_str(text)
    maker = TextMaker(tokenizer, rng)
    subjects: list[str | list[int]] = [maker.text() for _ in range(12)]
    subjects += ["", "a the <s>  1 e\u0301 word", *(maker.ids() for _ in range(6))]
    requests = [
        f"e {i % 2} {s.encode().hex()}" if isinstance(s, str) else f"d {i % 2} " + ",".join(map(str, s))
        for i, s in enumerate(subjects)
    ]
    done = subprocess.run([driver, folder], input="\n".join(requests) + "\n", capture_output=True, text=True)
    if done.returncode == 1 and done.stderr.count("\n") == 1 and "out of memory" not in done.stderr:
        return "refused", []
    if done.returncode != 0:
        return "failed", [f"driver: exit {done.returncode}: {done.stderr}"]
    differences = []
    for i, (subject, got) in enumerate(zip(subjects, done.stdout.split("\n"), strict=False)):
        want = reference(tokenizer, subject, bool(i % 2))
        if want is not None and want != got:
            differences.append(f"{subject!r}\n  want {want}\n  got  {got}")
    return "compared", differences


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("driver")
    ap.add_argument("fixtures", type=Path)
    ap.add_argument("-n", type=int, default=300)
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    rng = random.Random(args.seed)
    models = [json.loads((args.fixtures / m / "tokenizer.json").read_text())["model"] for m in MODELS]
    counts = {"refused": 0, "compared": 0, "failed": 0}
    n_bad = 0
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.n):
            document = Maker(rng).tokenizer(models)
            outcome, differences = compare(args.driver, document, rng, folder)
            counts[outcome] += 1
            n_bad += len(differences)
            if differences and n_bad <= 20:
                print(json.dumps({k: v for k, v in document.items() if k != "model"}, ensure_ascii=False))
                print("\n".join(differences))
    print(f"seed {args.seed}: {args.n} tokenizers, {counts['refused']} refused here: {n_bad} answers differ")
    sys.exit(1 if n_bad or counts["compared"] == 0 else 0)


if __name__ == "__main__":
    main()
