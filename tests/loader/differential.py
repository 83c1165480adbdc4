"""Mutants of valid files: nothing that the reference refuses may be accepted here.

usage: differential.py VERDICTS [SEED [COUNT]]

VERDICTS is the program loader_verdicts. Safetensors files are compared with PyPI's safetensors, JSON
texts with Python's json made strict. Where the reference accepts and this loader does not, the reason must be
one of those that docs/loader.md lists. Exits with 77 (skipped) where safetensors is not installed.
"""

from __future__ import annotations

import json
import random
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

try:
    from safetensors import SafetensorError, deserialize
except ImportError:
    print("skipped: no safetensors for this Python", file=sys.stderr)
    sys.exit(77)

# What docs/loader.md lists as refused beyond the reference, by the end of the message.
STRICTER = re.compile(
    r"duplicate key$|\\u0000 is not supported$|at most 8 is supported$|nested deeper than 64$"
    r"|number of more than 63 characters$|expected an integer from 0 to 9007199254740991, found [0-9.e+]+$"
    r"|header: [^:]*: expected an object$|dtype: expected a string, found an object$"
)
BITS = {"BOOL": 8, "F4": 4, "F6_E2M3": 6, "U8": 8, "F8_E4M3": 8, "BF16": 16, "F16": 16, "F32": 32, "I64": 64}
VALUES = """0 1 -1 -0 2.0 1e0 01 4294967296 9007199254740992 18446744073709551615 18446744073709551616 1e999
    null true NaN "1" [] {} "\\ud800" "\\u0000" "F32" [0,0]""".split()


def make_header(rng: random.Random) -> tuple[str, int]:
    """A valid header, and the bytes of data that it describes."""
    tensors: list[tuple[str, str]] = []
    end = 0
    for i in range(rng.randrange(5)):
        dtype = rng.choice(list(BITS))
        shape = [rng.choice([0, 1, 2, 3, 4, 8]) for _ in range(rng.randrange(4))]
        count = 1
        for n in shape:
            count *= n
        if count * BITS[dtype] % 8:
            dtype = "U8"
        begin, end = end, end + count * BITS[dtype] // 8
        fields = [f'"dtype":"{dtype}"', f'"shape":{json.dumps(shape)}', f'"data_offsets":[{begin},{end}]']
        if rng.random() < 0.1:
            fields.append('"x":[1.5,{"y":null}]')
        rng.shuffle(fields)
        tensors.append((rng.choice(["", "t.", "é", "\\u00e9"]) + str(i), "{" + ",".join(fields) + "}"))
    rng.shuffle(tensors)
    members = [f'"{name}":{text}' for name, text in tensors]
    if rng.random() < 0.3:
        members.insert(rng.randrange(len(members) + 1), '"__metadata__":{"format":"pt"}')
    return "{" + ",".join(members) + "}" + " " * rng.randrange(3), end


def mutate(rng: random.Random, text: str) -> bytes:
    """The text with a few changes, most of them such that it stays JSON."""
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        kind = rng.randrange(8)
        tokens = [m.span() for m in re.finditer(r'"[^"]*"|-?\d+|[][{},:]', text)]
        values = [m.span() for m in re.finditer(r'-?\d+|"[^"]*"(?!:)', text)]
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
        elif kind == 6 and (members := re.findall(r'"[^"]*":\{[^{}]*\}', text)):
            text = text.replace("{", "{" + rng.choice(members) + ",", 1)
        elif kind == 7 and text:
            raw = bytearray(text.encode())
            raw[rng.randrange(len(raw))] = rng.randrange(256)
            return bytes(raw)
    return text.encode()


def make_file(rng: random.Random) -> bytes:
    """A safetensors file that may be wrong."""
    text, n_data = make_header(rng)
    header = mutate(rng, text)
    length, n_data = len(header), n_data + rng.choice([0] * 12 + [-1, 1])
    if rng.random() < 0.05:
        length = rng.choice([0, length - 1, length + 1, 100000001, 2**63, 2**64 - 1])
    whole = struct.pack("<Q", max(length, 0)) + header + bytes(i % 256 for i in range(max(n_data, 0)))
    return whole[: rng.randrange(len(whole))] if rng.random() < 0.03 else whole


def judge_safetensors(data: bytes) -> dict[str, list[Any]] | None:
    """What the reference reads, or None if it refuses."""
    try:
        tensors: list[tuple[str, dict[str, Any]]] = deserialize(data)  # type: ignore[no-untyped-call]
    except (SafetensorError, ValueError):
        return None
    return {name: [t["dtype"], t["shape"], bytes(t["data"])] for name, t in tensors}


def refuse(token: str) -> None:
    raise ValueError(token)


def judge_json(data: bytes) -> bool:
    """Whether Python reads the text as strict JSON; what it alone tolerates is refused."""
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=refuse)
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


def compare_safetensors(program: str, folder: Path, rng: random.Random, count: int) -> tuple[int, list[str]]:
    files = [make_file(rng) for _ in range(count)]
    paths = [folder / f"{i}.safetensors" for i in range(count)]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    accepted, faults = 0, []
    for verdict, data in zip(verdicts(program, paths, "safetensors"), files, strict=True):
        theirs = judge_safetensors(data)
        if verdict["ok"] and theirs is None:
            faults.append(f"accepted, and the reference refuses: {data!r}")
        elif verdict["ok"] and theirs is not None:
            accepted += 1
            if fault := compare_tensors(verdict["tensors"], theirs, data):
                faults.append(f"{fault}: {data!r}")
        elif theirs is not None and not STRICTER.search(verdict["error"]):
            faults.append(f"refused, and the reference accepts: {verdict['error']}: {data!r}")
    return accepted, faults


def compare_json(program: str, folder: Path, rng: random.Random, count: int) -> tuple[int, list[str]]:
    texts = [mutate(rng, mutate(rng, make_header(rng)[0]).decode("utf-8", "replace")) for _ in range(count)]
    paths = [folder / f"{i}.json" for i in range(count)]
    for path, data in zip(paths, texts, strict=True):
        path.write_bytes(data)
    accepted, faults = 0, []
    for verdict, data in zip(verdicts(program, paths, "json"), texts, strict=True):
        theirs = judge_json(data)
        accepted += verdict["ok"]
        if verdict["ok"] != theirs and (verdict["ok"] or not STRICTER.search(verdict["error"])):
            faults.append(f"{verdict}, reference {theirs}: {data!r}")
    return accepted, faults


def main() -> int:
    program = sys.argv[1]
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 3000
    status = 0
    for compare in (compare_safetensors, compare_json):
        with tempfile.TemporaryDirectory() as folder:
            accepted, faults = compare(program, Path(folder), random.Random(seed), count)
        print(f"{compare.__name__}: seed {seed}, {count} files, {accepted} accepted, {len(faults)} faults")
        print("\n".join(faults[:20]))
        # Too few accepted, or too many, and the comparison would show nothing.
        if faults or not count // 20 < accepted < count * 19 // 20:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
