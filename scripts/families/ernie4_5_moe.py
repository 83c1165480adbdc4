from __future__ import annotations

from families.family import ABSENT, BLOCK, LONG, ONE, Config, Draw, Family, case
from families.random_config import random_rope, random_sizes
from families.ranking import softmax_corrected
from families.shapes import Shapes, decoder, decoder_layer, grouped_attention
from families.spoil import correction_in_weights, correction_without_effect

BASE: Config = {
    "architectures": ["Ernie4_5_MoeForCausalLM"],
    "bos_token_id": 1,
    "eos_token_id": 2,
    "intermediate_size": 24,
    "moe_capacity": [6, 6, 6],
    "moe_gate": "topk",
    "moe_intermediate_size": 12,
    "moe_k": 2,
    "moe_layer_end_index": 1,
    "moe_layer_interval": 1,
    "moe_layer_start_index": 1,
    "moe_num_experts": 6,
    "moe_num_shared_experts": 2,
    "moe_use_aux_free": True,
    "num_experts_per_tok": ABSENT,
    "num_key_value_heads": 2,
    "num_nextn_predict_layers": 1,
    "pad_token_id": 0,
    "rms_norm_eps": 1e-05,
    "rope_scaling": None,
    "rope_theta": 500000.0,
    "tie_word_embeddings": ABSENT,
    "transformers_version": "4.54.0.dev0",
    "use_bias": False,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    bias = bool(c.get("use_bias"))
    grouped_attention(s, layer, c, bias, bias)


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden, width, bias = int(c["hidden_size"]), int(c["moe_intermediate_size"]), bool(c.get("use_bias"))
    end = int(c.get("moe_layer_end_index", -1))
    last = int(c["num_hidden_layers"]) - 1 if end == -1 else end
    on_interval = (n + 1) % int(c.get("moe_layer_interval", 1)) == 0
    if not (on_interval and c.get("moe_layer_start_index", 1) <= n <= last):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden, bias=bias)
        return
    s.linear(f"{layer}.mlp.gate", c["moe_num_experts"], hidden)
    s[f"{layer}.mlp.moe_statics.e_score_correction_bias"] = (1, c["moe_num_experts"])
    s.experts(f"{layer}.mlp", c["moe_num_experts"], width, hidden)
    shared = int(c.get("moe_num_shared_experts", 2))
    if shared:
        s.gated_mlp(f"{layer}.mlp.shared_experts", width * shared, hidden, bias=bias)


def shapes(c: Config) -> Shapes:
    return decoder(
        c,
        attention,
        ffn,
        head_bias=bool(c.get("use_bias")),
        tied=bool(c.get("tie_word_embeddings", True)),
    )


def mtp(c: Config) -> Shapes:
    s, hidden = Shapes(), int(c["hidden_size"])
    decoder_layer(s, "model.mtp_block.0", c, 0, attention, dense, False)
    s.norm("model.mtp_emb_norm.0", hidden)
    s.norm("model.mtp_hidden_norm.0", hidden)
    s.linear("model.mtp_linear_proj.0", hidden, 2 * hidden)
    return s


def dense(s: Shapes, layer: str, c: Config, n: int) -> None:
    s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], c["hidden_size"], bias=bool(c.get("use_bias")))


def random(d: Draw) -> Config:
    c: Config = {
        "use_bias": d.chance(0.4),
        "intermediate_size": d.within(5, 90),
        "moe_intermediate_size": d.within(5, 70),
        "moe_num_shared_experts": d.within(0, 3),
        "moe_norm_min": d.one(ABSENT, 1e-12, 0.9),
        "moe_layer_interval": d.one(ABSENT, 1, 2),
    }
    own_head_dim = d.chance(0.6)
    random_sizes(d, c, own_head_dim, experts="moe_num_experts")
    c["moe_k"] = c.pop("num_experts_per_tok")
    layers = int(c["num_hidden_layers"])
    c["moe_layer_start_index"] = d.within(0, layers)
    c["moe_layer_end_index"] = d.one(-1, d.within(0, layers - 1))
    c["tie_word_embeddings"] = d.one(ABSENT, True, False)
    random_rope(d, c)
    return c


ONE_MOE: Config = {**ONE, "moe_layer_start_index": 0, "moe_layer_end_index": 0}
CASES = (
    case("default", spoil=correction_in_weights),
    case("correction", ONE_MOE, spoil=correction_without_effect, layout="mlx", style="v5"),
    case("bias", {"use_bias": True}, {"use_bias": False}),
    case(
        "untied",
        {"tie_word_embeddings": False, "use_bias": True, "head_dim": 12},
        dtypes=("F16",),
        layout="fused",
        style="v5",
        shards=2,
    ),
    case(
        "intervals",
        {
            "num_hidden_layers": 5,
            "moe_layer_interval": 2,
            "moe_layer_start_index": 1,
            "moe_layer_end_index": 3,
        },
        layout="mlx",
    ),
    case(
        "absent",
        {
            "num_hidden_layers": 3,
            "moe_layer_interval": ABSENT,
            "moe_layer_start_index": ABSENT,
            "moe_layer_end_index": ABSENT,
            "moe_num_shared_experts": ABSENT,
            "rope_theta": ABSENT,
        },
        {"rope_theta": 10000.0},
    ),
    case("no-shared", {**ONE_MOE, "moe_num_shared_experts": 0}, layout="fused"),
    case("norm-min", {**ONE_MOE, "moe_norm_min": 0.9}, {"moe_norm_min": 1e-12}, style="v5"),
    case("mtp", mtp=True, shards=2, unaligned=True),
    case(
        "odd",
        {
            **ONE_MOE,
            "hidden_size": 40,
            "vocab_size": 61,
            "moe_num_experts": 5,
            "moe_k": 3,
            "moe_intermediate_size": 20,
            "num_key_value_heads": 4,
            "use_bias": True,
            "rms_norm_eps": 1e-3,
        },
        {"rms_norm_eps": 1e-5},
        dtypes=("F32",),
    ),
    case("mixed", dtypes=("F32", "BF16", "F16"), unaligned=True),
    case("long", {"rope_theta": 1000.0}, {"rope_theta": 1100.0}, shards=3, **LONG),
)

FAMILY = Family(
    model_type="ernie4_5_moe",
    base=BASE,
    shapes=shapes,
    ranking=softmax_corrected,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "num_experts_per_tok": ABSENT,
        "hidden_size": 128,
        "moe_k": 4,
        "moe_num_experts": 8,
        "moe_intermediate_size": 24,
        "moe_layer_start_index": 0,
        "moe_layer_end_index": -1,
    },
    structure={"moe_num_experts": 4, "use_bias": True},
    fused_names=((".mlp.moe_statics.", ".mlp.gate.moe_statics."),),
    f32=("e_score_correction_bias", ".mlp.gate.weight"),
    draws={"e_score_correction_bias": (0.0, 0.1)},
    mtp=mtp,
)
