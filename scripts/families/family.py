"""What a family is to the oracle: data, and at most a few small functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from families.ranking import Ranking
from families.shapes import PLAIN, Shapes

Config = dict[str, Any]
Tensors = dict[str, Tensor]

ABSENT = "<absent>"  # as a config value: the key is left out
LAYOUTS = ("hub", "fused", "mlx")
STYLES = ("v4", "v5")
QUANTITIES = ("hidden", "experts", "router", "ffn")

# What the config.json files of all families hold, at toy sizes.
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

# Changes of config.json, tokens and taps that the cases of several families share.
ODD: Config = {"hidden_size": 40, "vocab_size": 61, "num_experts": 5, "num_experts_per_tok": 3}
ODD_LATENT: Config = {
    "num_hidden_layers": 1,
    "first_k_dense_replace": 0,
    "hidden_size": 42,
    "vocab_size": 61,
    "num_attention_heads": 3,
    "num_key_value_heads": 3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "q_lora_rank": 21,
    "kv_lora_rank": 19,
    "qk_nope_head_dim": 7,
    "qk_rope_head_dim": 6,
    "v_head_dim": 9,
    "n_group": 3,
    "n_routed_experts": 9,
    "num_experts_per_tok": 5,
    "moe_intermediate_size": 19,
    "rms_norm_eps": 1e-3,
}
ONE: Config = {"num_hidden_layers": 1}
ONE_MOE: Config = {**ONE, "first_k_dense_replace": 0}
NO_ROPE: Config = {"rope_scaling": None}
LONG: dict[str, Any] = {"wanted": ("hidden", "experts", "router"), "n_prompt": 134, "n_generate": 8}

# The one-layer checkpoint of more realistic width whose MoE block runs alone.
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
LATENT_BLOCK: Config = {
    **BLOCK,
    "num_key_value_heads": 4,
    "head_dim": ABSENT,
    "first_k_dense_replace": 0,
}


class Draw:
    """Choices from one generator."""

    def __init__(self, seed: list[int]) -> None:
        self.rng = np.random.default_rng(seed)

    def one(self, *options: Any) -> Any:
        return options[int(self.rng.integers(len(options)))]

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def within(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))


@dataclass(frozen=True)
class Case:
    """A committed fixture. What the variant is about has to show in the logits: `without` are changes of
    config.json that switch it off, `spoil` changes the loaded model the way an engine would that got it
    wrong. `options` are fields of Variant."""

    name: str
    config: Config = field(default_factory=dict)
    without: Config = field(default_factory=dict)
    spoil: Callable[[Any], None] | None = None
    wanted: tuple[str, ...] = QUANTITIES
    options: dict[str, Any] = field(default_factory=dict)


def case(
    name: str,
    config: Config | None = None,
    without: Config | None = None,
    spoil: Callable[[Any], None] | None = None,
    wanted: tuple[str, ...] = QUANTITIES,
    **options: Any,
) -> Case:
    return Case(name, config or {}, without or {}, spoil, wanted, options)


@dataclass(frozen=True)
class Wrapper:
    """A model of text and images whose text part is the family."""

    model_type: str
    prefix: str  # of the text part's tensors; its settings lie in text_config
    config: Callable[[Config], Config]  # of the text's: what config.json holds beside text_config
    others: Callable[[Config], Shapes]  # tensors of the other parts, which are to be ignored


@dataclass(frozen=True)
class Family:
    model_type: str
    base: Config  # what real config.json files of the family hold, over COMMON, at toy sizes
    shapes: Callable[[Config], Shapes]  # the tensors of the Hub layout, in the order of the forward pass
    ranking: Ranking  # how close a row of router logits is to another choice
    random: Callable[[Draw], Config]  # overrides of `base` for the live oracle
    cases: tuple[Case, ...]
    block: Config  # over `base`: <family>-block
    structure: Config  # over `base`: structure/<family>.json
    aliases: tuple[str, ...] = ()  # other model_type of the same files, unknown to transformers' AutoModel
    experts: tuple[str, str, str] = PLAIN  # an expert's matrices: gate, up, down
    layouts: tuple[str, ...] = LAYOUTS  # those that exist; no "fused": transformers holds what the Hub has
    fused_names: tuple[tuple[str, str], ...] = ()  # parts of Hub names as transformers 5 holds them
    mlx_names: tuple[tuple[str, str], ...] = ()  # the same as mlx-lm writes them
    relayout: Callable[[Tensors, str], Tensors] | None = None  # where stacking is not what makes a layout
    stacked: tuple[str, str] | None = None  # the Hub has [E, 2I, H] and [E, H, I]: the ends of their names
    mlx_stack: str = "switch_mlp"  # what mlx-lm calls the stacked experts
    out_major: bool = False  # stacked experts whose names end in no ".weight" are [..., out, in] all the same
    f32: tuple[str, ...] = ()  # endings of names that real checkpoints keep in F32 whatever the rest
    draws: dict[str, tuple[float, float]] = field(default_factory=dict)  # ending: mean, deviation
    mtp: Callable[[Config], Shapes] | None = None  # tensors of further layers, which are to be ignored
    # which tensors real files are also without, by name and config
    optional: Callable[[str, Config], bool] | None = None
    wrapper: Wrapper | None = None
