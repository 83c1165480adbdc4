#!/usr/bin/env python3
"""Tiny random checkpoints of the families, in every form in which a checkpoint comes.

    random_checkpoint.py OUT --family qwen3_moe [--seed 7] [--set head_dim=10 ...] [--layout mlx]
                         [--dtypes F32,BF16] [--shards 2] [--style v5] [--unaligned]

A `Variant` says what to build; `write` builds it: config.json, generation_config.json, and model.safetensors
or its shards with their index. The values depend on the family, the config and the seed alone: layout,
storage dtype (but for rounding), shards and alignment move the same numbers about. Nothing here goes through
transformers' save_pretrained, except the rendering of a v5 config: the names are those of real files,
written down once more.

Layouts: `hub` one tensor per expert and matrix; `fused` as transformers 5 holds them, gate and up rows in one
[E, 2I, H]; `mlx` mlx-lm's stacked `switch_mlp`. Config styles: `v4` as the files on the Hub are (torch_dtype,
rope_theta, rope_scaling, num_experts), `v5` as transformers 5 writes them (dtype, rope_parameters,
num_local_experts).
"""

from __future__ import annotations

import argparse
import json
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Config = dict[str, Any]
Tensors = dict[str, Tensor]

FAMILIES = ("qwen3_moe", "olmoe", "qwen2_moe", "mixtral")
LAYOUTS = ("hub", "fused", "mlx")
STYLES = ("v4", "v5")
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "I64": torch.int64}
HF_DTYPE = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
ABSENT = "<absent>"  # as a config value: the key is left out

# What real config.json files of the family hold, at toy sizes.
COMMON: Config = {
    "attention_dropout": 0.0,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "output_router_logits": False,
    "tie_word_embeddings": False,
    "use_cache": True,
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 512,
}
BASE: dict[str, Config] = {
    "qwen3_moe": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "attention_bias": False,
        "bos_token_id": 62,
        "decoder_sparse_step": 1,
        "eos_token_id": 63,
        "head_dim": 16,
        "intermediate_size": 32,
        "max_window_layers": 2,
        "mlp_only_layers": [],
        "moe_intermediate_size": 16,
        "norm_topk_prob": True,
        "num_experts": 6,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001,
        "sliding_window": None,
        "transformers_version": "4.51.0",
        "use_sliding_window": False,
    },
    "olmoe": {
        "architectures": ["OlmoeForCausalLM"],
        "attention_bias": False,
        "clip_qkv": None,
        "eos_token_id": 63,
        "intermediate_size": 16,
        "norm_topk_prob": False,
        "num_experts": 6,
        "num_key_value_heads": 4,
        "pad_token_id": 1,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "router_aux_loss_coef": 0.01,
        "transformers_version": "4.43.0.dev0",
    },
    "qwen2_moe": {
        "architectures": ["Qwen2MoeForCausalLM"],
        "bos_token_id": 62,
        "decoder_sparse_step": 1,
        "eos_token_id": 62,
        "intermediate_size": 32,
        "max_window_layers": 2,
        "moe_intermediate_size": 16,
        "norm_topk_prob": False,
        "num_experts": 6,
        "num_key_value_heads": 4,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001,
        "shared_expert_intermediate_size": 40,
        "sliding_window": 32768,
        "transformers_version": "4.39.0.dev0",
        "use_sliding_window": False,
    },
    "mixtral": {
        "architectures": ["MixtralForCausalLM"],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "intermediate_size": 32,
        "num_key_value_heads": 2,
        "num_local_experts": 4,
        "rms_norm_eps": 1e-05,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.02,
        "sliding_window": None,
        "transformers_version": "4.36.0.dev0",
    },
}


