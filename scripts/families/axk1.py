from __future__ import annotations

from functools import partial
from typing import Any

from torch.nn.functional import rms_norm

from families.family import ABSENT, LATENT_BLOCK, ONE_MOE, Config, Draw, Family, case
from families.random_config import random_deepseek_router, random_latent
from families.ranking import sigmoid_grouped
from families.shapes import (
    Shapes,
    decoder,
    deepseek_moe,
    latent_attention,
    typed_dense,
)
from families.spoil import latent_norms_with_rms_norm_eps, scale_without_mscale, skipped

BASE: Config = {
    "architectures": ["AXK1ForCausalLM"],
    "attention_bias": False,
    "aux_loss_alpha": 0.0001,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "ep_size": 1,
    "first_k_dense_replace": 1,
    "intermediate_size": 24,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 12,
    "moe_layer_freq": 1,
    "n_group": 4,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_experts_per_tok": 3,
    "num_key_value_heads": 4,
    "num_nextn_predict_layers": 0,
    "q_lora_rank": 24,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000,
    "routed_scaling_factor": 2.5,
    "scoring_func": "sigmoid",
    "seq_aux": True,
    "topk_group": 2,
    "topk_method": "noaux_tc",
    "v_head_dim": 10,
}


def is_dense(c: Config, n: int) -> bool:
    sparse = n >= c.get("first_k_dense_replace", 1) and n % c.get("moe_layer_freq", 1) == 0
    return typed_dense(c, n, not sparse)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    if is_dense(c, n):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], c["hidden_size"])
        return
    deepseek_moe(s, layer, {**c, "first_k_dense_replace": 0}, n)
    s.norm(f"{layer}.post_mlp_layernorm", c["hidden_size"])


def unused(c: Config) -> Shapes:
    """Dense layers have the norm too, in the files."""
    s = Shapes()
    for n in range(int(c["num_hidden_layers"])):
        if is_dense(c, n):
            s.norm(f"model.layers.{n}.post_mlp_layernorm", c["hidden_size"])
    return s


def dense_layers_normed(model: Any) -> None:
    for layer in model.model.layers:
        if not hasattr(layer.mlp, "experts"):
            plain = layer.mlp.forward
            layer.mlp.forward = lambda x, plain=plain: rms_norm(plain(x), x.shape[-1:])


def random(d: Draw) -> Config:
    c = random_latent(d)
    random_deepseek_router(d, c)
    layers = c["num_hidden_layers"]
    types = [d.one("dense", "sparse") for _ in range(layers)]
    c |= {
        "q_lora_rank": d.within(5, 40),
        "norm_topk_prob": d.one(True, False, ABSENT, None),
        "rope_interleave": d.one(True, False, ABSENT, None),
        "moe_layer_freq": d.one(1, 1, 2, ABSENT),
        "mlp_layer_types": d.one(types, ABSENT, None),
    }
    c["first_k_dense_replace"] = d.one(ABSENT, 0, c["first_k_dense_replace"])
    return c


YARN: Config = {
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 32,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "original_max_position_embeddings": 64,
    "type": "yarn",
}
CASES = (
    case("default", spoil=skipped("post_mlp_layernorm")),
    case(
        "no-bias",
        {**ONE_MOE, "routed_scaling_factor": 1.0},
        {"routed_scaling_factor": 2.5},
        lacking=True,
        layout="mlx",
        style="v5",
    ),
    case(
        "layer-freq",
        {"num_hidden_layers": 3, "moe_layer_freq": 2, "first_k_dense_replace": ABSENT},
        spoil=skipped("post_mlp_layernorm"),
        layout="fused",
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "layer-types",
        {"mlp_layer_types": ["sparse", "dense"], "tie_word_embeddings": True},
        spoil=dense_layers_normed,
        mtp=True,
        dtypes=("F32", "BF16", "F16"),
        unaligned=True,
        shards=2,
    ),
    case(
        "yarn-half",
        {**ONE_MOE, "rope_interleave": False, "rope_scaling": YARN},
        {"rope_interleave": True},
        spoil=scale_without_mscale,
        style="v5",
        n_prompt=40,
    ),
    case(
        "eps",
        {**ONE_MOE, "rms_norm_eps": 0.05, "attention_bias": True},
        spoil=latent_norms_with_rms_norm_eps,
        dtypes=("F32",),
    ),
)

FAMILY = Family(
    model_type="axk1",
    base=BASE,
    shapes=partial(decoder, attention=latent_attention, ffn=ffn),
    ranking=sigmoid_grouped,
    random=random,
    cases=CASES,
    block={**LATENT_BLOCK, "hidden_size": 128, "moe_intermediate_size": 24},
    structure={
        "n_routed_experts": 4,
        "n_group": 2,
        "topk_group": 1,
        "num_experts_per_tok": 2,
        "attention_bias": True,
    },
    fused_names=((".post_mlp_layernorm.", ".mlp.post_mlp_layernorm."),),
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
    mtp=unused,
    optional=lambda name, c: name.endswith("e_score_correction_bias"),
)
