from __future__ import annotations

from functools import partial

from families.family import ABSENT, LATENT_BLOCK, ONE, Config, Draw, Family, Wrapper, case
from families.random_config import random_deepseek_router, random_latent, random_scaling
from families.ranking import softmax_grouped
from families.shapes import Shapes, decoder, latent_attention
from families.spoil import scale_without_mscale, without_query_scale

BASE: Config = {
    "architectures": ["Mistral4ForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "first_k_dense_replace": 1,
    "head_dim": 20,
    "intermediate_size": 24,
    "kv_lora_rank": 20,
    "moe_intermediate_size": 12,
    "n_group": 1,
    "n_routed_experts": 6,
    "n_shared_experts": 1,
    "norm_topk_prob": True,
    "num_key_value_heads": 4,
    "pad_token_id": 11,
    "q_lora_rank": 24,
    "qk_head_dim": 20,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 8,
    "rms_norm_eps": 1e-06,
    "rope_interleave": True,
    "rope_parameters": {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 128.0,
        "llama_4_scaling_beta": 0.1,
        "max_position_embeddings": 512,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 16,
        "partial_rotary_factor": 0.4,
        "rope_theta": 10000.0,
        "rope_type": "yarn",
        "type": "yarn",
    },
    "routed_scaling_factor": 1.0,
    "topk_group": 1,
    "v_head_dim": 10,
}


def ffn(s: Shapes, layer: str, c: Config, n: int) -> None:
    hidden, width, n_experts = c["hidden_size"], c["moe_intermediate_size"], c["n_routed_experts"]
    if n < c.get("first_k_dense_replace", 0):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden)
        return
    s.linear(f"{layer}.mlp.gate", n_experts, hidden)
    s[f"{layer}.mlp.experts.gate_up_proj"] = (n_experts, 2 * width, hidden)
    s[f"{layer}.mlp.experts.down_proj"] = (n_experts, hidden, width)
    s.gated_mlp(f"{layer}.mlp.shared_experts", width * c.get("n_shared_experts", 1), hidden)


VISION: Config = {
    "head_dim": 8,
    "hidden_size": 16,
    "image_size": 28,
    "intermediate_size": 12,
    "model_type": "pixtral",
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "patch_size": 14,
}


def beside_text(c: Config) -> Config:
    """Of the whole config.json. Its key says whether embeddings are tied, whatever the text's says."""
    return {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "image_token_index": 10,
        "multimodal_projector_bias": False,
        "projector_hidden_act": "gelu",
        "spatial_merge_size": 2,
        "tie_word_embeddings": c.get("tie_word_embeddings", False),
        "vision_config": VISION,
        "vision_feature_layer": -1,
    }


def images(c: Config) -> Shapes:
    hidden, width, text = VISION["hidden_size"], VISION["intermediate_size"], c["hidden_size"]
    s, layer = Shapes(), "vision_tower.transformer.layers.0"
    s.norm("multi_modal_projector.norm", hidden)
    s.linear("multi_modal_projector.patch_merger.merging_layer", hidden, 4 * hidden)
    s.linear("multi_modal_projector.linear_1", text, hidden)
    s.linear("multi_modal_projector.linear_2", text, text)
    s["vision_tower.patch_conv.weight"] = (hidden, 3, VISION["patch_size"], VISION["patch_size"])
    s.norm("vision_tower.ln_pre", hidden)
    s.norm(f"{layer}.attention_norm", hidden)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        s.linear(f"{layer}.attention.{name}", hidden, hidden)
    s.norm(f"{layer}.ffn_norm", hidden)
    s.gated_mlp(f"{layer}.feed_forward", width, hidden)
    return s


def whole_rope(c: Config) -> bool:
    """Whether transformers finds the rotated width again, which it holds as a part of the head."""
    nope, rope = int(c["qk_nope_head_dim"]), int(c["qk_rope_head_dim"])
    return int((nope + rope) * (rope / (nope + rope))) == rope


