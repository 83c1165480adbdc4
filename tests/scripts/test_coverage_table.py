#!/usr/bin/env python3
"""What scripts/coverage_table.py counts, excludes and refuses."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import coverage_table  # noqa: E402

SOURCES = {
    "loader/a.c": ["if (a && b)", "    assert(a);", "return;"],
    "text/b.c": ["if (c)", "d();"],
    "cli/c.c": ["if (e)"],
}


def line(number: int, count: int, *branches: int, function: str = "f") -> dict[str, Any]:
    return {
        "line_number": number,
        "function_name": function,
        "count": count,
        "branches": [{"count": branch} for branch in branches],
    }


class Table(unittest.TestCase):
    def check(self, exclusions: str = "", **lines: list[dict[str, Any]]) -> tuple[int, str]:
        """Exit status and output; `lines` by the file's name without its folder and suffix."""
        with tempfile.TemporaryDirectory() as temp:
            root = Path(temp)
            files = []
            for name, text in SOURCES.items():
                (root / name).parent.mkdir(exist_ok=True)
                (root / name).write_text("\n".join(text))
                files.append({"file": name, "lines": lines.get(Path(name).stem, [line(1, 1, 1, 1)])})
            (root / "report.json").write_text(json.dumps({"files": files}))
            (root / "exclusions.txt").write_text(exclusions)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                status = coverage_table.main(
                    [str(root / "report.json"), "--root", temp, "--exclusions", str(root / "exclusions.txt")]
                )
            return status, out.getvalue()

    def test_all_is_well(self) -> None:
        status, out = self.check()
        self.assertEqual(status, 0, out)
        self.assertIn("100.00 %", out)

    def test_an_untaken_branch_of_a_reader(self) -> None:
        status, out = self.check(a=[line(1, 3, 3, 0)])
        self.assertEqual(status, 1)
        self.assertIn("loader/a.c:1: 1 of 2 branches not taken: if (a && b)", out)

    def test_an_untaken_branch_elsewhere(self) -> None:
        self.assertEqual(self.check(c=[line(1, 3, 3, 0)])[0], 0)

    def test_an_assert_that_holds(self) -> None:
        self.assertEqual(self.check(a=[line(2, 3, 3, 0)])[0], 0)

    def test_lines_that_did_not_run(self) -> None:
        status, out = self.check(b=[line(1, 1), line(2, 0)], c=[line(1, 1)])
        self.assertEqual(status, 1)
        self.assertIn("fewer than 90 % of all lines", out)

    def test_a_line_of_two_functions_is_one_line(self) -> None:
        _, out = self.check(a=[line(1, 0, function="f"), line(1, 1, function="g"), line(3, 1)])
        self.assertRegex(out, r"loader +2 of +2 +100.00 %")

    def test_exclusions(self) -> None:
        untaken = [line(1, 3, 3, 0)]
        self.assertEqual(self.check("# why\nloader/a.c | a && b | always so\n", a=untaken)[0], 0)
        status, out = self.check("text/b.c | if (c) | always so\n", b=[line(1, 3, 3, 1)])
        self.assertEqual(status, 1)
        self.assertIn("exclusions.txt:1: excludes nothing", out)
        with self.assertRaises(ValueError):
            self.check("loader/a.c | no reason\n")


if __name__ == "__main__":
    unittest.main()