@dataclass(frozen=True)
class Variant:
    """One checkpoint to build, and how much text to run through it."""

    family: str
    name: str = "default"
    config: Config = field(default_factory=dict)  # over BASE; ABSENT leaves a key out
    dtypes: tuple[str, ...] = ("BF16",)  # several: drawn per tensor, or by role if `by_role`
    by_role: bool = False  # norms and router in dtypes[0], experts in dtypes[1], the rest in dtypes[2]
    layout: str = "hub"
    style: str = "v4"
    shards: int = 1
    unaligned: bool = False  # odd header length, tensors in random order
    plain_std: float | None = None  # weights N(0, plain_std) and norms of 1, in place of the lively ones
    seed: int = 0
    n_prompt: int = 12
    n_generate: int = 12

    def full_config(self) -> Config:
        """The v4 config.json."""
        main_dtype = self.dtypes[-1] if self.by_role else self.dtypes[0]
        merged: Config = {
            "model_type": self.family,
            "torch_dtype": HF_DTYPE[main_dtype],
            **COMMON,
            **BASE[self.family],
            **self.config,
        }
        return {key: merged[key] for key in sorted(merged) if merged[key] != ABSENT}

    @property
    def top_k(self) -> int:
        return int(self.full_config()["num_experts_per_tok"])

    def describe(self) -> str:
        parts = [f"{self.family} {self.name}", self.layout, self.style, "+".join(self.dtypes)]
        parts += [f"{self.shards} shards"] if self.shards > 1 else []
        parts += ["by role"] if self.by_role else []
        parts += ["unaligned"] if self.unaligned else []
        parts += [f"{k}={json.dumps(v)}" for k, v in sorted(self.config.items())]
        return f"{', '.join(parts)}; seed {self.seed}, {self.n_prompt}+{self.n_generate} tokens"


@dataclass(frozen=True)
class Sizes:
    """config.json with the family's defaults applied: what the shapes need."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    experts: int
    expert_width: int
    dense_width: int
    shared_width: int
    qkv_bias: bool
    o_bias: bool
    tied: bool
    dense: tuple[bool, ...]  # per layer: no experts

    @staticmethod
    def of(family: str, c: Config) -> Sizes:
        heads = int(c["num_attention_heads"])
        step = int(c.get("decoder_sparse_step", 1))
        only = c.get("mlp_only_layers") or []
        layers = int(c["num_hidden_layers"])
        qwen = family.startswith("qwen")
        attention_bias = bool(c.get("attention_bias", False))
        return Sizes(
            hidden=c["hidden_size"],
            layers=layers,
            heads=heads,
            kv_heads=c.get("num_key_value_heads") or heads,
            head_dim=c.get("head_dim") or c["hidden_size"] // heads,
            vocab=c["vocab_size"],
            experts=c["num_local_experts"] if "num_local_experts" in c else c["num_experts"],
            expert_width=c["moe_intermediate_size"] if qwen else c["intermediate_size"],
            dense_width=c["intermediate_size"],
            shared_width=c["shared_expert_intermediate_size"] if family == "qwen2_moe" else 0,
            qkv_bias=bool(c.get("qkv_bias", True)) if family == "qwen2_moe" else attention_bias,
            o_bias=family != "qwen2_moe" and attention_bias,
            tied=bool(c.get("tie_word_embeddings", False)),
            dense=tuple(qwen and (n in only or (n + 1) % step != 0) for n in range(layers)),
        )


def hub_shapes(family: str, c: Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the Hub layout, in the order of the forward pass."""
    s = Sizes.of(family, c)
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (s.vocab, s.hidden)}

    def gated_mlp(prefix: str, width: int, names: tuple[str, str, str]) -> None:
        shapes[f"{prefix}.{names[0]}.weight"] = (width, s.hidden)
        shapes[f"{prefix}.{names[1]}.weight"] = (width, s.hidden)
        shapes[f"{prefix}.{names[2]}.weight"] = (s.hidden, width)

    plain = ("gate_proj", "up_proj", "down_proj")
    q_width, kv_width = s.heads * s.head_dim, s.kv_heads * s.head_dim
    for n in range(s.layers):
        layer = f"model.layers.{n}"
        shapes[f"{layer}.input_layernorm.weight"] = (s.hidden,)
        for p, width in (("q", q_width), ("k", kv_width), ("v", kv_width)):
            shapes[f"{layer}.self_attn.{p}_proj.weight"] = (width, s.hidden)
            if s.qkv_bias:
                shapes[f"{layer}.self_attn.{p}_proj.bias"] = (width,)
        if family in ("qwen3_moe", "olmoe"):
            flat = family == "olmoe"
            shapes[f"{layer}.self_attn.q_norm.weight"] = (q_width if flat else s.head_dim,)
            shapes[f"{layer}.self_attn.k_norm.weight"] = (kv_width if flat else s.head_dim,)
        shapes[f"{layer}.self_attn.o_proj.weight"] = (s.hidden, q_width)
        if s.o_bias:
            shapes[f"{layer}.self_attn.o_proj.bias"] = (s.hidden,)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (s.hidden,)
        if s.dense[n]:
            gated_mlp(f"{layer}.mlp", s.dense_width, plain)
            continue
        block = f"{layer}.{'block_sparse_moe' if family == 'mixtral' else 'mlp'}"
        shapes[f"{block}.gate.weight"] = (s.experts, s.hidden)
        for e in range(s.experts):
            names = ("w1", "w3", "w2") if family == "mixtral" else plain
            gated_mlp(f"{block}.experts.{e}", s.expert_width, names)
        if family == "qwen2_moe":
            gated_mlp(f"{block}.shared_expert", s.shared_width, plain)
            shapes[f"{block}.shared_expert_gate.weight"] = (1, s.hidden)
    shapes["model.norm.weight"] = (s.hidden,)
    if not s.tied:
        shapes["lm_head.weight"] = (s.vocab, s.hidden)
    return shapes


