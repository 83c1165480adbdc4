#!/usr/bin/env python3
"""Write the committed fixtures that were computed by transformers.

    make_fixtures.py [--only SUBSTRING ...] [--check]

tests/fixtures/exact/<family>-<variant>/  a tiny random checkpoint and reference.safetensors, the dump of all
    quantities (see dump_reference.py; the long ones without ffn_in and ffn_out). tests/exact/README.md lists
    the variants.
tests/fixtures/exact/<family>-block/  a one-layer checkpoint of more realistic width and reference.safetensors
    with what its MoE block alone made of random input: ffn_in.0, ffn_out.0, router.0, experts.0.
tests/fixtures/structure/<family>.json  a config; <family>.txt, <family>-fused.txt, <family>-mlx.txt: the
    tensors it expects in each layout, one line "NAME [D0,D1]" each, sorted by bytes.

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
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from dump_reference import (
    QUANTITIES,
    Dump,
    decoder_layers,
    dump,
    find_ffn,
    load_model,
    metadata_of,
    record,
    smallest_margin,
    write_dump,
)
from random_checkpoint import (
    ABSENT,
    FAMILIES,
    Config,
    Sizes,
    Variant,
    hub_shapes,
    prompt_ids,
    relayout,
    write,
    write_json,
)
from safetensors import safe_open
from safetensors.torch import load_file

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
MARGIN = 1e-4
BITE = 1e-2  # least change of a logit that shows a feature at work, in units of the logits' deviation


@dataclass(frozen=True)
class Case:
    variant: Variant
    without: Config = field(default_factory=dict)  # changes of config.json that switch the feature off
    wanted: tuple[str, ...] = QUANTITIES


def case(
    family: str,
    name: str,
    config: Config | None = None,
    without: Config | None = None,
    wanted: tuple[str, ...] = QUANTITIES,
    **options: Any,
) -> Case:
    return Case(Variant(family=family, name=name, config=config or {}, **options), without or {}, wanted)


ODD: Config = {"hidden_size": 40, "vocab_size": 61, "num_experts": 5, "num_experts_per_tok": 3}
LONG: dict[str, Any] = {"wanted": ("hidden", "experts", "router"), "n_prompt": 134, "n_generate": 8}
ONE: Config = {"num_hidden_layers": 1}
NO_ROPE: Config = {"rope_scaling": None}

CASES = [
    case("qwen3_moe", "default", without={"norm_topk_prob": False}),
    case(
        "qwen3_moe",
        "odd",
        {
            **ODD,
            "head_dim": 10,
            "num_key_value_heads": 4,
            "moe_intermediate_size": 20,
            "attention_bias": True,
        },
        dtypes=("F32",),
    ),
    case(
        "qwen3_moe",
        "tied",
        {"tie_word_embeddings": True},
        dtypes=("F16",),
        layout="fused",
        style="v5",
        shards=2,
    ),
    case("qwen3_moe", "dense", {"num_hidden_layers": 3, "mlp_only_layers": [1]}, layout="mlx"),
    case(
        "qwen3_moe",
        "sparse-step",
        {"num_hidden_layers": 3, "decoder_sparse_step": 2, "norm_topk_prob": ABSENT, "head_dim": ABSENT},
        {"norm_topk_prob": True},
        style="v4",
    ),
    case(
        "qwen3_moe",
        "window",
        {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0},
        {"sliding_window": 8},
        n_prompt=20,
    ),
    case("qwen3_moe", "long", {"rope_theta": 10000.0}, {"rope_theta": 11000.0}, shards=3, **LONG),
    case("qwen3_moe", "unaligned", dtypes=("F32", "BF16", "F16"), by_role=True, unaligned=True),
    case("qwen3_moe", "rope-linear", {**ONE, "rope_scaling": {"type": "linear", "factor": 4.0}}, NO_ROPE),
    case(
        "qwen3_moe",
        "rope-llama3",
        {
            **ONE,
            "max_position_embeddings": 256,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
            "rope_theta": 500.0,
        },
        NO_ROPE,
        n_prompt=40,
    ),
    case(
        "qwen3_moe",
        "rope-yarn",
        {
            **ONE,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            "rope_theta": 1000.0,
        },
        NO_ROPE,
        n_prompt=40,
    ),
    case(
        "qwen3_moe",
        "rope-yarn-untruncated",
        {
            **ONE,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "truncate": False,
                "beta_fast": 8,
                "beta_slow": 2,
                "attention_factor": 1.25,
            },
            "rope_theta": 1000.0,
        },
        {
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "beta_fast": 8,
                "beta_slow": 2,
                "attention_factor": 1.25,
            },
        },
        n_prompt=40,
    ),
    case(
        "qwen3_moe",
        "rope-dynamic",
        {
            **ONE,
            "max_position_embeddings": 32,
            "rope_scaling": {"rope_type": "dynamic", "factor": 3.0},
            "rope_theta": 1000.0,
        },
        NO_ROPE,
        n_prompt=40,
    ),
    case(
        "qwen3_moe",
        "rope-dynamic-grow",
        {
            **ONE,
            "max_position_embeddings": 24,
            "rope_scaling": {"rope_type": "dynamic", "factor": 3.0},
            "rope_theta": 1000.0,
        },
        NO_ROPE,
        n_prompt=16,
        n_generate=20,
        style="v5",
    ),
    case("olmoe", "default", without={"norm_topk_prob": True}),
    case("olmoe", "clip", {"clip_qkv": 0.7}, {"clip_qkv": None}),
    case(
        "olmoe",
        "gqa",
        {"num_key_value_heads": 2, "norm_topk_prob": True},
        {"norm_topk_prob": False},
        layout="mlx",
    ),
    case(
        "olmoe",
        "bias-tied",
        {"attention_bias": True, "tie_word_embeddings": True},
        dtypes=("F16",),
        layout="fused",
        style="v5",
    ),
    case(
        "olmoe",
        "odd",
        {**ODD, "intermediate_size": 20, "clip_qkv": 1.1, "rms_norm_eps": 1e-3, "num_key_value_heads": None},
        {"rms_norm_eps": 1e-5},
    ),
    case("olmoe", "all-experts", {"num_experts": 5, "num_experts_per_tok": 5}, shards=2),
    case("olmoe", "long", {"rope_theta": 500000.0}, {"rope_theta": 450000.0}, style="v5", **LONG),
    case("olmoe", "mixed", dtypes=("F32", "BF16", "F16"), unaligned=True),
    case("qwen2_moe", "default", without={"norm_topk_prob": True}),
    case(
        "qwen2_moe",
        "gqa",
        {"num_key_value_heads": 2, "head_dim": 12, "norm_topk_prob": True},
        {"norm_topk_prob": False},
        layout="mlx",
        style="v5",
    ),
    case(
        "qwen2_moe",
        "no-bias",
        {"qkv_bias": False, "tie_word_embeddings": True, "shared_expert_intermediate_size": 24},
        dtypes=("F32",),
    ),
    case(
        "qwen2_moe",
        "window",
        {"num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2},
        {"max_window_layers": 3},
        n_prompt=20,
    ),
    case(
        "qwen2_moe",
        "layer-types",
        {
            "use_sliding_window": True,
            "sliding_window": 5,
            "layer_types": ["full_attention", "sliding_attention"],
        },
        {"layer_types": None},
        style="v5",
        n_prompt=20,
    ),
    case(
        "qwen2_moe",
        "dense",
        {"num_hidden_layers": 4, "decoder_sparse_step": 2, "mlp_only_layers": [1]},
        layout="fused",
    ),
    case(
        "qwen2_moe",
        "odd",
        {**ODD, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 36},
        dtypes=("F16",),
    ),
    case("qwen2_moe", "mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
    case("qwen2_moe", "long", **LONG),
    case("mixtral", "default"),
    case("mixtral", "top-1", {"num_experts_per_tok": 1}, layout="mlx"),
    case("mixtral", "window", {"sliding_window": 5}, {"sliding_window": 6}, n_prompt=20),
    case(
        "mixtral",
        "odd",
        {
            "hidden_size": 40,
            "vocab_size": 61,
            "head_dim": None,
            "intermediate_size": 28,
            "num_local_experts": 5,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
        },
        dtypes=("F32",),
        layout="fused",
        style="v5",
    ),
    case("mixtral", "tied", {"tie_word_embeddings": True, "head_dim": 12}, dtypes=("F16",), style="v5"),
    case("mixtral", "mixed", dtypes=("F32", "BF16", "F16"), unaligned=True, shards=2),
    case("mixtral", "long", {"rope_theta": 10000.0, "sliding_window": 100}, {"sliding_window": None}, **LONG),
]

BLOCK: Config = {
    "hidden_size": 256,
    "num_hidden_layers": 1,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "vocab_size": 32,
    "bos_token_id": 30,
    "eos_token_id": 31,
    "num_experts_per_tok": 4,
}
BLOCKS: dict[str, Config] = {
    "qwen3_moe": {**BLOCK, "num_experts": 8, "moe_intermediate_size": 40},
    "olmoe": {
        **BLOCK,
        "head_dim": ABSENT,
        "hidden_size": 192,
        "num_key_value_heads": 1,
        "num_experts": 8,
        "intermediate_size": 48,
    },
    "qwen2_moe": {
        **BLOCK,
        "num_experts": 8,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 96,
    },
    "mixtral": {**BLOCK, "num_experts_per_tok": 2, "num_local_experts": 4, "intermediate_size": 80},
}

STRUCTURE: dict[str, Config] = {
    "qwen3_moe": {"num_hidden_layers": 3, "mlp_only_layers": [1], "attention_bias": True, "num_experts": 4},
    "olmoe": {"num_key_value_heads": 2, "attention_bias": True, "num_experts": 4},
    "qwen2_moe": {"num_hidden_layers": 3, "mlp_only_layers": [1], "num_experts": 4, "num_key_value_heads": 2},
    "mixtral": {"num_local_experts": 4},
}


def is_clear(d: Dump, variant: Variant) -> bool:
    """Far from every tie, and not repeating itself."""
    distinct = len(set(d.tensors["generated_ids"].tolist()))
    return smallest_margin(d, variant.top_k) >= MARGIN and distinct >= variant.n_generate // 2


def bites(directory: Path, c: Case, d: Dump) -> bool:
    if not c.without:
        return True
    with tempfile.TemporaryDirectory() as temp:
        other = Path(temp) / "checkpoint"
        shutil.copytree(directory, other)
        variant = replace(c.variant, config={**c.variant.config, **c.without})
        plain = Path(temp) / "plain"
        write(variant, plain)
        shutil.copy(plain / "config.json", other / "config.json")
        fed = torch.cat([d.tensors["prompt_ids"], d.tensors["generated_ids"][:-1]]).tolist()
        logits = dump(load_model(other), fed, 0, set()).tensors["logits"]
    expected = d.tensors["logits"]
    return float((logits - expected).abs().max()) > BITE * float(expected.std())


def make_case(c: Case, out: Path) -> None:
    for seed in range(100):
        variant = replace(c.variant, seed=seed)
        shutil.rmtree(out, ignore_errors=True)
        write(variant, out)
        d = dump(load_model(out), prompt_ids(variant), variant.n_generate, set(c.wanted))
        if is_clear(d, variant) and bites(out, c, d):
            d.metadata |= {"variant": variant.describe(), "checkpoint_seed": str(seed)}
            write_dump(d, out / "reference.safetensors")
            print(f"{out.name}: {variant.describe()}")
            return
    raise SystemExit(f"{out.name}: no seed in 100 keeps clear of ties, or the feature changes nothing")


@torch.no_grad()
def run_block(directory: Path, x: torch.Tensor) -> Dump:
    model = load_model(directory)
    block = find_ffn(decoder_layers(model)[0])
    assert block is not None
    with record(model, {"ffn", "experts", "router"}) as recording:
        block(x[None])
    metadata = {**metadata_of(model, recording), "block": type(block).__name__}
    return Dump({name: pieces[0] for name, pieces in recording.pieces.items()}, metadata, {})


def make_block(family: str, out: Path) -> None:
    for seed in range(100):
        variant = Variant(family=family, name="block", config=BLOCKS[family], plain_std=0.02, seed=seed)
        shutil.rmtree(out, ignore_errors=True)
        write(variant, out)
        hidden = int(variant.full_config()["hidden_size"])
        x = torch.randn(16, hidden, generator=torch.Generator().manual_seed(seed))
        d = run_block(out, x)
        if smallest_margin(d, variant.top_k) >= MARGIN:
            d.metadata |= {"variant": variant.describe(), "checkpoint_seed": str(seed)}
            write_dump(d, out / "reference.safetensors")
            print(f"{out.name}: {d.metadata['block']}, {variant.describe()}")
            return
    raise SystemExit(f"{out.name}: no seed in 100 keeps clear of ties")


def structure_text(shapes: dict[str, tuple[int, ...]]) -> str:
    lines = [f"{name} [{','.join(map(str, shape))}]\n" for name, shape in shapes.items()]
    return "".join(sorted(lines, key=str.encode))


def structure_of(family: str, directory: Path) -> dict[str, str]:
    """layout -> text. Hub and fused are what transformers itself writes and holds; mlx follows from Hub."""
    from transformers import AutoConfig, AutoModelForCausalLM

    variant = Variant(family=family, config=STRUCTURE[family])
    c = variant.full_config()
    write_json(directory / f"{family}.json", c)
    with tempfile.TemporaryDirectory() as temp:
        write_json(Path(temp) / "config.json", c)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(temp), dtype=torch.float32)
        fused = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        model.save_pretrained(temp)
        hub: dict[str, tuple[int, ...]] = {}
        with safe_open(Path(temp) / "model.safetensors", "pt") as f:
            for name in f.keys():  # noqa: SIM118
                hub[name] = tuple(f.get_slice(name).get_shape())
    if hub != hub_shapes(family, c):
        raise SystemExit(f"{family}: random_checkpoint.py and transformers expect different tensors")
    zeros = {name: torch.zeros(shape) for name, shape in hub.items()}
    n_experts = Sizes.of(family, c).experts
    if fused != {n: tuple(t.shape) for n, t in relayout(zeros, family, "fused", n_experts).items()}:
        raise SystemExit(f"{family}: random_checkpoint.py and transformers differ in the fused layout")
    mlx = {n: tuple(t.shape) for n, t in relayout(zeros, family, "mlx", n_experts).items()}
    return {"": structure_text(hub), "-fused": structure_text(fused), "-mlx": structure_text(mlx)}


def make_structure(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for family in FAMILIES:
        for suffix, text in structure_of(family, directory).items():
            (directory / f"{family}{suffix}.txt").write_text(text)
            print(f"structure/{family}{suffix}.txt: {text.count(chr(10))} tensors")


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
    for c in CASES:
        name = f"{c.variant.family}-{c.variant.name}"
        if wanted(name):
            make_case(c, exact / name)
    for family in FAMILIES:
        if wanted(f"{family}-block"):
            make_block(family, exact / f"{family}-block")
    if wanted("structure"):
        make_structure(FIXTURES / "structure")
    size = sum(f.stat().st_size for f in FIXTURES.glob("exact/**/*") if f.is_file())
    print(f"tests/fixtures/exact: {size / 1e6:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
