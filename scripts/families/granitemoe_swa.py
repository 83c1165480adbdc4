from __future__ import annotations

from functools import partial

from families import granitemoe
from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.granitemoe import UNTIED
from families.random_config import random_granite, random_layer_types, random_rope
from families.ranking import logits_top_k
from families.shapes import GRANITE_HELD, Shapes, biased_attention, decoder, granite_moe
from families.spoil import no_sinks

ATTENTION = ("sliding_attention", "full_attention")
BASE: Config = {
    **granitemoe.BASE,
    "architectures": ["GraniteMoeSWAForCausalLM"],
    "layer_rope_theta": [0, 10000.0, 10000.0],
    "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
    "num_hidden_layers": 3,
    "num_local_experts": 4,
    "rope_theta": 10000.0,
    "shared_intermediate_size": 12,
    "sliding_window": 8,
    "transformers_version": "5.24.0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    biased_attention(s, layer, c, n)
    s[f"{layer}.self_attn.sinks"] = (c["num_attention_heads"],)


def random(d: Draw) -> Config:
    c = random_granite(d)
    c["num_hidden_layers"] = d.within(1, 6)
    c["shared_intermediate_size"] = d.one(ABSENT, 0, d.within(5, 70), d.within(5, 70))
    # not 1: see random_qwen
    c["sliding_window"] = d.one(ABSENT, d.within(2, 20), d.within(2, 20))
    c["layer_types"] = random_layer_types(d, c["num_hidden_layers"], *ATTENTION)
    thetas = [d.one(0, 500.0, 10000, 1000000.0) for _ in range(c["num_hidden_layers"])]
    c["layer_rope_theta"] = d.one(ABSENT, None, thetas, thetas)
    random_rope(d, c)
    return c


CASES = (
    case("default", UNTIED, {"layer_rope_theta": None}, no_sinks, n_prompt=20),
    case(
        "tied",
        {**granitemoe.TIED, **ONE, "layer_rope_theta": [0], "layer_types": None},
        {"layer_rope_theta": None},
        dtypes=("F16",),
        style="v5",
        shards=2,
        draws={"embed_tokens.weight": (0.0, 0.15)},
    ),
    case(
        "pattern",
        {
            **UNTIED,
            "intermediate_size": 8,
            "layer_rope_theta": ABSENT,
            "layer_types": ABSENT,
            "num_hidden_layers": 6,
            "rope_theta": 500.0,
            "shared_intermediate_size": ABSENT,
        },
        {"sliding_window": 9},
        n_prompt=20,
    ),
    case(
        "window-absent",
        {
            **UNTIED,
            **ONE,
            "layer_rope_theta": [500],
            "layer_types": ["sliding_attention"],
            "sliding_window": ABSENT,
        },
        {"sliding_window": 127},
        n_prompt=134,
        n_generate=6,
        wanted=("hidden", "experts", "router"),
    ),
    case(
        "thetas",
        {
            "attention_bias": True,
            "layer_rope_theta": [500.0, 0, 100000.0],
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
            **UNTIED,
        },
        {"layer_rope_theta": [500.0, 0, 500.0]},
        layout="mlx",
        style="v5",
        n_prompt=40,
    ),
    case("mixed", UNTIED, dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True, style="v5"),
)

FAMILY = Family(
    model_type="granitemoe_swa",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=partial(granite_moe, experts=GRANITE_HELD)),
    ranking=logits_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "num_local_experts": 8,
        "intermediate_size": 40,
        "hidden_size": 128,
        "layer_rope_theta": None,
        "layer_types": None,
        "shared_intermediate_size": 56,
    },
    structure={"attention_bias": True, "tie_word_embeddings": False},
    layouts=("hub", "mlx"),
    stacked=GRANITE_HELD[1:],
    out_major=True,
)
