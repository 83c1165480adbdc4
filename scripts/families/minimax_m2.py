from __future__ import annotations

from functools import partial

from families.family import ABSENT, BLOCK, ONE, Config, Draw, Family, case
from families.random_config import KINDS, random_head_dim_absent, random_rope, random_sizes
from families.ranking import sigmoid_top_k
from families.shapes import MIXTRAL, Shapes, decoder, grouped_attention
from families.spoil import correction_in_weights, qk_norm_by_head, weights_not_renormalised

BASE: Config = {
    "architectures": ["MiniMaxM2ForCausalLM"],
    "attn_type_list": [1, 1],
    "bos_token_id": 62,
    "eos_token_id": 63,
    "head_dim": 16,
    "intermediate_size": 12,
    "mlp_intermediate_size": 64,
    "mtp_transformer_layers": 1,
    "num_key_value_heads": 2,
    "num_local_experts": 6,
    "num_mtp_modules": 3,
    "qk_norm_type": "per_layer",
    "rms_norm_eps": 1e-06,
    "rope_theta": 5000000,
    "rotary_dim": 8,
    "router_aux_loss_coef": 0.001,
    "router_jitter_noise": 0.0,
    "scoring_func": "sigmoid",
    "shared_intermediate_size": 0,
    "shared_moe_mode": "sigmoid",
    "sliding_window": None,
    "transformers_version": "4.46.1",
    "use_mtp": True,
    "use_qk_norm": True,
    "use_routing_bias": True,
}


def attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    grouped_attention(s, layer, {"head_dim": 128, **c}, qkv_bias=False, o_bias=False, qk_norm="flat")


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    block, hidden = f"{layer}.block_sparse_moe", int(c["hidden_size"])
    s.linear(f"{block}.gate", c["num_local_experts"], hidden)
    s[f"{block}.e_score_correction_bias"] = (c["num_local_experts"],)
    s.experts(block, c["num_local_experts"], c["intermediate_size"], hidden, MIXTRAL)


def random(d: Draw) -> Config:
    c: Config = {"intermediate_size": d.within(5, 70)}
    random_sizes(d, c, own_head_dim=True, experts="num_local_experts")
    random_head_dim_absent(d, c)
    width = 128 if c["head_dim"] == ABSENT else int(c["head_dim"])
    # transformers' dynamic rope divides by the rotary width less two
    rotary = 2 * d.within(min(2, width // 2), width // 2)
    c["rotary_dim"] = d.one(rotary, ABSENT, None)
    random_rope(d, c, KINDS)
    half = d.one(0.5, 1.0) if width % 4 == 0 and width > 4 else 1.0
    where = d.one(None, None, "top", "scaling", "both")
    if where in ("top", "both"):
        c["partial_rotary_factor"] = half
    if where in ("scaling", "both") and "rope_scaling" in c:
        c["rope_scaling"]["partial_rotary_factor"] = d.one(half, 1.0)
    if d.chance(0.2):
        c["rope_theta"] = ABSENT
    return c


CASES = (
    case("default", without={"rotary_dim": 16}, spoil=correction_in_weights),
    case("flat-norm", {"num_attention_heads": 6}, spoil=qk_norm_by_head, layout="mlx", style="v5"),
    case(
        "partial",
        {**ONE, "partial_rotary_factor": 0.25},
        {"partial_rotary_factor": ABSENT},
        layout="fused",
    ),
    case(
        "top-1",
        {**ONE, "num_experts_per_tok": 1},
        spoil=weights_not_renormalised,
        layout="fused",
        style="v5",
        shards=2,
    ),
    case(
        "absent",
        {
            **ONE,
            "head_dim": ABSENT,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "rms_norm_eps": ABSENT,
            "rope_theta": ABSENT,
            "rotary_dim": ABSENT,
        },
        {"rope_theta": 10000.0},
        n_prompt=30,
    ),
    case(
        "tied",
        {
            **ONE,
            "hidden_size": 40,
            "intermediate_size": 19,
            "num_local_experts": 5,
            "tie_word_embeddings": True,
            "vocab_size": 61,
            "eos_token_id": 60,
            "bos_token_id": 0,
        },
        dtypes=("F16",),
        layout="mlx",
    ),
    case(
        "mixed",
        {
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
    model_type="minimax_m2",
    base=BASE,
    shapes=partial(decoder, attention=attention, ffn=ffn),
    ranking=sigmoid_top_k,
    random=random,
    cases=CASES,
    block={
        **BLOCK,
        "hidden_size": 128,
        "head_dim": 16,
        "num_local_experts": 8,
        "intermediate_size": 24,
    },
    structure={"num_local_experts": 4},
    experts=MIXTRAL,
    fused_names=(("block_sparse_moe", "mlp"),),
    f32=("e_score_correction_bias",),
    draws={"e_score_correction_bias": (0.0, 0.2)},
)
