from __future__ import annotations

from functools import partial

from families import granitemoe
from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.granitemoe import UNTIED
from families.random_config import random_granite, random_rope
from families.ranking import logits_top_k
from families.shapes import GRANITE, GRANITE_RENAMES, biased_attention, decoder, granite_moe
from families.spoil import shared_mlp_unscaled, without_shared_mlp

BASE: Config = {
    **granitemoe.BASE,
    "architectures": ["GraniteMoeSharedForCausalLM"],
    "shared_intermediate_size": 24,
    "transformers_version": "4.49.0.dev0",
}


def random(d: Draw) -> Config:
    c = random_granite(d)
    c["shared_intermediate_size"] = d.one(ABSENT, 0, d.within(5, 70), d.within(5, 70))
    random_rope(d, c)
    return c


CASES = (
    case("default", UNTIED, {"residual_multiplier": 1.0}, without_shared_mlp),
    case(
        "tied",
        granitemoe.TIED,
        {"residual_multiplier": 1.0},
        dtypes=("F16",),
        style="v5",
        shards=2,
        draws={"embed_tokens.weight": (0.0, 0.15)},
    ),
    case(
        "no-shared",
        {**UNTIED, "shared_intermediate_size": ABSENT, "num_hidden_layers": 1},
        {"attention_multiplier": 0.35},
        layout="fused",
    ),
    case("no-shared-zero", {**UNTIED, **ONE, "shared_intermediate_size": 0}, style="v5"),
    case(
        "residual",
        {
            **ONE,
            "attention_bias": True,
            "num_key_value_heads": None,
            "residual_multiplier": 0.5,
            "shared_intermediate_size": 19,
            **UNTIED,
        },
        spoil=shared_mlp_unscaled,
        layout="mlx",
        style="v5",
        dtypes=("F32",),
    ),
    case("mixed", UNTIED, dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="granitemoeshared",
    base=BASE,
    shapes=partial(decoder, attention=biased_attention, ffn=granite_moe),
    ranking=logits_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "num_local_experts": 8,
        "intermediate_size": 40,
        "hidden_size": 128,
        "shared_intermediate_size": 56,
    },
    structure={"num_local_experts": 4, "attention_bias": True, "tie_word_embeddings": False},
    fused_names=GRANITE_RENAMES,
    stacked=GRANITE[1:],
)