def random(d: Draw) -> Config:
    c = random_latent(d)
    random_deepseek_router(d, c)
    while not whole_rope(c):
        c["qk_nope_head_dim"] += 1
    for key in ("rope_scaling", "rope_theta"):
        c.pop(key, None)
    head = c["qk_nope_head_dim"] + c["qk_rope_head_dim"]
    c |= {
        "head_dim": d.one(ABSENT, head),
        "qk_head_dim": d.one(ABSENT, head),
        "max_position_embeddings": d.one(24, 64, 512),
        "norm_topk_prob": d.one(True, False, ABSENT, None),
        "num_key_value_heads": d.one(c["num_attention_heads"], None),
        "rope_interleave": d.one(True, False, ABSENT, None),
    }
    # without a scaling, transformers rotates the width of a whole head
    kind = d.one("yarn", "yarn", "yarn", "linear", "llama3", "dynamic")
    rope = {
        **random_scaling(d, kind),
        "rope_theta": d.one(500.0, 10000.0, 1000000.0),
        "llama_4_scaling_beta": d.one(0.1, 0.5),
        "original_max_position_embeddings": d.one(8, 16, 64),
    }
    if d.chance(0.5):
        rope["partial_rotary_factor"] = c["qk_rope_head_dim"] / head
    c["rope_parameters"] = d.one(rope, rope, rope, ABSENT, None)
    c["first_k_dense_replace"] = d.one(ABSENT, 0, c["first_k_dense_replace"])
    return c


ONE_MOE: Config = {**ONE, "first_k_dense_replace": ABSENT}
ROPE: Config = BASE["rope_parameters"]
CASES = (
    case("default", spoil=without_query_scale, n_prompt=40),
    case(
        "groups",
        {
            **ONE_MOE,
            "n_group": 3,
            "topk_group": 1,
            "n_routed_experts": 9,
            "num_experts_per_tok": 3,
            "routed_scaling_factor": 2.5,
            "norm_topk_prob": False,
            "q_lora_rank": None,
        },
        {"norm_topk_prob": True},
        style="v5",
        dtypes=("F32",),
    ),
    case(
        "half",
        {**ONE_MOE, "rope_interleave": False, "attention_bias": True, "n_shared_experts": 2},
        {"rope_interleave": True},
        spoil=scale_without_mscale,
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
    case(
        "wrapped",
        {
            **ONE_MOE,
            "tie_word_embeddings": True,
            "routed_scaling_factor": 2.0,
            "v_head_dim": 7,
            "rope_parameters": {**ROPE, "original_max_position_embeddings": 8},
        },
        {"rope_parameters": ROPE},
        wrapped=True,
        style="v5",
        shards=2,
        n_prompt=30,
    ),
    case(
        "rope-absent",
        {**ONE_MOE, "rope_parameters": ABSENT, "tie_word_embeddings": True},
        {"rope_parameters": {**ROPE, "original_max_position_embeddings": 8192, "factor": 32.0}},
        dtypes=("F16",),
        shards=2,
        n_prompt=40,
    ),
    case(
        "linear",
        {
            **ONE_MOE,
            "rope_parameters": {
                "rope_type": "linear",
                "factor": 4.0,
                "rope_theta": 1000.0,
                "llama_4_scaling_beta": 0.3,
                "original_max_position_embeddings": 8,
            },
        },
        spoil=without_query_scale,
        style="v5",
        n_prompt=30,
    ),
)

FAMILY = Family(
    model_type="mistral4",
    base=BASE,
    shapes=partial(decoder, attention=latent_attention, ffn=ffn),
    ranking=softmax_grouped,
    random=random,
    cases=CASES,
    block={**LATENT_BLOCK, "hidden_size": 128, "n_routed_experts": 8, "moe_intermediate_size": 24},
    structure={"n_routed_experts": 4, "attention_bias": True},
    layouts=("hub",),  # which is what transformers holds
    wrapper=Wrapper("mistral3", "language_model.", beside_text, images),
    draws={"experts.gate_up_proj": (0.0, 0.25), "experts.down_proj": (0.0, 0.3)},
)
