#!/usr/bin/env python3
"""Compares the matches of random patterns with those that PyPI's `tokenizers` finds.

    fuzz_regex.py DRIVER DIRECTORY [-n PATTERNS] [--seed N]

DIRECTORY holds any tokenizer.json. A pattern may be refused; one that is accepted must match as the reference
does. Exits with 1 if one does not; with 77 if `tokenizers` is not installed.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

try:
    from tokenizers import Regex, pre_tokenizers
except ImportError:
    print("skipped: no Python package tokenizers")
    sys.exit(77)

from fuzz_tokenizer import ask

CLASSES = r"\w \W \s \S \d \D \h \p{L} \p{N} \P{L} \p{^N} \p{Lu} \p{Ll} \p{M} \p{P} \p{S} \p{Han}".split()
CLASSES += r"\p{Alpha} \p{Word} \p{Punct} \p{Greek} \p{Hiragana} \p{Cyrillic} \p{Cn} \p{Co} \p{LC}".split()
CLASSES += r"\p{Any} \p{Z} \p{Lt}".split()
BRACKETS = "alnum alpha blank cntrl digit graph lower print punct space upper xdigit word ascii".split()
LITERALS = list("abcsStTkKeE'0-9 .,!&^") + [
    "é",
    "É",
    "ſ",
    "ß",
    "你",
    "の",
    "\u0301",
    "Ω",
    "ω",
    "ς",
    "\\n",
    "\\t",
]
LITERALS += [r"\x41", r"\x{e9}", r"\u0153", r"\-", r"\.", r"\\", "İ", "ǆ", "😀", "\\r"]
TEXT = list("aAbBcsSstTkKeE'0123456789-., !&^ \n\r\t_\\") + [
    "é",
    "É",
    "e\u0301",
    "ſ",
    "ß",
    "\u212a",
    "你",
    "好",
    "の",
]
TEXT += [
    "Ω",
    "ω",
    "ς",
    "Σ",
    "\u2126",
    "œ",
    "Œ",
    "ǅ",
    "ǆ",
    "😀",
    "İ",
    "ı",
    "²",
    "½",
    "Ⅷ",
    "\x85",
    "\xa0",
    "\u2028",
    "٣",
]
TEXT += ["\u1c89", "\ua7ce", "\u0378", "\ue000", "Ж", "ж", "$", "+", "aa", "  ", "\r\n", "ss", "ﬁ", "ŉ", "1ª"]


class Maker:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def literal(self) -> str:
        c = self.rng.choice(LITERALS)
        return "\\" + c if c in ".^" else c

    def element(self) -> str:
        rng = self.rng
        kind = rng.randrange(8)
        if kind < 3:
            return rng.choice(
                ["a", "b", "s", "é", "你", "0", "\\n", "\\-", "'", "K", "ω", "\\]", "\\^", "\\x{2126}"]
            )
        if kind < 5:
            return rng.choice(["a-z", "A-Z", "0-9", "s-u", "à-ÿ", "一-龥", "\\x20-\\x7e", "Α-Ω", "!-/"])
        if kind == 5:
            return rng.choice(CLASSES)
        if kind == 6:
            return f"[:{rng.choice(['', '^'])}{rng.choice(BRACKETS)}:]"
        return self.char_class() if rng.random() < 0.4 else rng.choice(CLASSES)

    def char_class(self) -> str:
        operands = ["".join(self.element() for _ in range(self.rng.randint(1, 3))) for _ in range(1)]
        while self.rng.random() < 0.2:
            operands.append("".join(self.element() for _ in range(self.rng.randint(1, 2))))
        return "[" + self.rng.choice(["", "", "^"]) + "&&".join(operands) + "]"

    def atom(self, depth: int) -> str:
        rng = self.rng
        kind = rng.randrange(14)
        if kind < 4:
            return self.literal()
        if kind < 6:
            return rng.choice([*CLASSES, ".", r"\N", r"\O", r"\R"])
        if kind < 9 or depth > 2:
            return self.char_class()
        if kind < 11:
            opener = rng.choice(["(?:", "(", "(?>", "(?i:", "(?m:", "(?i-m:", "(?<x>", "(?-i:"])
            return opener + self.branches(depth + 1) + ")"
        if kind == 11:
            return rng.choice(["(?=", "(?!"]) + self.branches(depth + 1) + ")"
        if kind == 12:
            return (
                rng.choice(["(?<=", "(?<!"])
                + rng.choice([self.literal(), self.char_class(), r"\s", "ab"])
                + ")"
            )
        return rng.choice([r"\b", r"\B", "^", "$", r"\A", r"\z", r"\Z", "(?#x)"])

    def piece(self, depth: int) -> str:
        atom = self.atom(depth)
        if self.rng.random() < 0.5:
            return atom
        return atom + self.rng.choice(
            [
                "?",
                "*",
                "+",
                "+",
                "??",
                "*?",
                "+?",
                "?+",
                "*+",
                "++",
                "{2}",
                "{1,3}",
                "{,2}",
                "{2,}",
                "{1,2}?",
                "{1,2}+",
                "{2}?",
            ]
        )

    def branches(self, depth: int = 0) -> str:
        rng = self.rng
        branches = [
            "".join(self.piece(depth) for _ in range(rng.choice([1, 1, 2, 3])))
            for _ in range(rng.choice([1, 1, 2, 3]))
        ]
        if rng.random() < 0.05:
            branches[-1] = rng.choice(["(?i)", "(?-i)", "(?m)"]) + branches[-1]
        return "|".join(branches)

    def text(self) -> str:
        return "".join(self.rng.choice(TEXT) for _ in range(self.rng.choice([3, 8, 20, 60])))


def reference(pattern: str, text: str) -> list[tuple[int, int]] | str:
    try:
        split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    except Exception as e:  # the package raises plain Exceptions
        return str(e)
    at = [0]
    for c in text:
        at.append(at[-1] + len(c.encode()))
    try:
        return [(at[a], at[b]) for _, (a, b) in split.pre_tokenize_str(text)]
    except BaseException as e:  # a panic: it gave up
        if type(e).__name__ != "PanicException":
            raise
        return str(e)


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("driver")
    ap.add_argument("folder", type=Path)
    ap.add_argument("-n", type=int, default=3000, help="patterns; each is tried on three texts")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_args()
    maker = Maker(random.Random(args.seed))
    cases = [(p, maker.text()) for p in (maker.branches() for _ in range(args.n)) for _ in range(3)]
    answers = ask(args.driver, args.folder, [f"s {p.encode().hex()} {t.encode().hex()}" for p, t in cases])
    n_bad = n_refused = n_both = 0
    for (pattern, text), answer in zip(cases, answers, strict=True):
        want = reference(pattern, text)
        if isinstance(want, str):
            n_both += answer.startswith("!")
            same = True
        elif answer.startswith("!"):
            n_refused += 1
            same = True
        else:
            numbers = [int(x) for x in answer.split(",")[:-1]]
            same = [(a, b) for a, b in zip(numbers[::2], numbers[1::2], strict=True) if a < b] == want
        if not same:
            n_bad += 1
            if n_bad <= 20:
                print(f"{pattern!r} on {text!r}\n  want {want}\n  got  {answer}")
    print(
        f"seed {args.seed}: {len(cases)} matchings: {n_bad} differ; "
        f"{n_refused} refused here alone, {n_both} by both"
    )
    sys.exit(1 if n_bad else 0)


if __name__ == "__main__":
    main()
