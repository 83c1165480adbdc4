"""One random model for every engine: a shape of bench/shapes, cut to a few layers, as a checkpoint in bf16.

The tensors are written one by one, so that the model may be larger than the memory. Names and shapes are
those of scripts/families, values those of scripts/random_checkpoint.py: a router that decides, attention
that is not uniform, logits that spread.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

Config = dict[str, Any]
FAMILIES = ("qwen3_moe", "olmoe")  # what the GGUF writer knows too
Progress = Callable[[str], None]


def cut_config(shape: Path, n_layers: int) -> Config:
    config: Config = json.loads(shape.read_text())
    if config["model_type"] not in FAMILIES:
        raise ValueError(f"{shape}: model_type {config['model_type']}, expected one of {', '.join(FAMILIES)}")
    if not 0 < n_layers <= config["num_hidden_layers"]:
        raise ValueError(f"{shape}: has {config['num_hidden_layers']} layers, not {n_layers}")
    return {**config, "num_hidden_layers": n_layers}


def write_checkpoint(out: Path, config: Config, seed: int, progress: Progress) -> None:
    """config.json and model.safetensors in `out`, unless a complete one of the same numbers is there."""
    import numpy as np
    import torch
    from families import FAMILIES as ALL
    from random_checkpoint import DRAWS, draw

    made = {"config": config, "seed": seed}
    marker = out / "made.json"
    if marker.exists() and json.loads(marker.read_text()) == made:
        return
    out.mkdir(parents=True, exist_ok=True)
    marker.unlink(missing_ok=True)
    family = ALL[config["model_type"]]
    shapes = family.shapes(config)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, shape in shapes.items():
        end = offset + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng([seed, 1])
    draws = {**DRAWS, **family.draws}
    progress(f"{out}: {offset / 2**30:.1f} GiB of random weights")
    with (out / "model.safetensors").open("wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            tensor = draw(name, shape, rng, draws).to(torch.bfloat16)
            f.write(tensor.view(torch.int16).numpy().tobytes())
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    marker.write_text(json.dumps(made) + "\n")
