from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_granite, random_rope
from families.ranking import logits_top_k
from families.shapes import GRANITE, GRANITE_RENAMES, biased_attention, decoder, granite_moe
from families.spoil import attention_scaled_by_head_dim, softmax_over_all

BASE: Config = {
    "architectures": ["GraniteMoeForCausalLM"],
    "attention_bias": False,
    "attention_multiplier": 0.125,
    "bos_token_id": 0,
    "embedding_multiplier": 12.0,
    "eos_token_id": 0,
    "intermediate_size": 16,
    "logits_scaling": 6.0,
    "num_key_value_heads": 2,
    "num_local_experts": 6,
    "pad_token_id": 0,
    "residual_multiplier": 0.22,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000000,
    "router_aux_loss_coef": 0.0,
    "tie_word_embeddings": True,
    "transformers_version": "4.46.0.dev0",
}


def random(d: Draw) -> Config:
    c = random_granite(d)
    random_rope(d, c)
    return c


# Where the embedding is the head too, a random model that is all embedding says the last token again.
UNTIED: Config = {"tie_word_embeddings": False}
TIED: Config = {"embedding_multiplier": 1.5, "logits_scaling": 0.3, "residual_multiplier": 0.9}
CASES = (
    case("default", UNTIED, {"embedding_multiplier": 1.0}, softmax_over_all),
    case(
        "tied",
        TIED,
        {"embedding_multiplier": 1.0},
        dtypes=("F16",),
        style="v5",
        shards=2,
        draws={"embed_tokens.weight": (0.0, 0.15)},
    ),
    case(
        "multipliers-absent",
        {
            "attention_multiplier": ABSENT,
            "embedding_multiplier": ABSENT,
            "logits_scaling": ABSENT,
            "num_key_value_heads": ABSENT,
            "residual_multiplier": ABSENT,
            "tie_word_embeddings": ABSENT,
        },
        spoil=attention_scaled_by_head_dim,
        layout="fused",
    ),
    case(
        "residual",
        {**UNTIED, "residual_multiplier": 0.6, "attention_bias": True},
        {"residual_multiplier": 1.0},
        layout="mlx",
        style="v5",
    ),
    case(
        "odd",
        {
            **UNTIED,
            **ONE,
            "hidden_size": 40,
            "vocab_size": 61,
            "head_dim": 6,
            "num_local_experts": 5,
            "num_experts_per_tok": 3,
            "intermediate_size": 19,
            "num_key_value_heads": 4,
            "rms_norm_eps": 1e-3,
            "logits_scaling": 0.7,
        },
        {"logits_scaling": 1.0},
        dtypes=("F32",),
        style="v5",
    ),
    case(
        "mixed",
        {
            **UNTIED,
            "attention_bias": True,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
            "rope_theta": 1000.0,
        },
        {"rope_scaling": None},
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        shards=2,
        unaligned=True,
        n_prompt=40,
    ),
)

FAMILY = Family(
    model_type="granitemoe",
    base=BASE,
    shapes=partial(decoder, attention=biased_attention, ffn=granite_moe),
    ranking=logits_top_k,
    random=random,
    cases=CASES,
    block={**BLOCK, "num_local_experts": 8, "intermediate_size": 40, "hidden_size": 128},
    structure={"num_local_experts": 4, "attention_bias": True, "tie_word_embeddings": False},
    fused_names=GRANITE_RENAMES,
    stacked=GRANITE[1:],
)
