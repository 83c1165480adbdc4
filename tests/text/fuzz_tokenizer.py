#!/usr/bin/env python3
"""Compares the tokenizer with PyPI's `tokenizers` on random texts and random ids.

    fuzz_tokenizer.py DRIVER DIRECTORY... [-n TEXTS] [--seed N]

Each DIRECTORY holds a tokenizer.json. Texts are made of many scripts, whitespace of every kind, marks, emoji,
code points of Unicode 10 to 17, contractions, added tokens and pieces of the vocabulary; ids are drawn from
the vocabulary and a little beyond. DRIVER (text_driver) also checks that decoding id by id gives the text
that decoding at once gives. Prints every difference that it finds, up to 20 for each tokenizer, and exits
with 1 if there is any; with 77 if `tokenizers` is not installed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: no Python package tokenizers")
    sys.exit(77)

SPACES = "\t\n\x0b\x0c\r\x1c\x1f \x85\xa0\u1680\u2000\u2003\u200a\u200b"
SPACES += "\u2028\u2029\u202f\u205f\u3000\ufeff"
MARKS = "\u0300\u0301\u0302\u0304\u0308\u0315\u0323\u0327\u0328\u0331\u0345\u034f\u0483\u05b0\u05bc\u0651"
MARKS += "\u093c\u0a3c\u1dfa\u0898\u08d3\u1ac5\u1ace\U00010d24\U00010f82\u0c3c\U0001e4ec\U00010efd\u20dd"
MARKS += "\u3099\u302a\ufe0f"
HANGUL = "\u1100\u1112\u1161\u1175\u11a8\u11c2\uac00\uac01\ud7a3"
COMPOSED = "\xe9\xc5\u01d6\u1e69\u1e9b\u212b\u2126\u0958\u0344\ufb1d\ufb2c\u0f73\u1fee\u0340\u2adc\uf900"
COMPOSED += "\U0002f800\ufdfa\u3392\u2167\xbd\u338f\ufb01\u01c5"
YOUNG = "\u1c89\u1c8a\ua7cb\ua7cc\ua7ce\ua7da\ua7dc\u0897\u1c80\ua7c0\U00010d50\U00010d69\U00010d70"
YOUNG += "\U000113c2\U000113c5\U000105d2\U000105da\U00011935\U00011930\U00016d63\U00016d67\U0001faf8"
YOUNG += "\U0001f6dc\U00011f02\U00031350\U0001e5d0\U00011de0\U00016ff4\U0001611e\U0001ccf0\u2427"
YOUNG += "\u31e4\u0870\u1734\u1715\U00016ac0\U0001df00"
TAILS = ["'s", "'T", "'re", "'VE", "'m", "'Ll", "'d", "'ſ", "’s", "'ll've"]
EMOJI = ["👍🏽", "👩\u200d👩\u200d👧", "❤\ufe0f", "🇩🇪🇫🇷", "🏴\u200d☠\ufe0f", "1\ufe0f\u20e3", "😀"]
WORDS = "the quick brown fox Straße naïve Привет мир κόσμος 你好世界 こんにちは カタカナ 안녕".split()
WORDS += ["שלום", "مرحبا", "नमस्ते", "สวัสดี", "ΣΑΣ", "ıİ", "ŉ", "ǰ"]
DIGITS = "0123456789٠١٣९๑²½Ⅷ①０９𝟘🄀"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡§«¿“”‘’…—、。！？・￥▁Ġ"
BLOCK_STARTS = [0, 0x80, 0x250, 0x370, 0x600, 0x900, 0xE00, 0x10A0, 0x2000, 0x2C00, 0x3000, 0x3400, 0xA000]
BLOCK_STARTS += [
    0xAC00,
    0xE000,
    0xFB00,
    0x10000,
    0x11000,
    0x13000,
    0x1D000,
    0x1F000,
    0x20000,
    0xE0000,
    0x110000,
]
BLOCKS = [*pairwise(BLOCK_STARTS), (0, 0x110000)]


def random_character(rng: random.Random) -> str:
    while True:
        c = rng.randrange(*rng.choice(BLOCKS))
        if not 0xD800 <= c < 0xE000:
            return chr(c)


class TextMaker:
    def __init__(self, tokenizer: Tokenizer, rng: random.Random) -> None:
        self.rng = rng
        self.added = [t.content for t in tokenizer.get_added_tokens_decoder().values()] or ["x"]
        self.vocabulary = list(tokenizer.get_vocab())
        self.size = max(tokenizer.get_vocab().values()) + 1

    def chunk(self) -> str:
        rng = self.rng
        kind = rng.randrange(18)
        if kind < 3:
            return rng.choice(WORDS) + (rng.choice(TAILS) if rng.random() < 0.3 else "")
        if kind < 6:
            return "".join(
                rng.choice(SPACES if rng.random() < 0.3 else " \n") for _ in range(rng.randint(1, 4))
            )
        if kind == 6:
            return "".join(rng.choice(DIGITS) for _ in range(rng.randint(1, 8)))
        if kind == 7:
            return "".join(rng.choice(PUNCTUATION) for _ in range(rng.randint(1, 4)))
        if kind == 8:
            return rng.choice("aeoqSΩ가กक") + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 5)))
        if kind == 9:
            return "".join(rng.choice(HANGUL) for _ in range(rng.randint(1, 4)))
        if kind == 10:
            return rng.choice(COMPOSED) + rng.choice(["", rng.choice(MARKS)])
        if kind == 11:
            return "".join(rng.choice(YOUNG + MARKS) for _ in range(rng.randint(1, 3)))
        if kind == 12:
            return rng.choice(EMOJI)
        if kind < 15:
            token = rng.choice(self.added)
            return token if rng.random() < 0.8 else token[: rng.randint(1, len(token))]
        if kind == 15:
            return rng.choice(self.vocabulary)
        if kind == 16:
            return rng.choice(WORDS + [" ", "a", "\u0301", "\n"]) * rng.choice([2, 3, 5, 40])
        return "".join(random_character(rng) for _ in range(rng.randint(1, 4)))

    def text(self) -> str:
        return "".join(self.chunk() for _ in range(self.rng.choice([1, 2, 3, 5, 8, 13, 25])))

    def ids(self) -> list[int]:
        return [self.rng.randrange(self.size + 2) for _ in range(self.rng.choice([0, 1, 2, 4, 9, 30]))]


def ask(driver: str, folder: Path, requests: list[str]) -> list[str]:
    with tempfile.TemporaryFile("w+") as file:
        file.write("\n".join(requests) + "\n")
        file.seek(0)
        done = subprocess.run([driver, str(folder)], stdin=file, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{folder}: driver: exit {done.returncode}: {done.stderr.strip()}")
    answers = done.stdout.split("\n")[:-1]
    if len(answers) != len(requests):
        sys.exit(f"{folder}: driver: {len(answers)} answers to {len(requests)} requests")
    return answers


def compare_texts(
    driver: str, folder: Path, tokenizer: Tokenizer, texts: list[str], special: bool
) -> list[str]:
    answers = ask(driver, folder, [f"e {int(special)} {t.encode().hex()}" for t in texts])
    differences = []
    for text, answer, want in zip(
        texts, answers, tokenizer.encode_batch_fast(texts, add_special_tokens=special), strict=True
    ):
        if answer != ",".join(map(str, want.ids)):
            differences.append(f"{folder.name}: encode {text!r}\n  want {want.ids}\n  got  {answer}")
    return differences


def compare_ids(
    driver: str, folder: Path, tokenizer: Tokenizer, lists: list[list[int]], skip: bool
) -> list[str]:
    answers = ask(driver, folder, [f"d {int(skip)} " + ",".join(map(str, ids)) for ids in lists])
    differences = []
    for ids, answer in zip(lists, answers, strict=True):
        want = tokenizer.decode(ids, skip_special_tokens=skip)
        if answer != want.encode().hex():
            got = answer if answer.startswith("!") else repr(bytes.fromhex(answer))
            differences.append(f"{folder.name}: decode {ids}\n  want {want.encode()!r}\n  got  {got}")
    return differences


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("driver")
    ap.add_argument("folders", type=Path, nargs="+")
    ap.add_argument("-n", type=int, default=2000, help="texts per tokenizer (half as many id lists)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    n_bad = n_texts = n_lists = 0
    for folder in args.folders:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        maker = TextMaker(tokenizer, random.Random(f"{args.seed} {folder.name}"))
        differences: list[str] = []
        for start in range(0, args.n, 5000):
            texts = [maker.text() for _ in range(min(5000, args.n - start))]
            lists = [maker.ids() for _ in range(len(texts) // 2)]
            flag = bool(start // 5000 % 2)
            differences += compare_texts(args.driver, folder, tokenizer, texts, not flag)
            differences += compare_ids(args.driver, folder, tokenizer, lists, flag)
            n_texts += len(texts)
            n_lists += len(lists)
        for line in differences[:20]:
            print(line)
        n_bad += len(differences)
    print(
        f"seed {args.seed}: {n_texts} texts and {n_lists} lists of ids with {len(args.folders)} tokenizers: "
        f"{n_bad} differ"
    )
    sys.exit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
