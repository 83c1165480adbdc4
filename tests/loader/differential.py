"""What this loader accepts, the reference accepts; what it refuses beyond that, docs/loader.md lists.

    differential.py VERDICTS [--count N] [--seed N] [FILE|DIRECTORY...]

VERDICTS is the program loader_verdicts. Mutants of valid safetensors files, and the files named (such as what
fuzzing found), are compared with PyPI's safetensors; mutants of JSON texts with Python's json made strict.
Both must accept or refuse, and read the same. Where the reference accepts and this loader does not, it is
for one of REASONS. That is checked of the file itself, not only of the message; every reason has an example
and a line in docs/loader.md. Prints seeds and counts; exits with 1 at a difference, with 77 (skipped) where
safetensors is not installed.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    from safetensors import SafetensorError, deserialize
except ImportError:
    print("skipped: no safetensors for this Python", file=sys.stderr)
    sys.exit(77)

BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8}
BITS |= {"F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16}
BITS |= {"I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
VALUES = """0 1 -1 -0 2.0 1e0 01 4294967296 9007199254740992 18446744073709551615 18446744073709551616 1e999
    null true NaN "1" [] {} "\\ud800" "\\u0000" "F32" [0,0] "BF16" "F6_E3M2" 1e-999 "\\ud83d\\ude00" [[]]
    {"F32":null} ["F32",[1],[0,4]] [0,1,1,1,1,1,1,1,1]""".split()
VALUES += ["1" * 64, "0." + "1" * 62, "[" * 60 + "]" * 60, '{"":0,"":1}', "[0,9007199254740992]"]

ODDITIES = (
    (r'"dtype":("[A-Z0-9_]*")', r'"dtype":{\1:null}'),
    (r'"shape":\[([^]]+)\]', r'"shape":[\1,1,1,1,1,1,1,1,1]'),
    (r'"shape":\[0', '"shape":[0,9007199254740993'),
    (r'\{"dtype":("[^"]*"),"shape":(\[[^]]*\]),"data_offsets":(\[[^]]*\])\}', r"[\1,\2,\3]"),
    (r'\{"dtype"', '{"x":' + "[" * 70 + "]" * 70 + ',"dtype"'),
)

# ---- what is refused although the reference accepts it ----------------------------------------------------


class Pairs(list[tuple[str, Any]]):
    """An object, its members as they are written."""


def nodes(value: Any, depth: int = 0) -> Iterator[tuple[Any, int]]:
    """Every value and the containers around it."""
    yield value, depth
    children = [v for _, v in value] if isinstance(value, Pairs) else value if isinstance(value, list) else []
    for child in children:
        yield from nodes(child, depth + 1)


def objects(root: Any) -> Iterator[Pairs]:
    return (v for v, _ in nodes(root) if isinstance(v, Pairs))


def tensors(root: Any) -> list[Any]:
    return [v for k, v in root if k != "__metadata__"] if isinstance(root, Pairs) else []


def fields(root: Any, name: str) -> list[Any]:
    return [v for t in tensors(root) if isinstance(t, Pairs) for k, v in t if k == name]


def texts(root: Any) -> Iterator[str]:
    yield from (v for v, _ in nodes(root) if isinstance(v, str))
    yield from (k for o in objects(root) for k, _ in o)


def has_long_number(text: str) -> bool:
    return any(len(n) > 63 for n in re.findall(r"[-+.0-9eE]+", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)))


@dataclass(frozen=True)
class Reason:
    name: str
    message: str  # how the error ends
    holds: Callable[[Any, str], bool]  # of the header's tree and text
    example: str  # a header that the reference accepts
    n_data: int = 1  # bytes of data behind it


T = '"dtype":"U8","shape":[1],"data_offsets":[0,1]'
REASONS = (
    Reason(
        "a key twice",
        r": duplicate key",
        lambda root, _: any(len({k for k, _ in o}) < len(o) for o in objects(root)),
        f'{{"a":{{{T},"x":{{"b":1,"b":2}}}}}}',
    ),
    Reason(
        "`\\u0000` in a string",
        r"\\u0000 is not supported",
        lambda root, _: any("\0" in s for s in texts(root)),
        f'{{"a\\u0000":{{{T}}}}}',
    ),
    Reason(
        "nesting deeper than 64",
        r"nested deeper than 64",
        lambda root, _: any(depth >= 64 for _, depth in nodes(root)),
        f'{{"a":{{{T},"x":{"[" * 63}{"]" * 63}}}}}',
    ),
    Reason(
        "a number of more than 63 characters",
        r"number of more than 63 characters",
        lambda _, text: has_long_number(text),
        f'{{"a":{{{T},"x":{"1" * 64}}}}}',
    ),
    Reason(
        "more than 4,194,304 values",
        r"too many values",
        lambda root, _: sum(1 for _ in nodes(root)) > 1 << 22,
        f'{{"a":{{{T},"x":[{"0," * (1 << 22)}0]}}}}',
    ),
    Reason(
        "rank above 8",
        r"at most 8 is supported",
        lambda root, _: any(isinstance(s, list) and len(s) > 8 for s in fields(root, "shape")),
        '{"a":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}',
    ),
    Reason(
        "a dimension of 2^53 or more",
        r"expected an integer from 0 to 9007199254740991, found [0-9.e+]+",
        lambda root, _: any(
            isinstance(d, int) and d >= 2**53 for s in fields(root, "shape") if isinstance(s, list) for d in s
        ),
        '{"a":{"dtype":"U8","shape":[0,9007199254740992],"data_offsets":[0,0]}}',
        n_data=0,
    ),
    Reason(
        "a tensor that is an array",
        r"header: [^:]*: expected an object",
        lambda root, _: any(isinstance(t, list) and not isinstance(t, Pairs) for t in tensors(root)),
        '{"a":["U8",[1],[0,1]]}',
    ),
    Reason(
        "a dtype that is an object",
        r"dtype: expected a string, found an object",
        lambda root, _: any(isinstance(d, Pairs) for d in fields(root, "dtype")),
        '{"a":{"dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]}}',
    ),
)


def reason_of(error: str, text: bytes) -> str | None:
    """The reason that the message names and that is really there."""
    try:
        decoded = text.decode()
        root = json.loads(decoded, object_pairs_hook=Pairs)
    except (ValueError, RecursionError):
        return None
    for reason in REASONS:
        if re.search(reason.message + "$", error) and reason.holds(root, decoded):
            return reason.name
    return None


# ---- mutants ----------------------------------------------------------------------------------------------


def make_header(rng: random.Random) -> tuple[str, int]:
    """A valid header, and the bytes of data that it describes."""
    made: list[tuple[str, str]] = []
    end = 0
    for i in range(rng.randrange(5)):
        dtype = rng.choice(list(BITS))
        shape = [rng.choice([0, 1, 2, 3, 4, 8]) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 8]))]
        count = 1
        for n in shape:
            count *= n
        if count * BITS[dtype] % 8 or count > 512:
            dtype, shape, count = "U8", [3], 3
        begin, end = end, end + count * BITS[dtype] // 8
        members = [f'"dtype":"{dtype}"', f'"shape":{json.dumps(shape)}', f'"data_offsets":[{begin},{end}]']
        if rng.random() < 0.1:
            members.append('"x":[1.5,{"y":null}]')
        rng.shuffle(members)
        made.append((rng.choice(["", "t.", "é", "\\u00e9"]) + str(i), "{" + ",".join(members) + "}"))
    rng.shuffle(made)
    members = [f'"{name}":{text}' for name, text in made]
    if rng.random() < 0.3:
        metadata = rng.choice(['{"format":"pt"}', "{}", "null", '{"a":"\\"","b":"é"}'])
        members.insert(rng.randrange(len(members) + 1), f'"__metadata__":{metadata}')
    return rng.choice(["", "", "", " ", "\n"]) + "{" + ",".join(members) + "}" + " " * rng.randrange(3), end


def mutate(rng: random.Random, text: str) -> bytes:
    """The text with a few changes, most of them such that it stays JSON."""
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        kind = rng.randrange(10)
        tokens = [m.span() for m in re.finditer(r'"[^"]*"|-?\d+|[][{},:]', text)]
        values = [m.span() for m in re.finditer(r'-?\d+|"[^"]*"(?!:)|\[[^][]*\]', text)]
        if kind == 0 and values:
            a, b = rng.choice(values)
            text = text[:a] + rng.choice(VALUES) + text[b:]
        elif kind == 1 and values:
            (a, b), (c, d) = rng.choice(values), rng.choice(values)
            text = text[:a] + text[c:d] + text[b:]
        elif kind == 2 and (numbers := [m.span() for m in re.finditer(r"\d+", text)]):
            a, b = rng.choice(numbers)
            text = text[:a] + str(int(text[a:b]) + rng.choice([-1, 1, 4])) + text[b:]
        elif kind == 3 and tokens:
            a, b = rng.choice(tokens)
            text = text[:a] + text[b:]
        elif kind == 4 and tokens:
            (a, b), (c, _) = rng.choice(tokens), rng.choice(tokens)
            text = text[:c] + text[a:b] + text[c:]
        elif kind == 5:
            a = rng.randrange(len(text) + 1)
            text = text[:a] + rng.choice(list(' \n\t{}[],:"\\0-.eE\x00\x01\x7f\ufeff')) + text[a:]
        elif kind == 6 and (found := re.findall(r'"[^"]*":\{[^{}]*\}', text)):
            text = text.replace("{", "{" + rng.choice(found) + ",", 1)
        elif kind == 8 and (openers := [m.end() for m in re.finditer(r"\{", text)]):
            a = rng.choice(openers)
            text = text[:a] + f'"x":{rng.choice(VALUES)},' + text[a:]
        elif kind == 9:  # what the reference takes, and this loader does not
            old, new = rng.choice(ODDITIES)
            text = re.sub(old, new, text, count=1)
        elif kind == 7 and text:
            raw = bytearray(text.encode())
            raw[rng.randrange(len(raw))] = rng.randrange(256)
            return bytes(raw)
    return text.encode()


def file_of(header: bytes, n_data: int) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(i % 256 for i in range(n_data))


def make_file(rng: random.Random) -> bytes:
    """A safetensors file that may be wrong."""
    text, n_data = make_header(rng)
    header = mutate(rng, text)
    n_data = max(n_data + rng.choice([0] * 12 + [-1, 1]), 0)
    whole = bytearray(file_of(header, n_data))
    if rng.random() < 0.05:
        length = rng.choice([0, len(header) - 1, len(header) + 1, 100000001, 2**63, 2**64 - 1])
        whole[:8] = struct.pack("<Q", max(length, 0))
    elif rng.random() < 0.05:
        whole[rng.randrange(min(len(whole), 12))] ^= 1 << rng.randrange(8)
    return bytes(whole[: rng.randrange(len(whole))] if rng.random() < 0.03 else whole)


def header_of(data: bytes) -> bytes:
    return data[8 : 8 + struct.unpack("<Q", data[:8])[0]] if len(data) >= 8 else b""


# ---- verdicts ---------------------------------------------------------------------------------------------


def judge_safetensors(data: bytes) -> dict[str, list[Any]] | None:
    """What the reference reads, or None if it refuses."""
    try:
        read: list[tuple[str, dict[str, Any]]] = deserialize(data)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError):
        return None
    return {name: [t["dtype"], t["shape"], bytes(t["data"])] for name, t in read}


def refuse(token: str) -> None:
    raise ValueError(token)


def judge_json(data: bytes) -> bool:
    """Whether Python reads the text as strict JSON; what it alone tolerates is refused."""
    try:
        # all members of an object, those that a later one of the same name would hide as well
        value = json.loads(data.decode("utf-8"), parse_constant=refuse, object_pairs_hook=Pairs)
        # no half of a surrogate pair, no infinity
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return False
    return not data.startswith(b"\xef\xbb\xbf")


def verdicts(program: str, paths: list[Path], mode: str) -> list[dict[str, Any]]:
    lines = "".join(f"{path}\n" for path in paths)
    run = subprocess.run(
        [program, mode], input=lines, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def compare_tensors(ours: dict[str, list[Any]], theirs: dict[str, list[Any]], data: bytes) -> str | None:
    if set(ours) != set(theirs):
        return f"names {sorted(ours)}, reference {sorted(theirs)}"
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    for name, (dtype, shape, offset, n_bytes) in ours.items():
        view = data[begin + offset : begin + offset + n_bytes]
        if [dtype, shape, view] != theirs[name]:
            return f"{name}: {[dtype, shape, view]}, reference {theirs[name]}"
    return None


class Comparison:
    """Counts, and what differs."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.n = self.accepted = self.both_refuse = 0
        self.reasons: Counter[str] = Counter()
        self.faults: list[str] = []

    def fault(self, what: str, data: bytes) -> None:
        self.faults.append(f"{what}: {data[:4000]!r}")

    def refused_alone(self, error: str, text: bytes, data: bytes) -> None:
        reason = reason_of(error, text)
        if reason is None:
            self.fault(f"refused, and the reference accepts, for no listed reason: {error}", data)
        else:
            self.reasons[reason] += 1

    def add_safetensors(self, verdict: dict[str, Any], data: bytes) -> None:
        theirs = judge_safetensors(data)
        self.n += 1
        if verdict["ok"] and theirs is None:
            self.fault("accepted, and the reference refuses", data)
        elif verdict["ok"] and theirs is not None:
            self.accepted += 1
            if fault := compare_tensors(verdict["tensors"], theirs, data):
                self.fault(fault, data)
        elif theirs is not None:
            self.refused_alone(verdict["error"], header_of(data), data)
        else:
            self.both_refuse += 1

    def add_json(self, verdict: dict[str, Any], data: bytes) -> None:
        theirs = judge_json(data)
        self.n += 1
        self.accepted += verdict["ok"]
        if verdict["ok"] and not theirs:
            self.fault("accepted, and the reference refuses", data)
        elif theirs and not verdict["ok"]:
            self.refused_alone(verdict["error"], data, data)
        else:
            self.both_refuse += not theirs

    def add(self, mode: str, files: list[bytes]) -> None:
        """Compares files, some thousands at a time."""
        for start in range(0, len(files), 4000):
            part = files[start : start + 4000]
            with tempfile.TemporaryDirectory() as folder:
                paths = [Path(folder, f"{i}.{mode}") for i in range(len(part))]
                for path, data in zip(paths, part, strict=True):
                    path.write_bytes(data)
                judged = verdicts(self.program, paths, mode)
            for verdict, data in zip(judged, part, strict=True):
                (self.add_safetensors if mode == "safetensors" else self.add_json)(verdict, data)

    def report(self, what: str) -> bool:
        alone = sum(self.reasons.values())
        print(
            f"{what}: {self.n} files: {self.accepted} accepted by both, {self.both_refuse} refused by both, "
            f"{alone} refused here alone, {len(self.faults)} differ"
        )
        for name, n in sorted(self.reasons.items()):
            print(f"    {n:7} {name}")
        for fault in self.faults[:20]:
            print(fault)
        return not self.faults


