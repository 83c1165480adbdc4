#!/usr/bin/env python3
"""Writes text/unicode_tables.h: what the reference tokenizer knows of Unicode.

Everything is measured on the installed `tokenizers` package, not read from a standard: its regular
expressions are of Unicode 16, its normal forms of Unicode 9, and its digits of whatever its compiler had.
`unicodedata2` (16.0.0) says which code points are worth asking the normal forms about. With --classes FILE
(name -> list of ranges) the measured classes are compared with an independent list, and a difference is an
error.

    python scripts/make_unicode_tables.py text/unicode_tables.h [--classes classes.json]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

import unicodedata2  # type: ignore[import-not-found]
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

Ranges = list[tuple[int, int]]

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CATEGORIES = (
    "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
)
ALTERNATING = len(CATEGORIES)  # pseudo category: Lu, Ll, Lu, Ll, ... from the start of the run
SCRIPTS = """Arabic Armenian Bengali Bopomofo Cherokee Common Coptic Cyrillic Devanagari Ethiopic Georgian
Greek Gujarati Gurmukhi Han Hangul Hebrew Hiragana Inherited Kannada Katakana Khmer Lao Latin Malayalam
Mongolian Myanmar Oriya Sinhala Syriac Tamil Telugu Thaana Thai Tibetan""".split()


def ranges(code_points: Iterable[int]) -> Ranges:
    out: list[list[int]] = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return [(a, b) for a, b in out]


def members(pattern: str) -> set[int]:
    """The code points that a pattern of one character matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    found: set[int] = set()
    for i in range(0, len(CODE_POINTS), 4096):
        for piece, _ in split.pre_tokenize_str("".join(map(chr, CODE_POINTS[i : i + 4096]))):
            found.update(map(ord, piece))
    return found


def category_runs(categories: dict[str, set[int]]) -> list[tuple[int, int]]:
    of = [CATEGORIES.index("Cs")] * 0x110000
    for name, cps in categories.items():
        for c in cps:
            of[c] = CATEGORIES.index(name)
    runs: list[tuple[int, int]] = []
    c = 0
    while c < 0x110000:
        n = 0
        while c + n < 0x110000 and of[c + n] == n % 2:  # Lu is 0, Ll is 1
            n += 1
        if n >= 4:
            runs.append((c, ALTERNATING))
            c += n - n % 2
            continue
        if not runs or runs[-1][1] != of[c]:
            runs.append((c, of[c]))
        c += 1
    return runs


def fold_orbits(categories: dict[str, set[int]]) -> dict[int, int]:
    """Code point -> next one of those that (?i:) takes for the same."""
    candidates = set().union(*(categories[g] for g in ("Lu", "Ll", "Lt", "Nl")))
    for c in CODE_POINTS:
        s = chr(c)
        if s.lower() != s or s.upper() != s or s.casefold() != s:
            candidates.add(c)
    text = "".join(map(chr, sorted(candidates)))
    orbits: dict[int, int] = {}
    for c in sorted(candidates):
        split = pre_tokenizers.Split(Regex(f"(?i:\\x{{{c:x}}})"), "removed", invert=True)
        same = sorted(
            {ord(ch) for piece, _ in split.pre_tokenize_str(text) if len(piece) == 1 for ch in piece}
        )
        if len(same) > 1:
            orbits[c] = same[(same.index(c) + 1) % len(same)]
    assert all(c in orbits for c in orbits.values())
    return orbits


