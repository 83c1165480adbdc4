"""moe-run --tokenize and --detokenize, and where moe-run looks for a model."""

from __future__ import annotations

import os
import shutil
import tempfile
import unittest
from pathlib import Path

from programs import MODEL, ProgramCase, ids_of

LINES = [
    "Once upon a time, there was a fox.",
    "",
    "   three spaces,\ttab",
    "üñîçødé 狐 🦊 e\u0301",
    'quotes " and backslash \\ and \\n',
    "a",
    "trailing space ",
    "\r",
    "nul \0 byte",
]


class Tokenize(ProgramCase):
    def lines_of(self, option: str, data: bytes, *args: str) -> list[bytes]:
        out = self.output_of(option, *args, stdin=data)
        self.assertTrue(out == b"" or out.endswith(b"\n"))
        return out.split(b"\n")[:-1]

    def test_a_line_in_a_line_out(self) -> None:
        together = self.lines_of("--tokenize", "\n".join(LINES).encode() + b"\n")
        self.assertEqual(len(together), len(LINES))
        for text, line in zip(LINES, together, strict=True):
            self.assertEqual(self.lines_of("--tokenize", text.encode() + b"\n"), [line])
            self.assertEqual(line == b"", text == "")
            self.assertRegex(line, rb"\A(\d+(,\d+)*)?\Z")

    def test_the_last_line_needs_no_newline(self) -> None:
        self.assertEqual(
            self.lines_of("--tokenize", b"a fox\nan owl"), self.lines_of("--tokenize", b"a fox\nan owl\n")
        )
        self.assertEqual(self.lines_of("--tokenize", b""), [])
        self.assertEqual(self.lines_of("--tokenize", b"\n"), [b""])

    def test_detokenize_is_the_inverse(self) -> None:
        text = "\n".join(
            line.replace("e\u0301", "\u00e9") for line in LINES
        )  # the model's tokenizer composes
        ids = b"\n".join(self.lines_of("--tokenize", text.encode())) + b"\n"
        shown = self.output_of("--detokenize", stdin=ids)
        self.assertEqual(shown.decode(), text.replace("\\", "\\\\").replace("\r", "\\r") + "\n")
        again = b"\n".join(self.lines_of("--tokenize", shown, "--escaped")) + b"\n"
        self.assertEqual(again, ids)

    def test_escapes(self) -> None:
        (line,) = self.lines_of("--tokenize", rb"one\ntwo\r\\n", "--escaped")
        (shown,) = self.lines_of("--detokenize", line)
        self.assertEqual(shown, rb"one\ntwo\r\\n")
        self.assertNotEqual(self.lines_of("--tokenize", rb"one\ntwo\r\\n"), [line])
        for bad in (rb"a\tb", b"a\\", rb"\\\x"):
            self.assert_refused_at_line_2("--tokenize", "--escaped", stdin=b"a\n" + bad)

    def test_special_tokens(self) -> None:
        (line,) = self.lines_of("--tokenize", b"a<|im_end|>b")
        self.assertEqual(self.lines_of("--detokenize", line), [b"a<|im_end|>b"])
        self.assertEqual(self.lines_of("--detokenize", line, "--skip-special"), [b"ab"])

    def test_ids_that_nobody_has_decode_to_nothing(self) -> None:
        (fox,) = self.lines_of("--tokenize", b" fox")
        for ids in (b"4096," + fox, fox + b",4294967295", b"99999999999," + fox, b" " + fox + b" , 5000 "):
            self.assertEqual(self.lines_of("--detokenize", ids), [b" fox"])
        self.assertEqual(self.lines_of("--detokenize", b"1000000\n\n" + fox + b"\r\n"), [b"", b"", b" fox"])

    def assert_refused_at_line_2(self, *args: str, stdin: bytes) -> None:
        done = self.run_program(*args, stdin=stdin)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"line 2", done.stderr)
        self.assertEqual(done.stderr.count(b"\n"), 1)
        self.assertEqual(done.stdout.count(b"\n"), 1)  # line 1 is answered

    def test_wrong_lines_are_named(self) -> None:
        self.assert_refused_at_line_2("--tokenize", stdin=b"fine\nnot \xff\xfe UTF-8\n")
        wrong = (b"x", b"1,", b",1", b"1,,2", b"-1", b"1 2", b"1.5", b"1,\x002", b"1\x00", b"9" * 23)
        for line in wrong:
            with self.subTest(line=line):
                self.assert_refused_at_line_2("--detokenize", stdin=b"1\n" + line + b"\n")

    def test_only_tokenizer_json_is_needed(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(MODEL / "tokenizer.json", folder)
            self.assertEqual(
                self.output_of(folder, "--tokenize", stdin=b"a fox\n"),
                self.output_of("--tokenize", stdin=b"a fox\n"),
            )
            self.assertEqual(self.output_of("-m", folder, "--detokenize", stdin=b"65\n").count(b"\n"), 1)
        with tempfile.TemporaryDirectory() as folder:
            self.assert_refused(1, folder, "--tokenize", says="tokenizer.json")

    def test_long_lines(self) -> None:
        word = b"x" * 300_000
        (line,) = self.lines_of("--tokenize", word)
        self.assertEqual(self.lines_of("--detokenize", line), [word])


class Cache(ProgramCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def add(self, cache: Path, repository: str, commit: str, is_main: bool = True) -> Path:
        """A snapshot as huggingface_hub lays it out: links to blobs."""
        base = cache / repository
        snapshot = base / "snapshots" / commit
        (base / "blobs").mkdir(parents=True, exist_ok=True)
        snapshot.mkdir(parents=True)
        for file in MODEL.iterdir():
            blob = base / "blobs" / file.name
            if not blob.exists():
                shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")
        if is_main:
            (base / "refs").mkdir(exist_ok=True)
            (base / "refs" / "main").write_text(commit)
        return snapshot

    def assert_found(self, snapshot: Path, model: str, **env: str | None) -> None:
        out = self.output_of(model, "--ids", "1", "-n", "1", "--json", env=env, cwd=self.folder).decode()
        self.assertIn(f'"path": "{snapshot}"', out)

    def test_places(self) -> None:
        home, xdg, hf, hub = (self.folder / name for name in ("home", "xdg", "hf", "hub"))
        at_home = self.add(home / ".cache/huggingface/hub", "models--org--tale", "a1")
        at_xdg = self.add(xdg / "huggingface/hub", "models--org--tale", "b2")
        at_hf = self.add(hf / "hub", "models--org--tale", "c3")
        at_hub = self.add(hub, "models--org--tale", "d4")
        env: dict[str, str | None] = {"HOME": str(home)}
        self.assert_found(at_home, "org/tale", **env)
        env["XDG_CACHE_HOME"] = str(xdg)
        self.assert_found(at_xdg, "org/tale", **env)
        env["HF_HOME"] = str(hf)
        self.assert_found(at_hf, "org/tale", **env)
        env["HF_HUB_CACHE"] = str(hub)
        self.assert_found(at_hub, "org/tale", **env)
        self.assert_found(at_home, "org/tale", HOME=str(home), HF_HOME="~/.cache/huggingface")
        self.assert_refused(1, "org/other", "--ids", "1", env=env, says=str(hub))

    def test_commits(self) -> None:
        old = self.add(self.folder, "models--org--tale", "aa11", is_main=True)
        new = self.add(self.folder, "models--org--tale", "bb22", is_main=False)
        os.utime(old, (1, 1))
        cache = {"HF_HUB_CACHE": str(self.folder)}
        refs = self.folder / "models--org--tale/refs/main"
        self.assert_found(old, "org/tale", **cache)
        refs.write_text("bb22\n")
        self.assert_found(new, "org/tale", **cache)
        for content in ("cc33", "", "../../..", "a" * 200, "not a commit"):
            refs.write_text(content)
            self.assert_refused(1, "org/tale", "--ids", "1", env=cache, says="refs/main")
        refs.unlink()
        self.assert_found(new, "org/tale", **cache)  # the newest, without a ref
        os.utime(new, (0, 0))
        self.assert_found(old, "org/tale", **cache)

    def test_names(self) -> None:
        snapshot = self.add(self.folder, "models--gpt", "aa")
        cache = {"HF_HUB_CACHE": str(self.folder)}
        self.assert_found(snapshot, "gpt", **cache)
        for name in ("../gpt", "a/b/c", "/gpt", "gpt/", ".gpt", "g pt"):
            self.assert_refused(1, name, "--ids", "1", env=cache)

    def test_a_directory_comes_first_and_the_cache_stays_as_it_is(self) -> None:
        self.add(self.folder / "hub", "models--org--tale", "aa")
        local = self.folder / "org/tale"
        shutil.copytree(MODEL, local)
        before = sorted(map(str, (self.folder / "hub").rglob("*")))
        self.assert_found(Path("org/tale"), "org/tale", HF_HUB_CACHE=str(self.folder / "hub"))
        shutil.rmtree(local)
        self.output_of("org/tale", "--ids", "1", "-n", "1", env={"HF_HUB_CACHE": str(self.folder / "hub")})
        self.assertEqual(sorted(map(str, (self.folder / "hub").rglob("*"))), before)

    def test_add_bos(self) -> None:
        plain = ids_of(self.output_of("--tokenize", stdin=b"a fox"))
        self.assertGreater(len(plain), 0)
        answer = self.run_program("-p", "a fox", "-n", "1", "--add-bos", "--json", "--quiet")
        config = (MODEL / "config.json").read_text()
        if '"bos_token_id"' in config and '"bos_token_id": null' not in config:
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertIn(f'"prompt_tokens": {len(plain) + 1}'.encode(), answer.stdout)
        else:
            self.assertEqual(answer.returncode, 1)
            self.assertIn(b"bos_token_id", answer.stderr)


if __name__ == "__main__":
    unittest.main()
