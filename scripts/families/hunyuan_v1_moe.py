from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import random_kv_heads, random_rope, random_sizes
from families.ranking import softmax_top_k
from families.shapes import Shapes, decoder, grouped_attention
from families.spoil import norm_before_rope, softmax_over_all

ALPHA: Config = {
    "alpha": 1000.0,
    "beta_fast": 32,
    "beta_slow": 1,
    "factor": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "type": "dynamic",
}
BASE: Config = {
    "architectures": ["HunYuanMoEV1ForCausalLM"],
    "attention_bias": False,
    "attention_head_dim": 16,
    "bos_token_id": 1,
    "cla_share_factor": 2,
    "eod_token_id": 62,
    "eos_token_id": 60,
    "head_dim": 16,
    "intermediate_size": 12,
    "mlp_bias": False,
    "moe_intermediate_size": [12, 12],
    "moe_layer_num_skipped": 0,
    "moe_topk": [2, 2],
    "norm_type": "rms",
    "num_experts": 6,
    "num_experts_per_tok": ABSENT,
    "num_key_value_heads": 2,
    "num_shared_expert": [1, 1],
    "pad_token_id": 61,
    "rms_norm_eps": 1e-05,
    "rope_scaling": ALPHA,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "transformers_version": "4.41.2",
    "use_cla": False,
    "use_mixed_mlp_moe": True,
    "use_qk_norm": True,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias, "head", ("query_layernorm", "key_layernorm"))


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden, width = int(c["hidden_size"]), int(c["intermediate_size"])
    s.linear(f"{layer}.mlp.gate.wg", c["num_experts"], hidden)
    s.experts(f"{layer}.mlp", c["num_experts"], width, hidden)
    s.gated_mlp(f"{layer}.mlp.shared_mlp", width, hidden)


def random(d: Draw) -> Config:
    c: Config = {"intermediate_size": d.within(5, 70), "attention_bias": d.one(True, False, ABSENT)}
    random_sizes(d, c, own_head_dim=True)  # transformers fails without head_dim, as with null
    random_kv_heads(d, c)
    k, most = c.pop("num_experts_per_tok"), min(c["num_experts"], 5)
    form = d.one("number", "list", "list", "alias")
    if form == "alias":
        c |= {"moe_topk": ABSENT, "num_experts_per_tok": k}
    else:
        by_layer = [d.within(1, most) for _ in range(c["num_hidden_layers"])]
        c["moe_topk"] = by_layer if form == "list" else k
    if d.chance(0.5):
        random_rope(d, c, p=0.6)
    else:
        random_rope(d, c, p=0.0)
        scaling = {**ALPHA, "alpha": d.one(1000.0, 50.0, 1.5), "factor": d.one(1.0, 4.0)}
        c["max_position_embeddings"] = d.one(24, 512)
        c["rope_scaling"] = d.one(scaling, {key: scaling[key] for key in ("alpha", "factor", "type")})
    c.setdefault("rope_scaling", d.one(None, ABSENT))
    return c


UNTIED: Config = {"tie_word_embeddings": False}
CASES = (
    case("default", UNTIED, {"rope_scaling": None}, norm_before_rope),
    case(
        "top-k-list",
        {**UNTIED, "moe_topk": [1, 3], "rope_scaling": {"type": "dynamic", "alpha": 50.0, "factor": 4.0}},
        {"moe_topk": [3, 3]},
        softmax_over_all,
        layout="mlx",
        style="v5",
    ),
    # the alpha of rope_scaling counts at every length, factor and max_position_embeddings at none
    case(
        "alias",
        {
            **UNTIED,
            **ONE,
            "max_position_embeddings": 16,
            "moe_topk": ABSENT,
            "num_experts_per_tok": 3,
            "rope_scaling": {**ALPHA, "factor": 8.0},
        },
        {"rope_scaling": {"type": "dynamic", "factor": 8.0}},
        layout="fused",
        n_prompt=30,
    ),
    case(
        "dynamic",
        {
            **UNTIED,
            **ONE,
            "attention_bias": True,
            "max_position_embeddings": 16,
            "moe_topk": 2,
            "rope_scaling": {"type": "dynamic", "factor": 3.0},
        },
        {"rope_scaling": None},
        n_prompt=30,
        style="v5",
    ),
    case(
        "odd",
        {
            **UNTIED,
            **ONE,
            "head_dim": 10,
            "hidden_size": 40,
            "intermediate_size": 19,
            "moe_topk": [3],
            "num_experts": 5,
            "num_key_value_heads": ABSENT,
            "rms_norm_eps": 0.01,
            "rope_scaling": None,
            "vocab_size": 61,
            "eos_token_id": 2,
            "eod_token_id": 3,
            "pad_token_id": 0,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F32",),
    ),
    case("tied", dtypes=("F16",), layout="fused", style="v5"),
    case("mixed", UNTIED, dtypes=("F32", "BF16", "F16"), by_role=True, shards=2, unaligned=True),
)

FAMILY = Family(
    model_type="hunyuan_v1_moe",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=softmax_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "eod_token_id": 29,
        "hidden_size": 128,
        "intermediate_size": 24,
        "moe_topk": 4,
        "num_experts": 8,
        "num_experts_per_tok": ABSENT,
        "pad_token_id": 28,
    },
    structure={"num_experts": 4, "attention_bias": True, "tie_word_embeddings": False},
    f32=(".gate.wg.weight",),
)
