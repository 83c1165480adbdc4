from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from families.family import ABSENT, BLOCK, Config, Draw, Family, case
from families.random_config import random_rope
from families.ranking import descending_gaps
from families.shapes import Shapes

BASE: Config = {
    "architectures": ["DbrxForCausalLM"],
    "attn_config": {"clip_qkv": 2.0, "kv_n_heads": 2, "model_type": "", "rope_theta": 500000},
    "d_model": 32,
    "emb_pdrop": 0.0,
    "ffn_config": {
        "ffn_hidden_size": 12,
        "model_type": "",
        "moe_jitter_eps": 0,
        "moe_loss_weight": 0.05,
        "moe_num_experts": 6,
        "moe_top_k": 2,
    },
    "max_seq_len": 512,
    "n_heads": 4,
    "n_layers": 2,
    "output_router_logits": False,
    "resid_pdrop": 0.0,
    # what COMMON names otherwise
    "attention_dropout": ABSENT,
    "hidden_act": ABSENT,
    "hidden_size": ABSENT,
    "max_position_embeddings": ABSENT,
    "num_attention_heads": ABSENT,
    "num_experts_per_tok": ABSENT,
    "num_hidden_layers": ABSENT,
}


def shapes(c: Config) -> Shapes:
    s = Shapes()
    hidden, vocab, attn, ffn = int(c["d_model"]), int(c["vocab_size"]), c["attn_config"], c["ffn_config"]
    kv_width = int(attn.get("kv_n_heads", 1)) * (hidden // int(c["n_heads"]))
    n_experts, rows = int(ffn["moe_num_experts"]), int(ffn["moe_num_experts"]) * int(ffn["ffn_hidden_size"])
    s["transformer.wte.weight"] = (vocab, hidden)
    for n in range(int(c["n_layers"])):
        layer = f"transformer.blocks.{n}"
        s.norm(f"{layer}.norm_attn_norm.norm_1", hidden)
        s.linear(f"{layer}.norm_attn_norm.attn.Wqkv", hidden + 2 * kv_width, hidden)
        s.linear(f"{layer}.norm_attn_norm.attn.out_proj", hidden, hidden)
        s.norm(f"{layer}.norm_attn_norm.norm_2", hidden)
        s.linear(f"{layer}.ffn.router.layer", n_experts, hidden)
        for matrix in ("w1", "v1", "w2"):
            s[f"{layer}.ffn.experts.mlp.{matrix}"] = (rows, hidden)
    s.norm("transformer.norm_f", hidden)
    s["lm_head.weight"] = (vocab, hidden)
    return s


def ranking(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    return descending_gaps(logits.softmax(dim=-1), config.ffn_config.moe_top_k)


def down_turned(model: Any) -> None:
    """w2 with the rows of an expert read as those of the other two matrices are."""
    for block in model.transformer.blocks:
        glu = block.ffn.experts.mlp
        held = glu.w2.data.view(glu.moe_num_experts, glu.ffn_hidden_size, glu.hidden_size)
        glu.w2.data = held.reshape(held.shape[0], held.shape[2], held.shape[1]).mT.reshape(-1, held.shape[2])


def values_unclipped(model: Any) -> None:
    clamp = torch.Tensor.clamp
    for block in model.transformer.blocks:
        attn = block.norm_attn_norm.attn
        width = attn.num_key_value_heads * attn.head_dim
        plain = attn.Wqkv.forward

        def forward(
            x: Tensor, plain: Any = plain, width: int = width, bound: float = attn.clip_qkv
        ) -> Tensor:
            projected: Tensor = plain(x)
            kept = clamp(projected[..., :-width], -bound, bound)
            return torch.cat([kept, projected[..., -width:]], dim=-1)

        attn.Wqkv.forward = forward
        attn.clip_qkv = 1e9


def random(d: Draw) -> Config:
    kv_heads, n_experts = d.within(1, 4), d.within(2, 12)
    heads = kv_heads * d.within(1, 3)
    c: Config = {
        "vocab_size": d.within(64, 300),
        "d_model": heads * 2 * d.within(2, 10),
        "n_heads": heads,
        "n_layers": d.within(1, 4),
        "attn_config": {
            "clip_qkv": d.one(8, 2.0, 0.7),
            "kv_n_heads": kv_heads,
            "rope_theta": d.one(500000, 10000.0),  # transformers wants it and does not use it
        },
        "ffn_config": {
            "ffn_hidden_size": d.within(5, 70),
            "moe_num_experts": n_experts,
            "moe_top_k": d.within(1, min(n_experts, 5)),
        },
    }
    if kv_heads == 1 and d.chance(0.5):
        del c["attn_config"]["kv_n_heads"]
    norm = d.one(ABSENT, None, 1.0, 2.0, 3.5)  # no int, which transformers refuses
    if norm != ABSENT:
        c["ffn_config"]["moe_normalize_expert_weights"] = norm
    random_rope(d, c)
    if "max_position_embeddings" in c:
        c["max_seq_len"] = c.pop("max_position_embeddings")
    if d.chance(0.3):
        c["rope_theta"] = ABSENT
    return c


ONE: Config = {"n_layers": 1}
ATTN: Config = BASE["attn_config"]
FFN: Config = BASE["ffn_config"]
CASES = (
    case("default", without={"attn_config": {**ATTN, "clip_qkv": 1e9}}, spoil=down_turned),
    case(
        "theta",
        {**ONE, "rope_theta": 1000.0, "attn_config": {**ATTN, "kv_n_heads": 4}},
        {"rope_theta": ABSENT},
        spoil=values_unclipped,
        style="v5",
        dtypes=("F32",),
        n_prompt=30,
    ),
    case(
        "norm-2",
        {**ONE, "ffn_config": {**FFN, "moe_normalize_expert_weights": 2.0, "moe_top_k": 3}},
        {"ffn_config": {**FFN, "moe_normalize_expert_weights": 1.0, "moe_top_k": 3}},
        dtypes=("F16",),
        shards=2,
    ),
    case(
        "no-renorm",
        {
            **ONE,
            "attn_config": {"clip_qkv": 8, "rope_theta": 500000},
            "ffn_config": {**FFN, "moe_normalize_expert_weights": None},
        },
        {"ffn_config": FFN},
        dtypes=("F32", "BF16", "F16"),
        by_role=True,
        unaligned=True,
    ),
)

FAMILY = Family(
    model_type="dbrx",
    base=BASE,
    shapes=shapes,
    ranking=ranking,
    random=random,
    cases=CASES,
    block={
        "attn_config": {**ATTN, "kv_n_heads": 1},
        "bos_token_id": BLOCK["bos_token_id"],
        "d_model": 128,
        "eos_token_id": BLOCK["eos_token_id"],
        "ffn_config": {**FFN, "ffn_hidden_size": 24, "moe_num_experts": 8, "moe_top_k": 4},
        "n_layers": 1,
        "vocab_size": BLOCK["vocab_size"],
    },
    structure={"ffn_config": {**FFN, "moe_num_experts": 4}},
    layouts=("hub",),  # which is what transformers holds
    draws={
        "wte.weight": (0.0, 0.4),
        "experts.mlp.w1": (0.0, 0.25),
        "experts.mlp.v1": (0.0, 0.25),
        "experts.mlp.w2": (0.0, 0.3),
    },
)