def fold_runs(orbits: dict[int, int]) -> list[tuple[int, int, int, int]]:
    """(first, last, stride, delta): code points first, first + stride, ... last map to themselves + delta."""
    left = dict(orbits)
    runs = []
    while left:
        first = min(left)
        delta = left[first] - first
        best = (1, first)
        for stride in (1, 2):
            last = first
            while left.get(last + stride, -1) - (last + stride) == delta and last + stride in left:
                last += stride
            best = max(best, ((last - first) // stride + 1, last))
        n, last = best
        stride = (last - first) // (n - 1) if n > 1 else 1
        for c in range(first, last + 1, stride):
            del left[c]
        runs.append((first, last, stride, delta))
    return runs


def multi_folds(orbits: dict[int, int]) -> list[tuple[int, ...]]:
    """(code point, what it folds to: 2 or 3 code points), each of these the least of its orbit."""

    def least(c: int) -> int:
        orbit = [c]
        while orbits.get(orbit[-1], c) != c:
            orbit.append(orbits[orbit[-1]])
        return min(orbit)

    out = []
    for c in CODE_POINTS:
        folded = chr(c).casefold()
        if len(folded) > 1:
            assert pre_tokenizers.Split(Regex(f"(?i:{folded})"), "removed", invert=True).pre_tokenize_str(
                chr(c)
            )
            seq = [least(ord(x)) for x in folded]
            out.append((c, *seq, *([0] * (3 - len(seq)))))
    return out


def inert_code_points() -> set[int]:
    """Assigned code points that the reference's normal forms leave alone, though Unicode 16 would not."""
    forms = {n: getattr(normalizers, n)() for n in ("NFC", "NFD", "NFKC", "NFKD")}
    inert: set[int] = set()
    for c in CODE_POINTS:
        if unicodedata2.category(chr(c)) == "Cn":
            continue
        for text in (chr(c), "a\u0345" + chr(c) + "\u0334"):
            if any(f.normalize_str(text) != unicodedata2.normalize(n, text) for n, f in forms.items()):
                inert.add(c)
        decomposition = unicodedata2.decomposition(chr(c)).split()
        if len(decomposition) == 2 and not decomposition[0].startswith("<"):
            pair = "".join(chr(int(x, 16)) for x in decomposition)
            if forms["NFC"].normalize_str(pair) != unicodedata2.normalize("NFC", pair):
                inert.update((c, ord(pair[0])))
    return inert


def single_word_members() -> set[int]:
    """What counts as a word character beside an added token marked single_word."""
    t = Tokenizer(models.BPE({"@": 0}, []))
    t.add_tokens([AddedToken("@@", single_word=True, normalized=False)])
    return {c for c in CODE_POINTS if c != ord("@") and len(t.encode(chr(c) + "@@").ids) != 1}


def numeric_members() -> set[int]:
    """What the pre-tokenizer Digits splits at."""
    d = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(d.pre_tokenize_str("a" + chr(c) + "a")) == 3}


def c_rows(items: list[str], width: int = 104) -> str:
    rows, row = [], ""
    for item in items:
        if len(row) + len(item) + 1 > width:
            rows.append(row)
            row = ""
        row += (" " if row else "") + item
    return "\n".join("    " + r for r in [*rows, row] if r)


def c_ranges(name: str, value: Ranges) -> str:
    body = c_rows([f"{{0x{a:X}, 0x{b:X}}}," for a, b in value])
    return f"static const struct moe_range {name}[] = {{\n{body}\n}};\n"


def main() -> None:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("out", type=Path)
    ap.add_argument("--classes", type=Path, help="JSON of independently found classes to compare with")
    args = ap.parse_args()
    assert unicodedata2.unidata_version == "16.0.0"

    cat = {g: members(rf"\p{{{g}}}") for g in CATEGORIES if g != "Cs"}
    assert sum(map(len, cat.values())) == len(CODE_POINTS)

    def union(*prefixes: str) -> set[int]:
        return set().union(*(v for k, v in cat.items() if k.startswith(prefixes)))

    if args.classes:
        for name, want in json.loads(args.classes.read_text()).items():
            pattern = {"space": r"\s", "digit": r"\d", "word": r"\w"}.get(name, rf"\p{{{name}}}")
            if ranges(members(pattern)) != [tuple(r) for r in want]:
                sys.exit(f"{args.classes}: {name} differs from what the library matches")

    # The rules by which unicode.c derives these classes from the categories.
    alpha = members(r"[[:alpha:]]")
    word = union("L", "M", "Nd", "Nl", "Pc") | alpha
    latin1_word = {178, 179, 185, 188, 189, 190}
    everything = set(CODE_POINTS)
    rules = {
        r"[\w]": word,
        r"\w": word | latin1_word,
        r"[^\w]": everything - word,
        r"\W": everything - word - latin1_word,
        r"[\p{Word}]": word,
        r"\p{Word}": word | latin1_word,
        r"\d": cat["Nd"],
        r"[[:digit:]]": cat["Nd"],
        r"\s": {*range(9, 14), 0x85} | union("Z"),
        r"[[:punct:]]": union("P", "S"),
        r"\p{Punct}": union("P"),
        r"[\p{Punct}]": union("P"),
        r"[[:cntrl:]]": cat["Cc"],
        r"[[:blank:]]": cat["Zs"] | {9},
        r"[[:print:]]": everything - cat["Cc"] - cat["Cn"] - {0x2028, 0x2029},
        r"[[:graph:]]": everything - cat["Cc"] - cat["Cn"] - union("Z") - {0x85},
        r"[[:alnum:]]": alpha | cat["Nd"],
        r"\p{Assigned}": everything - cat["Cn"],
        r"\p{LC}": cat["Lu"] | cat["Ll"] | cat["Lt"],
        r"\p{Any}": everything,
    }
    for pattern, want_set in rules.items():
        if members(pattern) != want_set:
            sys.exit(f"{pattern}: not what the rule says: {ranges(members(pattern) ^ want_set)[:8]}")
    if single_word_members() - {ord("@")} != (word | {0x200C, 0x200D}):
        sys.exit("single_word: not the word class and the two joiners")

    orbits = fold_orbits(cat)
    digits_more = numeric_members() ^ union("N")
    parts = [
        "/* Generated by scripts/make_unicode_tables.py; not to be edited. */\n",
        "/* General categories of Unicode 16: start << 8 | category, up to the next start. */\n"
        f"enum {{ {', '.join('GC_' + g.upper() for g in CATEGORIES)}, GC_ALTERNATING }};\n"
        "static const uint32_t gc_runs[] = {\n"
        + c_rows([f"0x{(start << 8) | g:X}," for start, g in category_runs(cat)])
        + "\n};\n",
        "/* Alphabetic, Lowercase and Uppercase: where they differ from L + M + Nl, Ll and Lu. */\n"
        + c_ranges("alpha_flips", ranges(alpha ^ union("L", "M", "Nl")))
        + c_ranges("lower_flips", ranges(members("[[:lower:]]") ^ cat["Ll"]))
        + c_ranges("upper_flips", ranges(members("[[:upper:]]") ^ cat["Lu"])),
        "/* What Digits splits at, beyond N. */\n" + c_ranges("numeric_flips", ranges(digits_more)),
        "/* Assigned code points that the reference's normal forms (Unicode 9) leave as they are. */\n"
        + c_ranges("inert_ranges", ranges(inert_code_points())),
        "/* Case folding, one code point to one: first, last, stride, distance to the next of the orbit. */\n"
        "static const struct fold_run { uint32_t first, last; int32_t stride, delta; } fold_runs[] = {\n"
        + c_rows([f"{{0x{a:X}, 0x{b:X}, {s}, {d}}}," for a, b, s, d in fold_runs(orbits)])
        + "\n};\n",
        "/* Case folding, one code point to several; each the least of its orbit. */\n"
        "static const uint32_t multi_folds[][4] = {\n"
        + c_rows(["{" + ", ".join(f"0x{x:X}" for x in f) + "}," for f in multi_folds(orbits)])
        + "\n};\n",
        "/* Scripts. */\n",
    ]
    for s in SCRIPTS:
        parts.append(c_ranges(f"script_{s.lower()}", ranges(members(rf"\p{{{s}}}"))))
    rows = c_rows(
        [
            f'{{"{s.lower()}", script_{s.lower()}, sizeof script_{s.lower()} / sizeof(struct moe_range)}},'
            for s in SCRIPTS
        ]
    )
    parts.append(
        "static const struct { const char *name; const struct moe_range *ranges; size_t n; } scripts[] = {\n"
        + rows
        + "\n};\n"
    )
    args.out.write_text("/* clang-format off */\n" + "\n".join(parts) + "/* clang-format on */\n")


if __name__ == "__main__":
    main()