def check_examples(program: str) -> bool:
    """Every reason is one: the reference accepts its example, and this loader refuses it for that reason."""
    fine = True
    listed = (Path(__file__).parents[2] / "docs" / "loader.md").read_text()
    for reason in REASONS:
        if f"| {reason.name} |" not in listed:
            print(f"{reason.name}: not in docs/loader.md")
            fine = False
        comparison = Comparison(program)
        comparison.add("safetensors", [file_of(reason.example.encode(), reason.n_data)])
        if comparison.reasons != Counter([reason.name]):
            print(f"{reason.name}: its example shows {dict(comparison.reasons)} {comparison.faults}")
            fine = False
    return fine


def read_files(paths: list[Path]) -> list[bytes]:
    found = [p for path in paths for p in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return [path.read_bytes() for path in found if path.is_file()]


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("verdicts")
    ap.add_argument("files", type=Path, nargs="*")
    ap.add_argument("--count", type=int, default=3000, help="mutants of each kind (3000)")
    ap.add_argument("--seed", type=int, default=1)
    args = ap.parse_intermixed_args()
    fine = check_examples(args.verdicts)
    if args.files:
        comparison = Comparison(args.verdicts)
        comparison.add("safetensors", read_files(args.files))
        fine &= comparison.report("files")
    for mode in ("safetensors", "json"):
        rng = random.Random(args.seed)
        comparison = Comparison(args.verdicts)
        for start in range(0, args.count, 20000):
            n = min(20000, args.count - start)
            if mode == "safetensors":
                comparison.add(mode, [make_file(rng) for _ in range(n)])
            else:
                headers = (make_header(rng)[0] for _ in range(n))
                comparison.add(
                    mode, [mutate(rng, mutate(rng, h).decode("utf-8", "replace")) for h in headers]
                )
        fine &= comparison.report(f"{mode}, seed {args.seed}")
        # too few accepted, or too many, and the comparison would show nothing
        if not args.count // 20 < comparison.accepted < args.count * 19 // 20:
            print(f"{comparison.accepted} of {args.count} accepted: the mutants are no test")
            fine = False
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
