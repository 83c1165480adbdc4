#!/usr/bin/env python3
"""Write the committed fixtures that were computed by transformers.

    make_fixtures.py [--only SUBSTRING ...] [--check]

tests/fixtures/exact/<family>-<variant>/  a tiny random checkpoint and reference.safetensors, the dump of all
    quantities (see dump_reference.py; the long ones without ffn_in and ffn_out). tests/exact/README.md lists
    the variants.
tests/fixtures/exact/<family>-block/  a one-layer checkpoint of more realistic width and reference.safetensors
    with what its MoE block alone made of random input: ffn_in.0, ffn_out.0, router.0, experts.0.
tests/fixtures/structure/<family>.json  a config; <family>.txt, <family>-fused.txt, <family>-mlx.txt: the
    tensors it expects in each layout that the family has, one line "NAME [D0,D1]" each, sorted by bytes.

A checkpoint whose run comes within 1e-4 of a tie (two largest logits, or the router scores of the last expert
chosen and the first left out), or that repeats itself, is drawn again from the next seed. Where a variant is
about a feature, the same weights also run without it, and the logits must differ: a fixture that cannot tell
is refused.
--check writes nothing: it runs every committed checkpoint again and compares with its reference.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from dump_reference import (
    Dump,
    auto_model,
    decoder_layers,
    dump,
    ffn_parts,
    load_model,
    metadata_of,
    record,
    smallest_margin,
    write_dump,
)
from families import FAMILIES
from families.family import QUANTITIES, Case
from families.storage_cases import CASES as STORAGE_CASES
from random_checkpoint import Variant, prompt_ids, relayout, write, write_json
from safetensors import safe_open
from safetensors.torch import load_file

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
MARGIN = 1e-4
BITE = 1e-2  # least change of a logit that shows a feature at work, in units of the logits' deviation


def is_clear(d: Dump, variant: Variant) -> bool:
    """Far from every tie, and not repeating itself."""
    distinct = len(set(d.tensors["generated_ids"].tolist()))
    return smallest_margin(d) >= MARGIN and distinct >= variant.n_generate // 2


def differs(d: Dump, other: Dump) -> bool:
    """By more than rounding, in the rows that both fed alike."""
    expected, logits = d.tensors["logits"], other.tensors["logits"]
    if not torch.equal(d.tensors["generated_ids"], other.tensors["generated_ids"]):
        return True
    return float((logits - expected).abs().max()) > BITE * float(expected.std())


def bites_by_config(directory: Path, c: Case, variant: Variant, d: Dump) -> bool:
    """Whether the same weights give other logits where the feature is off in config.json."""
    with tempfile.TemporaryDirectory() as temp:
        other = Path(temp) / "checkpoint"
        shutil.copytree(directory, other)
        plain = Path(temp) / "plain"
        write(replace(variant, config={**variant.config, **c.without}), plain)
        shutil.copy(plain / "config.json", other / "config.json")
        fed = torch.cat([d.tensors["prompt_ids"], d.tensors["generated_ids"][:-1]]).tolist()
        logits = dump(load_model(other), fed, 0, set()).tensors["logits"]
    expected = d.tensors["logits"]
    return float((logits - expected).abs().max()) > BITE * float(expected.std())


def bites(directory: Path, c: Case, variant: Variant, d: Dump) -> bool:
    if c.without and not bites_by_config(directory, c, variant, d):
        return False
    if c.spoil is None:
        return True
    model = load_model(directory)
    c.spoil(model)
    return differs(d, dump(model, d.tensors["prompt_ids"].tolist(), variant.n_generate, set()))


def make_case(family: str, c: Case, out: Path) -> None:
    for seed in range(100):
        variant = Variant(family=family, name=c.name, config=c.config, seed=seed, **c.options)
        shutil.rmtree(out, ignore_errors=True)
        write(variant, out)
        d = dump(load_model(out), prompt_ids(variant), variant.n_generate, set(c.wanted))
        if is_clear(d, variant) and bites(out, c, variant, d):
            d.metadata |= {"variant": variant.describe(), "checkpoint_seed": str(seed)}
            write_dump(d, out / "reference.safetensors")
            print(f"{out.name}: {variant.describe()}")
            return
    raise SystemExit(f"{out.name}: no seed in 100 keeps clear of ties, or the feature changes nothing")


@torch.no_grad()
def run_block(directory: Path, x: torch.Tensor) -> Dump:
    model = load_model(directory)
    parts = ffn_parts(decoder_layers(model)[0])
    with record(model, {"ffn", "experts", "router"}) as recording:
        for part in parts:
            part(x[None])
    metadata = {**metadata_of(model, recording), "block": type(parts[0]).__name__}
    tensors = {name: pieces[0] for name, pieces in recording.pieces.items()}
    return Dump(tensors, metadata, recording, model.config.get_text_config())


def make_block(family: str, out: Path) -> None:
    for seed in range(100):
        variant = Variant(
            family=family, name="block", config=FAMILIES[family].block, plain_std=0.02, seed=seed
        )
        shutil.rmtree(out, ignore_errors=True)
        write(variant, out)
        c = variant.full_config()
        hidden = int(c.get("hidden_size") or c["d_model"])
        x = torch.randn(16, hidden, generator=torch.Generator().manual_seed(seed))
        d = run_block(out, x)
        if smallest_margin(d) >= MARGIN:
            d.metadata |= {"variant": variant.describe(), "checkpoint_seed": str(seed)}
            write_dump(d, out / "reference.safetensors")
            print(f"{out.name}: {d.metadata['block']}, {variant.describe()}")
            return
    raise SystemExit(f"{out.name}: no seed in 100 keeps clear of ties")


def structure_text(shapes: dict[str, tuple[int, ...]]) -> str:
    lines = [f"{name} [{','.join(map(str, shape))}]\n" for name, shape in shapes.items()]
    return "".join(sorted(lines, key=str.encode))


def structure_of(family: str, directory: Path) -> dict[str, str]:
    """Ending of the file -> text. Hub and fused are what transformers itself writes and holds; mlx follows
    from Hub. Where a family has no fused layout, transformers holds what the Hub has."""
    from transformers import AutoConfig

    of = FAMILIES[family]
    c = Variant(family=family, config=of.structure).full_config()
    write_json(directory / f"{family}.json", c)
    for alias in of.aliases:
        write_json(directory / f"{alias}.json", {**c, "model_type": alias})
    with tempfile.TemporaryDirectory() as temp:
        write_json(Path(temp) / "config.json", c)
        model = auto_model().from_config(AutoConfig.from_pretrained(temp), dtype=torch.float32)
        fused = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        model.save_pretrained(temp)
        hub: dict[str, tuple[int, ...]] = {}
        with safe_open(Path(temp) / "model.safetensors", "pt") as f:
            for name in f.keys():  # noqa: SIM118
                hub[name] = tuple(f.get_slice(name).get_shape())
    if "lm_head.weight" not in hub:  # tied: the model holds the embedding under both names
        fused.pop("lm_head.weight", None)
    if hub != of.shapes(c):
        odd = sorted(hub.items() ^ of.shapes(c).items())
        raise SystemExit(f"{family}: families/{family}.py and transformers expect different tensors: {odd}")
    zeros = {name: torch.zeros(shape) for name, shape in hub.items()}
    held = {layout: relayout(zeros, of, layout) for layout in of.layouts}
    for name in [
        n for n in held["hub"] if of.optional is not None and of.optional(n, c) and ".experts." in n
    ]:
        del held["hub"][name]  # experts that do nothing: transformers wants them, nobody reads them
    texts = {layout: structure_text({n: tuple(t.shape) for n, t in held[layout].items()}) for layout in held}
    # without a fused layout, transformers holds what the files do
    ours = {n: tuple(t.shape) for n, t in held.get("fused", zeros).items()}
    if fused != ours:
        odd = sorted(fused.items() ^ ours.items())
        raise SystemExit(f"{family}: families/{family}.py and transformers differ in the fused layout: {odd}")
    return {"" if layout == "hub" else f"-{layout}": text for layout, text in texts.items()}


def make_structure(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for family, of in FAMILIES.items():
        for suffix, text in structure_of(family, directory).items():
            for name in (family, *of.aliases):
                (directory / f"{name}{suffix}.txt").write_text(text)
                print(f"structure/{name}{suffix}.txt: {text.count(chr(10))} tensors")


def check(directory: Path) -> bool:
    """Whether transformers computes the committed reference from the committed checkpoint."""
    reference = load_file(directory / "reference.safetensors")
    if "logits" in reference:
        ids = reference["prompt_ids"].tolist()
        present = {name.split(".")[0].split("_")[0] for name in reference} & set(QUANTITIES)
        d = dump(load_model(directory), ids, len(reference["generated_ids"]), present)
    else:
        d = run_block(directory, reference["ffn_in.0"])
    worst = 0.0
    same = d.tensors.keys() == reference.keys()
    for name in reference.keys() & d.tensors.keys():
        if reference[name].is_floating_point():
            worst = max(worst, float((reference[name] - d.tensors[name]).abs().max()))
        else:
            same = same and torch.equal(reference[name], d.tensors[name])
    ok = same and worst < 1e-4
    print(f"{directory.name}: {'equal' if ok else 'DIFFERENT'}, largest difference {worst:.2g}")
    return ok


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="SUBSTRING", help="fixtures whose name holds one"
    )
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    exact = FIXTURES / "exact"

    def wanted(name: str) -> bool:
        return not args.only or any(part in name for part in args.only)

    if args.check:
        directories = [d for d in sorted(exact.iterdir()) if wanted(d.name) and (d / "config.json").exists()]
        return 0 if all([check(d) for d in directories]) else 1
    for family, of in FAMILIES.items():
        for c in (*of.cases, *STORAGE_CASES.get(family, ())):
            if wanted(f"{family}-{c.name}"):
                make_case(family, c, exact / f"{family}-{c.name}")
        if wanted(f"{family}-block"):
            make_block(family, exact / f"{family}-block")
    if wanted("structure"):
        make_structure(FIXTURES / "structure")
    size = sum(f.stat().st_size for f in FIXTURES.glob("exact/**/*") if f.is_file())
    print(f"tests/fixtures/exact: {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