# Standard deviations, relative to 1/sqrt(fan in), that keep a random model lively: the router decides,
# attention is not uniform, every block moves the residual stream, logits spread.
GAIN = {
    "gate.weight": 2.0,
    "shared_expert_gate.weight": 2.0,
    "q_proj.weight": 1.4,
    "k_proj.weight": 1.4,
    "v_proj.weight": 1.2,
    "o_proj.weight": 1.2,
    "lm_head.weight": 2.0,
}


def draw(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    noise = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith("norm.weight"):
        noise = 1.0 + 0.25 * noise
    elif name.endswith(".bias"):
        noise = 0.3 * noise
    elif name.endswith("embed_tokens.weight"):
        noise = 0.4 * noise
    else:
        leaf = ".".join(name.split(".")[-2:])
        noise = noise * np.float32(GAIN.get(leaf, 1.5) / np.sqrt(shape[-1]))
    return torch.from_numpy(np.ascontiguousarray(noise, dtype=np.float32))


def hub_tensors(variant: Variant) -> Tensors:
    rng = np.random.default_rng([variant.seed, 1])
    shapes = hub_shapes(variant.family, variant.full_config())
    if variant.plain_std is None:
        return {name: draw(name, shape, rng) for name, shape in shapes.items()}
    std = np.float32(variant.plain_std)
    return {
        name: torch.ones(shape)
        if name.endswith("norm.weight")
        else torch.from_numpy(rng.standard_normal(shape, dtype=np.float32) * std)
        for name, shape in shapes.items()
    }


def relayout(hub: Tensors, family: str, layout: str, n_experts: int) -> Tensors:
    """The same numbers under the names of another layout."""
    if layout == "hub":
        return dict(hub)
    out: Tensors = {}
    gate, up, down = ("w1", "w3", "w2") if family == "mixtral" else ("gate_proj", "up_proj", "down_proj")
    for name, tensor in hub.items():
        block, found, rest = name.partition(".experts.")
        if found:
            if rest != f"0.{gate}.weight":
                continue
            stacked = {
                p: torch.stack([hub[f"{block}.experts.{e}.{p}.weight"] for e in range(n_experts)])
                for p in (gate, up, down)
            }
            if layout == "fused":
                block = block.replace("block_sparse_moe", "mlp")
                out[f"{block}.experts.gate_up_proj"] = torch.cat([stacked[gate], stacked[up]], dim=1)
                out[f"{block}.experts.down_proj"] = stacked[down]
            else:
                for target, p in (("gate_proj", gate), ("up_proj", up), ("down_proj", down)):
                    out[f"{block}.switch_mlp.{target}.weight"] = stacked[p]
        else:
            out[name.replace("block_sparse_moe", "mlp") if layout == "fused" else name] = tensor
    return out


def storage_dtypes(names: Iterable[str], variant: Variant) -> dict[str, str]:
    rng = np.random.default_rng([variant.seed, 2])
    chosen: dict[str, str] = {}
    for name in names:
        if variant.by_role:
            vector = name.endswith("norm.weight") or name.endswith((".gate.weight", ".bias"))
            expert = ".experts." in name or ".switch_mlp." in name
            chosen[name] = variant.dtypes[0 if vector else 1 if expert else 2]
        else:
            chosen[name] = variant.dtypes[int(rng.integers(len(variant.dtypes)))]
    return chosen


def write_safetensors(
    path: Path,
    tensors: list[tuple[str, str, Tensor]],
    metadata: dict[str, str] | None = None,
    unaligned: bool = False,
) -> None:
    """tensors: (name, dtype, values), stored in this order, so that the same input gives the same bytes (the
    reference library's save_file does not promise that). The header is padded to a multiple of 8, as that
    library does, or to an odd length, which the format allows as well."""
    header: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    chunks: list[bytes] = []
    offset = 0
    for name, dtype, tensor in tensors:
        data = tensor.to(DTYPES[dtype]).contiguous().flatten().view(torch.uint8).numpy().tobytes()
        offsets = [offset, offset + len(data)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        offset = offsets[1]
        chunks.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * ((1 - len(text)) % 2 if unaligned else -len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def write_json(path: Path, value: Config) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def v5_config(c: Config) -> Config:
    """What transformers 5 writes for this config."""
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory() as temp:
        write_json(Path(temp) / "config.json", c)
        config = AutoConfig.from_pretrained(temp)
        config.save_pretrained(temp)
        written: Config = json.loads((Path(temp) / "config.json").read_text())
    return written


def write(variant: Variant, out: Path) -> None:
    """Builds the checkpoint in the directory `out`."""
    out.mkdir(parents=True, exist_ok=True)
    c = variant.full_config()
    n_experts = Sizes.of(variant.family, c).experts
    tensors = relayout(hub_tensors(variant), variant.family, variant.layout, n_experts)
    dtypes = storage_dtypes(tensors, variant)
    order = list(tensors)
    if variant.unaligned:
        np.random.default_rng([variant.seed, 3]).shuffle(order)
    entries = [(name, dtypes[name], tensors[name]) for name in order]

    if variant.shards == 1:
        write_safetensors(out / "model.safetensors", entries, unaligned=variant.unaligned)
    else:
        # Cut by count: a layer's experts lie in two files wherever a border falls.
        weight_map: dict[str, str] = {}
        for i in range(variant.shards):
            part = entries[i * len(entries) // variant.shards : (i + 1) * len(entries) // variant.shards]
            file = f"model-{i + 1:05}-of-{variant.shards:05}.safetensors"
            write_safetensors(out / file, part, unaligned=variant.unaligned)
            weight_map |= {name: file for name, _, _ in part}
        total = sum(t.numel() * DTYPES[d].itemsize for _, d, t in entries)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
        write_json(out / "model.safetensors.index.json", index)

    write_json(out / "config.json", c if variant.style == "v4" else v5_config(c))
    eos = c.get("eos_token_id")
    generation: Config = {"eos_token_id": eos if isinstance(eos, list) else [eos, c["vocab_size"] - 2]}
    if "bos_token_id" in c:
        generation["bos_token_id"] = c["bos_token_id"]
    write_json(out / "generation_config.json", {**generation, "transformers_version": "5.24.0"})


def prompt_ids(variant: Variant) -> list[int]:
    rng = np.random.default_rng([variant.seed, 4])
    vocab = int(variant.full_config()["vocab_size"])
    return [int(i) for i in rng.integers(0, vocab, variant.n_prompt)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--family", choices=FAMILIES, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=JSON")
    parser.add_argument("--layout", choices=LAYOUTS, default="hub")
    parser.add_argument("--dtypes", default="BF16", help="comma-separated; several are drawn per tensor")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--style", choices=STYLES, default="v4")
    parser.add_argument("--unaligned", action="store_true")
    args = parser.parse_args()
    overrides = {key: json.loads(value) for key, value in (o.split("=", 1) for o in args.overrides)}
    variant = Variant(
        family=args.family,
        config=overrides,
        dtypes=tuple(args.dtypes.split(",")),
        layout=args.layout,
        style=args.style,
        shards=args.shards,
        unaligned=args.unaligned,
        seed=args.seed,
    )
    write(variant, args.out)
    print(f"{args.out}: {variant.describe()}")


if __name__ == "__main__":
    main()
