from __future__ import annotations

import re
from functools import partial
from typing import Any

from families.family import ABSENT, LATENT_BLOCK, Config, Draw, Family, case
from families.random_config import random_latent
from families.ranking import softmax_corrected
from families.shapes import Shapes, latent_attention, stacked
from families.spoil import latent_norms_with_rms_norm_eps, scale_without_mscale

BASE: Config = {
    "architectures": ["LongcatFlashForCausalLM"],
    "attention_bias": False,
    "attention_method": "MLA",
    "bos_token_id": 1,
    "eos_token_id": 2,
    "expert_ffn_hidden_size": 12,
    "ffn_hidden_size": 24,
    "head_dim": 8,
    "kv_lora_rank": 20,
    "mla_scale_kv_lora": True,
    "mla_scale_q_lora": True,
    "moe_topk": 3,
    "n_routed_experts": 5,
    "num_layers": 2,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-05,
    "rope_theta": 10000000.0,
    "routed_scaling_factor": 6.0,
    "router_bias": False,
    "v_head_dim": 10,
    "zero_expert_num": 3,
    "zero_expert_type": "identity",
    # what COMMON names otherwise
    "num_experts_per_tok": ABSENT,
    "num_hidden_layers": ABSENT,
}


def layer(s: Shapes, prefix: str, c: Config, n: int) -> None:
    hidden, n_experts = int(c["hidden_size"]), int(c["n_routed_experts"])
    n_all, width = n_experts + int(c["zero_expert_num"]), int(c["expert_ffn_hidden_size"])
    for i in range(2):
        attention = Shapes()
        latent_attention(attention, "", c, n)
        s.norm(f"{prefix}.input_layernorm.{i}", hidden)
        for name, shape in attention.items():
            s[f"{prefix}.self_attn.{i}{name.removeprefix('.self_attn')}"] = shape
        s.norm(f"{prefix}.post_attention_layernorm.{i}", hidden)
        s.gated_mlp(f"{prefix}.mlps.{i}", c["ffn_hidden_size"], hidden)
    s.linear(f"{prefix}.mlp.router.classifier", n_all, hidden)
    s[f"{prefix}.mlp.router.e_score_correction_bias"] = (n_all,)
    s.experts(f"{prefix}.mlp", n_experts, width, hidden)
    # transformers holds half of what the experts that compute nothing would need
    for e in range(n_experts, n_all):
        s.linear(f"{prefix}.mlp.experts.{e}.gate_proj", width, hidden)
        s.linear(f"{prefix}.mlp.experts.{e}.up_proj", width, hidden)


def of_zero_expert(name: str, c: Config) -> bool:
    found = re.search(r"\.mlp\.experts\.(\d+)\.", name)
    return found is not None and int(found[1]) >= c["n_routed_experts"]


def unused(c: Config) -> Shapes:
    s, hidden = Shapes(), int(c["hidden_size"])
    s.linear("model.mtp.layers.0.eh_proj", hidden, 2 * hidden)
    s.norm("model.mtp.layers.0.enorm.m", hidden)
    return s


def latents_unscaled(model: Any) -> None:
    for block in model.model.layers:
        for attention in block.self_attn:
            attention.mla_scale_q_lora = attention.mla_scale_kv_lora = 1.0


def zero_experts_give_nothing(model: Any) -> None:
    for block in model.model.layers:
        block.mlp.experts.identity_expert.forward = lambda x: x * 0.0


def random(d: Draw) -> Config:
    c = random_latent(d)
    n_experts, n_zero = d.within(2, 10), d.one(0, d.within(1, 6), d.within(1, 6))
    for key in ("first_k_dense_replace", "n_shared_experts", "num_hidden_layers", "num_key_value_heads"):
        del c[key]
    c |= {
        "expert_ffn_hidden_size": c.pop("moe_intermediate_size"),
        "ffn_hidden_size": c.pop("intermediate_size"),
        "head_dim": c["qk_rope_head_dim"],
        # not 1: transformers then drops one axis too many
        "moe_topk": d.within(2, min(n_experts + n_zero, 5)),
        "n_routed_experts": n_experts,
        "num_key_value_heads": d.one(ABSENT, None, c["num_attention_heads"]),
        "num_layers": d.within(1, 2),
        "q_lora_rank": d.within(5, 40),
        "routed_scaling_factor": d.one(1.0, 2.5, 6.0, ABSENT),
        "zero_expert_num": n_zero,
    }
    return c


ONE: Config = {"num_layers": 1}
YARN: Config = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 10,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 64,
    "rope_type": "yarn",
}
CASES = (
    case("default", spoil=latents_unscaled, lacking=True),
    case(
        "zero-experts",
        {**ONE, "n_routed_experts": 3, "expert_ffn_hidden_size": 7},
        spoil=zero_experts_give_nothing,
        style="v5",
        dtypes=("F32",),
    ),
    case(
        "tied",
        {**ONE, "tie_word_embeddings": True, "attention_bias": True, "routed_scaling_factor": 1.5},
        {"routed_scaling_factor": ABSENT},
        layout="fused",
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "no-zero-experts",
        {**ONE, "zero_expert_num": 0},
        {"routed_scaling_factor": 1.0},
        layout="mlx",
        mtp=True,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
    case(
        "yarn",
        {**ONE, "rope_scaling": YARN},
        {"rope_scaling": None},
        spoil=scale_without_mscale,
        layout="mlx",
        style="v5",
        n_prompt=40,
    ),
    case("eps", {**ONE, "rms_norm_eps": 0.05}, spoil=latent_norms_with_rms_norm_eps, lacking=True),
)

FAMILY = Family(
    model_type="longcat_flash",
    base=BASE,
    shapes=partial(stacked, layer=layer),
    ranking=softmax_corrected,
    random=random,
    cases=CASES,
    block={
        **{key: LATENT_BLOCK[key] for key in ("vocab_size", "bos_token_id", "eos_token_id")},
        "expert_ffn_hidden_size": 24,
        "hidden_size": 128,
        "moe_topk": 4,
        "n_routed_experts": 6,
        "num_layers": 1,
    },
    structure={"n_routed_experts": 3, "zero_expert_num": 2, "num_layers": 1, "attention_bias": True},
    f32=("e_score_correction_bias", ".classifier.weight"),
    draws={"e_score_correction_bias": (0.0, 0.1)},
    mtp=unused,
    optional=of_zero_expert,
)
