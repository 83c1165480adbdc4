#!/usr/bin/env python3
"""A checkpoint of bench/peer_models.py as GGUF, in bf16 and quantised, for llama.cpp.

    peer_gguf.py CHECKPOINT OUT.gguf [--quantise Q8_0=FILE] [--quantise Q4_K_M=FILE] [--threads N]

Tensor names and metadata are those of the PyPI package gguf; llama_model_quantize of llama-cpp-python
quantises. There is no tokenizer: the vocabulary is of the type that has none. Prints, as JSON, how many
bytes of each file are experts, and how many of the rest but the embedding are read for every token.
"""

from __future__ import annotations

import argparse
import json
import struct
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

Config = dict[str, Any]
ARCHITECTURES = {"qwen3_moe": "qwen3moe", "olmoe": "olmoe"}
FTYPES = {"Q8_0": "LLAMA_FTYPE_MOSTLY_Q8_0", "Q4_K_M": "LLAMA_FTYPE_MOSTLY_Q4_K_M"}


class Checkpoint:
    """A safetensors file of BF16 tensors."""

    def __init__(self, directory: Path) -> None:
        path = directory / "model.safetensors"
        with path.open("rb") as f:
            (n,) = struct.unpack("<Q", f.read(8))
            self.header: dict[str, Any] = json.loads(f.read(n))
        self.data = np.memmap(path, dtype=np.uint16, mode="r", offset=8 + n)

    def bits(self, name: str) -> Any:
        begin, end = self.header[name]["data_offsets"]
        return self.data[begin // 2 : end // 2].reshape(self.header[name]["shape"])

    def floats(self, name: str) -> Any:
        return (self.bits(name).astype(np.uint32) << 16).view(np.float32)


def tensor_names(config: Config) -> list[tuple[str, list[str]]]:
    """GGUF's name, and the checkpoint's: several where experts are stacked."""
    names = [
        ("token_embd.weight", ["model.embed_tokens.weight"]),
        ("output_norm.weight", ["model.norm.weight"]),
        ("output.weight", ["lm_head.weight"]),
    ]
    plain = {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate_inp": "mlp.gate",
    }
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        names += [(f"blk.{i}.{g}.weight", [f"{layer}.{hf}.weight"]) for g, hf in plain.items()]
        for part in ("gate", "up", "down"):
            experts = range(config["num_experts"])
            stack = [f"{layer}.mlp.experts.{e}.{part}_proj.weight" for e in experts]
            names.append((f"blk.{i}.ffn_{part}_exps.weight", stack))
    return names


def add_metadata(writer: Any, config: Config) -> None:
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_expert_count(config["num_experts"])
    writer.add_expert_used_count(config["num_experts_per_tok"])
    if "moe_intermediate_size" in config:
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_tokenizer_model("no_vocab")


def is_fp32(name: str) -> bool:
    """What llama.cpp's own converter leaves in fp32."""
    return "norm" in name or "ffn_gate_inp" in name


def convert(directory: Path, out: Path) -> None:
    config: Config = json.loads((directory / "config.json").read_text())
    checkpoint = Checkpoint(directory)
    names = tensor_names(config)
    writer = gguf.GGUFWriter(out, ARCHITECTURES[config["model_type"]])
    add_metadata(writer, config)
    for name, sources in names:
        shape = list(checkpoint.header[sources[0]]["shape"])
        shape = [len(sources), *shape] if len(sources) > 1 else shape
        count = int(np.prod(shape))
        if is_fp32(name):
            writer.add_tensor_info(name, shape, np.dtype(np.float32), 4 * count)
        else:
            kind = gguf.GGMLQuantizationType.BF16
            writer.add_tensor_info(name, shape, np.dtype(np.uint16), 2 * count, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, sources in names:
        if is_fp32(name):
            data = checkpoint.floats(sources[0])
        else:
            data = np.stack([checkpoint.bits(s) for s in sources])
        writer.write_tensor_data(data)
    writer.close()


def quantise(source: Path, out: Path, kind: str, n_threads: int) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = getattr(llama_cpp, FTYPES[kind])
    params.nthread = n_threads
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(out).encode(), params)
    if status != 0:
        raise RuntimeError(f"llama_model_quantize: {kind}: status {status}")


def stored_bytes(file: Path) -> dict[str, int]:
    sizes = {"experts": 0, "rest": 0}
    for tensor in gguf.GGUFReader(file).tensors:
        if tensor.name != "token_embd.weight":
            sizes["experts" if "_exps" in tensor.name else "rest"] += int(tensor.n_bytes)
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quantise", action="append", default=[], metavar="KIND=FILE")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    files = {"bf16": args.out}
    if not args.out.exists():
        unfinished = args.out.with_suffix(".part")
        convert(args.checkpoint, unfinished)
        unfinished.rename(args.out)
    for item in args.quantise:
        kind, _, file = item.partition("=")
        if kind not in FTYPES or not file:
            parser.error(f"--quantise {item}: expected {' or '.join(FTYPES)}, '=' and a file")
        files[kind] = Path(file)
        if not files[kind].exists():
            unfinished = files[kind].with_suffix(".part")
            quantise(args.out, unfinished, kind, args.threads)
            unfinished.rename(files[kind])
    print(json.dumps({kind: stored_bytes(file) for kind, file in files.items()}))


if __name__ == "__main__":
    main()
