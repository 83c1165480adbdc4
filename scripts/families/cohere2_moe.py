from __future__ import annotations

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import KINDS, random_layer_types, random_scaling, random_sizes
from families.ranking import logits_top_k
from families.shapes import Shapes, grouped_attention, stacked, typed_dense
from families.spoil import attention_with

BASE: Config = {
    "architectures": ["Cohere2MoeForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 5,
    "eos_token_id": 61,
    "expert_selection_fn": "sigmoid",
    "first_k_dense_replace": 1,
    "head_dim": 16,
    "intermediate_size": 12,
    "layer_norm_eps": 1e-05,
    "logit_scale": 0.5,
    "norm_topk_prob": True,
    "num_experts": 6,
    "num_key_value_heads": 2,
    "num_shared_experts": 1,
    "pad_token_id": 0,
    "prefix_dense_intermediate_size": 24,
    "prefix_dense_sliding_window_pattern": 1,
    "rope_theta": 50000,
    "shared_expert_combination_strategy": "average",
    "sliding_window": 9,
    "sliding_window_pattern": 4,
    "tie_word_embeddings": True,
}


def layer(s: Shapes, prefix: str, c: Config, n: int) -> None:
    hidden, width, bias = int(c["hidden_size"]), int(c["intermediate_size"]), bool(c.get("attention_bias"))
    s.norm(f"{prefix}.input_layernorm", hidden)
    grouped_attention(s, prefix, c, bias, bias)
    if typed_dense(c, n, n < c.get("first_k_dense_replace", 0)):
        s.gated_mlp(f"{prefix}.mlp", c.get("prefix_dense_intermediate_size") or width, hidden)
        return
    s.linear(f"{prefix}.mlp.gate", c["num_experts"], hidden)
    s.experts(f"{prefix}.mlp", c["num_experts"], width, hidden)
    n_shared = int(c.get("num_shared_experts", 0))
    if n_shared > 0:
        s.gated_mlp(f"{prefix}.mlp.shared_experts", width * n_shared, hidden)


def shapes(c: Config) -> Shapes:
    return stacked(c, layer, tied=c.get("tie_word_embeddings", True))


def random(d: Draw) -> Config:
    c: Config = {}
    random_sizes(d, c, own_head_dim=True)
    layers = c["num_hidden_layers"]
    c |= {
        "attention_bias": d.one(True, False, ABSENT),
        "expert_selection_fn": d.one("sigmoid", "softmax", ABSENT),
        "first_k_dense_replace": d.one(ABSENT, d.within(0, layers)),
        "intermediate_size": d.within(5, 70),
        "layer_norm_eps": d.one(1e-5, 1e-3, ABSENT),
        "logit_scale": d.one(0.5, 1.0, ABSENT),
        "norm_topk_prob": d.one(True, False, ABSENT),
        "num_shared_experts": d.one(0, 1, 2, 3, ABSENT),
        "prefix_dense_intermediate_size": d.one(d.within(5, 90), ABSENT, None),
        "prefix_dense_sliding_window_pattern": d.one(1, 2, 3, ABSENT),
        "rms_norm_eps": d.one(c["rms_norm_eps"], ABSENT, None),
        "shared_expert_combination_strategy": d.one("average", "sum", ABSENT),
        # not 1: see random_qwen
        "sliding_window": d.within(2, 20),
        "sliding_window_pattern": d.one(1, 2, 3, ABSENT),
        "tie_word_embeddings": d.one(True, False, ABSENT),
        "rope_theta": d.one(500.0, 10000.0, 50000.0, ABSENT),
        "layer_types": random_layer_types(d, layers, "full_attention", "sliding_attention"),
        "mlp_layer_types": random_layer_types(d, layers, "dense", "sparse", "sparse"),
    }
    if c["num_attention_heads"] == c["num_key_value_heads"]:
        c["num_key_value_heads"] = d.one(c["num_attention_heads"], ABSENT, None)
    if d.chance(0.3):  # not as rope_scaling, which transformers takes and does nothing with
        c["rope_parameters"] = {
            **random_scaling(d, d.one("default", *KINDS)),
            "rope_theta": d.one(500.0, 10000.0, 1000000.0),
        }
        c["max_position_embeddings"] = d.one(24, 64, 512)
    return c


ONE_MOE: Config = {**ONE, "first_k_dense_replace": 0}
CASES = (
    case("default", spoil=attention_with(force_rope=False)),
    case(
        "rms",
        {
            **ONE_MOE,
            "rms_norm_eps": 1e-3,
            "expert_selection_fn": ABSENT,
            "shared_expert_combination_strategy": "sum",
            "num_shared_experts": 2,
        },
        {"shared_expert_combination_strategy": "average"},
        layout="mlx",
        style="v5",
    ),
    case(
        "prefix",
        {
            "num_hidden_layers": 3,
            "hidden_size": 24,
            "first_k_dense_replace": 2,
            "prefix_dense_sliding_window_pattern": 2,
            "prefix_dense_intermediate_size": None,
            "sliding_window_pattern": 1,
        },
        {"prefix_dense_sliding_window_pattern": 1},
        layout="fused",
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "no-renorm",
        {
            **ONE_MOE,
            "norm_topk_prob": False,
            "num_shared_experts": 0,
            "tie_word_embeddings": False,
            "attention_bias": True,
            "layer_norm_eps": 0.05,
        },
        {"norm_topk_prob": True},
        dtypes=("F32",),
    ),
    case(
        "types",
        {
            "layer_types": ["full_attention", "sliding_attention"],
            "mlp_layer_types": ["sparse", "sparse"],
            "logit_scale": ABSENT,
            "rope_parameters": {
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 16,
                "rope_theta": 1000.0,
            },
        },
        {"rope_parameters": ABSENT},
        spoil=attention_with(force_rope=True),
        n_prompt=30,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
)

FAMILY = Family(
    model_type="cohere2_moe",
    base=BASE,
    shapes=shapes,
    ranking=logits_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "first_k_dense_replace": 0,
        "hidden_size": 128,
        "intermediate_size": 24,
        "num_experts": 8,
    },
    structure={"num_experts": 4, "attention_bias": True},
)
