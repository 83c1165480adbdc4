from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, LONG, ODD, Config, Draw, Family, case
from families.random_config import random_qwen, random_rope, random_sizes
from families.ranking import softmax_top_k
from families.shapes import Shapes, decoder, grouped_attention, qwen_dense

BASE: Config = {
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
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    grouped_attention(s, layer, c, qkv_bias=bool(c.get("qkv_bias", True)), o_bias=False)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden = int(c["hidden_size"])
    if qwen_dense(c, n):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden)
        return
    s.linear(f"{layer}.mlp.gate", c["num_experts"], hidden)
    s.experts(f"{layer}.mlp", c["num_experts"], c["moe_intermediate_size"], hidden)
    s.gated_mlp(f"{layer}.mlp.shared_expert", c["shared_expert_intermediate_size"], hidden)
    s.linear(f"{layer}.mlp.shared_expert_gate", 1, hidden)


def random(d: Draw) -> Config:
    c: Config = {
        "norm_topk_prob": d.one(True, False, ABSENT),
        "qkv_bias": d.one(True, True, False, ABSENT),
        "shared_expert_intermediate_size": d.within(5, 70),
    }
    random_sizes(d, c, own_head_dim=d.chance(0.6))
    random_qwen(d, c)
    random_rope(d, c)
    return c


CASES = (
    case("default", without={"norm_topk_prob": True}),
    case(
        "gqa",
        {"num_key_value_heads": 2, "head_dim": 12, "norm_topk_prob": True},
        {"norm_topk_prob": False},
        layout="mlx",
        style="v5",
    ),
    case(
        "no-bias",
        {"qkv_bias": False, "tie_word_embeddings": True, "shared_expert_intermediate_size": 24},
        dtypes=("F32",),
    ),
    case(
        "window",
        {"num_hidden_layers": 3, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 2},
        {"max_window_layers": 3},
        n_prompt=20,
    ),
    case(
        "layer-types",
        {
            "use_sliding_window": True,
            "sliding_window": 5,
            "layer_types": ["full_attention", "sliding_attention"],
        },
        {"layer_types": None},
        style="v5",
        n_prompt=20,
    ),
    case(
        "dense",
        {"num_hidden_layers": 4, "decoder_sparse_step": 2, "mlp_only_layers": [1]},
        layout="fused",
    ),
    case(
        "odd",
        {**ODD, "moe_intermediate_size": 20, "shared_expert_intermediate_size": 36},
        dtypes=("F16",),
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
    case("long", **LONG),
)

FAMILY = Family(
    model_type="qwen2_moe",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "num_experts": 8,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 96,
    },
    structure={"num_hidden_layers": 3, "mlp_only_layers": [1], "num_experts": 4, "num_key_value_heads": 2},
)
