from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_head_dim_absent, random_layer_types, random_rope, random_sizes
from families.ranking import sigmoid_top_k
from families.shapes import Shapes, biased_attention, decoder, qwen_dense
from families.spoil import no_sinks, rope_on_full_layers, softmax_over_all

BASE: Config = {
    "architectures": ["FlintForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 62,
    "decoder_sparse_step": 1,
    "eos_token_id": 63,
    "head_dim": 16,
    "intermediate_size": 24,
    "layer_types": ["full_attention", "sliding_attention"],
    "mlp_only_layers": [0],
    "moe_intermediate_size": 12,
    "norm_topk_prob": True,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-06,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "router_aux_loss_coef": 0.0005,
    "shared_expert_intermediate_size": 20,
    "sliding_window": 8,
    "transformers_version": "5.20.0",
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    biased_attention(s, layer, {"head_dim": 128, **c}, n, "head")
    s[f"{layer}.self_attn.softmax_offset"] = (c["num_attention_heads"],)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    """As Qwen's, but where no list says so the first two layers are dense."""
    block, hidden = f"{layer}.mlp", int(c["hidden_size"])
    only = c.get("mlp_only_layers")
    if qwen_dense({**c, "mlp_only_layers": [0, 1] if only is None else only}, n):
        s.gated_mlp(block, c["intermediate_size"], hidden)
        return
    s.linear(f"{block}.gate", c["num_experts"], hidden)
    s.experts(block, c["num_experts"], c["moe_intermediate_size"], hidden)
    s.gated_mlp(f"{block}.shared_expert", c["shared_expert_intermediate_size"], hidden)


def random(d: Draw) -> Config:
    c: Config = {
        "attention_bias": d.one(True, False, ABSENT),
        "decoder_sparse_step": d.one(1, 1, 2, ABSENT),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "norm_topk_prob": d.one(True, False, ABSENT),
        "rope_parameters": ABSENT,
        "shared_expert_intermediate_size": d.within(5, 70),
        # not 1: see random_qwen
        "sliding_window": d.one(d.within(2, 20), d.within(2, 20), ABSENT),
    }
    random_sizes(d, c, own_head_dim=True)
    random_head_dim_absent(d, c)
    layers = d.within(1, 7)
    c["num_hidden_layers"] = layers
    c["layer_types"] = random_layer_types(d, c["num_hidden_layers"], "full_attention", "sliding_attention")
    only = [n for n in range(layers) if d.chance(0.2)]
    c["mlp_only_layers"] = d.one(only, only, ABSENT, None)
    random_rope(d, c)
    if d.chance(0.2):
        c["rope_theta"] = ABSENT
    return c


CASES = (
    case("default", without={"sliding_window": 7}, spoil=no_sinks, n_prompt=20),
    case("no-positions", spoil=rope_on_full_layers, layout="fused", style="v5"),
    case(
        "pattern",
        {
            "decoder_sparse_step": ABSENT,
            "head_dim": 8,
            "intermediate_size": 16,
            "layer_types": ABSENT,
            "mlp_only_layers": ABSENT,
            "moe_intermediate_size": 8,
            "norm_topk_prob": ABSENT,
            "num_experts": 4,
            "num_hidden_layers": 7,
            "rope_parameters": ABSENT,
            "shared_expert_intermediate_size": 8,
        },
        {"norm_topk_prob": False},
        spoil=softmax_over_all,
        n_prompt=20,
        wanted=("hidden", "experts", "router"),
    ),
    case(
        "sparse-step",
        {
            "attention_bias": True,
            "decoder_sparse_step": 2,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "mlp_only_layers": [],
            "norm_topk_prob": False,
            "num_hidden_layers": 3,
        },
        {"norm_topk_prob": True},
        layout="mlx",
        style="v5",
    ),
    case(
        "head-dim-absent",
        {
            **ONE,
            "head_dim": ABSENT,
            "layer_types": ["sliding_attention"],
            "mlp_only_layers": [],
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
        },
        spoil=no_sinks,
    ),
    case(
        "odd",
        {
            **ONE,
            "head_dim": 10,
            "hidden_size": 40,
            "layer_types": ["sliding_attention"],
            "mlp_only_layers": [],
            "moe_intermediate_size": 19,
            "num_experts": 5,
            "num_experts_per_tok": 3,
            "num_key_value_heads": 4,
            "rms_norm_eps": 0.01,
            "tie_word_embeddings": True,
            "vocab_size": 61,
            "bos_token_id": 0,
            "eos_token_id": 60,
        },
        {"rms_norm_eps": 1e-6},
        dtypes=("F16",),
        layout="mlx",
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="flint",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=sigmoid_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 128,
        "layer_types": ["sliding_attention"],
        "mlp_only_layers": [],
        "moe_intermediate_size": 24,
        "num_experts": 8,
        "shared_expert_intermediate_size": 40,
    },
    structure={"num_experts": 4, "attention_bias": True},
    fused_names=((".self_attn.softmax_offset", ".self_attn.sinks"),),
    f32=("softmax_offset",),
)
