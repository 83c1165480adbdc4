"""Tensor names and shapes of the Hub layout, from the parts that families share."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

Config = dict[str, Any]

PLAIN = ("gate_proj", "up_proj", "down_proj")
MIXTRAL = ("w1", "w3", "w2")


class Shapes(dict[str, tuple[int, ...]]):
    """name -> shape, in the order of the forward pass, which is also the order in which values are drawn."""

    def linear(self, name: str, n_out: int, n_in: int, bias: bool = False) -> None:
        self[f"{name}.weight"] = (n_out, n_in)
        if bias:
            self[f"{name}.bias"] = (n_out,)

    def norm(self, name: str, width: int, bias: bool = False) -> None:
        self[f"{name}.weight"] = (width,)
        if bias:
            self[f"{name}.bias"] = (width,)

    def gated_mlp(
        self,
        prefix: str,
        width: int,
        hidden: int,
        names: tuple[str, str, str] = PLAIN,
        bias: bool = False,
    ) -> None:
        self.linear(f"{prefix}.{names[0]}", width, hidden, bias)
        self.linear(f"{prefix}.{names[1]}", width, hidden, bias)
        self.linear(f"{prefix}.{names[2]}", hidden, width, bias)

    def experts(
        self, prefix: str, n: int, width: int, hidden: int, names: tuple[str, str, str] = PLAIN
    ) -> None:
        for e in range(n):
            self.gated_mlp(f"{prefix}.experts.{e}", width, hidden, names)


# Adds the tensors of one layer's attention or FFN: shapes, the layer's prefix, config.json, its index.
Part = Callable[[Shapes, str, Config, int], None]


def head_dim(c: Config) -> int:
    return int(c.get("head_dim") or c["hidden_size"] // c["num_attention_heads"])


def decoder_layer(
    s: Shapes, layer: str, c: Config, n: int, attention: Part, ffn: Part, norm_bias: bool
) -> None:
    hidden = int(c["hidden_size"])
    s.norm(f"{layer}.input_layernorm", hidden, norm_bias)
    attention(s, layer, c, n)
    s.norm(f"{layer}.post_attention_layernorm", hidden, norm_bias)
    ffn(s, layer, c, n)


def decoder(
    c: Config,
    attention: Part,
    ffn: Part,
    norm_bias: bool = False,
    head_bias: bool = False,
    tied: bool | None = None,
) -> Shapes:
    """The whole model. `tied`: where it is not tie_word_embeddings, false when absent."""
    layer = partial(decoder_layer, attention=attention, ffn=ffn, norm_bias=norm_bias)
    return stacked(c, layer, norm_bias, head_bias, tied)


def stacked(
    c: Config, layer: Part, norm_bias: bool = False, head_bias: bool = False, tied: bool | None = None
) -> Shapes:
    """The whole model, of layers of any kind."""
    s = Shapes()
    hidden, vocab = int(c["hidden_size"]), int(c["vocab_size"])
    s["model.embed_tokens.weight"] = (vocab, hidden)
    for n in range(int(c.get("num_hidden_layers") or c["num_layers"])):
        layer(s, f"model.layers.{n}", c, n)
    s.norm("model.norm", hidden, norm_bias)
    if not (c.get("tie_word_embeddings", False) if tied is None else tied):
        s["lm_head.weight"] = (vocab, hidden)
    if head_bias:
        s["lm_head.bias"] = (vocab,)
    return s


def grouped_attention(
    s: Shapes,
    layer: str,
    c: Config,
    qkv_bias: bool,
    o_bias: bool,
    qk_norm: str | None = None,
    norms: tuple[str, str] = ("q_norm", "k_norm"),
) -> None:
    """qk_norm: None, "head" (one gain for all heads), "flat" (over all heads together)."""
    hidden, heads = int(c["hidden_size"]), int(c["num_attention_heads"])
    kv_heads = int(c.get("num_key_value_heads") or heads)
    q_width, kv_width = heads * head_dim(c), kv_heads * head_dim(c)
    for p, width in (("q", q_width), ("k", kv_width), ("v", kv_width)):
        s.linear(f"{layer}.self_attn.{p}_proj", width, hidden, qkv_bias)
    if qk_norm is not None:
        s.norm(f"{layer}.self_attn.{norms[0]}", q_width if qk_norm == "flat" else head_dim(c))
        s.norm(f"{layer}.self_attn.{norms[1]}", kv_width if qk_norm == "flat" else head_dim(c))
    s.linear(f"{layer}.self_attn.o_proj", hidden, q_width, o_bias)


def biased_attention(s: Shapes, layer: str, c: Config, n: int, qk_norm: str | None = None) -> None:
    """attention_bias adds one to all four projections."""
    bias = bool(c.get("attention_bias"))
    grouped_attention(s, layer, c, bias, bias, qk_norm)


def latent_attention(s: Shapes, layer: str, c: Config, n: int) -> None:
    """DeepSeek's MLA."""
    hidden, heads, bias = int(c["hidden_size"]), int(c["num_attention_heads"]), bool(c.get("attention_bias"))
    nope, rope, value = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"]
    latent, attn = int(c["kv_lora_rank"]), f"{layer}.self_attn"
    if c["q_lora_rank"] is None:
        s.linear(f"{attn}.q_proj", heads * (nope + rope), hidden)
    else:
        s.linear(f"{attn}.q_a_proj", c["q_lora_rank"], hidden, bias)
        s.norm(f"{attn}.q_a_layernorm", c["q_lora_rank"])
        s.linear(f"{attn}.q_b_proj", heads * (nope + rope), c["q_lora_rank"])
    s.linear(f"{attn}.kv_a_proj_with_mqa", latent + rope, hidden, bias)
    s.norm(f"{attn}.kv_a_layernorm", latent)
    s.linear(f"{attn}.kv_b_proj", heads * (nope + value), latent)
    s.linear(f"{attn}.o_proj", hidden, heads * value, bias)


def is_dense(c: Config, n: int, first: int) -> bool:
    """Whether mlp_layer_types, or in its absence a number of first layers, makes layer n a plain MLP."""
    types = c.get("mlp_layer_types")
    return n < first if types is None else n < len(types) and types[n] == "dense"


GRANITE = ("router.layer.weight", "input_linear.weight", "output_linear.weight")
GRANITE_HELD = ("router.weight", "experts.gate_up_proj", "experts.down_proj")  # by transformers
GRANITE_RENAMES = tuple(
    (f".block_sparse_moe.{old}", f".block_sparse_moe.{new}")
    for old, new in zip(GRANITE, GRANITE_HELD, strict=True)
)


def granite_moe(s: Shapes, layer: str, c: Config, n: int, experts: tuple[str, str, str] = GRANITE) -> None:
    """`experts`: the names of the router and of the stacked matrices, gate and up rows in one."""
    block, hidden, width = f"{layer}.block_sparse_moe", int(c["hidden_size"]), int(c["intermediate_size"])
    router, gate_up, down = experts
    s[f"{block}.{router}"] = (c["num_local_experts"], hidden)
    s[f"{block}.{gate_up}"] = (c["num_local_experts"], 2 * width, hidden)
    s[f"{block}.{down}"] = (c["num_local_experts"], hidden, width)
    shared = int(c.get("shared_intermediate_size", 0))
    if shared:
        s.linear(f"{layer}.shared_mlp.input_linear", 2 * shared, hidden)
        s.linear(f"{layer}.shared_mlp.output_linear", hidden, shared)


def sparse_moe(
    s: Shapes, layer: str, c: Config, n_experts: int, n_shared: int, correction: str = "mlp.gate"
) -> None:
    """Experts with a bias of the choice below `correction`, and ungated shared experts."""
    block, hidden, width = f"{layer}.mlp", int(c["hidden_size"]), int(c["moe_intermediate_size"])
    s.linear(f"{block}.gate", n_experts, hidden)
    s[f"{layer}.{correction}.e_score_correction_bias"] = (n_experts,)
    s.experts(block, n_experts, width, hidden)
    s.gated_mlp(f"{block}.shared_experts", width * n_shared, hidden)


def deepseek_moe(
    s: Shapes, layer: str, c: Config, n: int, correction: bool = True, n_shared: int = 1
) -> None:
    """Dense below first_k_dense_replace, then experts and ungated shared experts, n_shared where the config
    has no number."""
    hidden, width = int(c["hidden_size"]), int(c["moe_intermediate_size"])
    bias = bool(c.get("mlp_bias"))
    if n < c.get("first_k_dense_replace", 0):
        s.gated_mlp(f"{layer}.mlp", c["intermediate_size"], hidden, bias=bias)
        return
    s.linear(f"{layer}.mlp.gate", c["n_routed_experts"], hidden)
    if correction:
        s[f"{layer}.mlp.gate.e_score_correction_bias"] = (c["n_routed_experts"],)
    s.experts(f"{layer}.mlp", c["n_routed_experts"], width, hidden)
    width *= int(c.get("n_shared_experts", n_shared))
    s.gated_mlp(f"{layer}.mlp.shared_experts", width, hidden, bias=bias)


def typed_dense(c: Config, n: int, default: bool) -> bool:
    """Whether mlp_layer_types says that layer n has no experts; without it, `default`."""
    types = c.get("mlp_layer_types")
    return types[n] == "dense" if types else default


def qwen_dense(c: Config, n: int) -> bool:
    """Whether layer n of a Qwen model has no experts."""
    only = c.get("mlp_only_layers") or []
    return n in only or (n + 1) % int(c.get("decoder_sparse_step", 1)) != 0


def mtp_module(c: Config, attention: Part, ffn: Part) -> Shapes:
    """Multi-token prediction as it is stored where it lies beside the model (Qwen3-Next, K-EXAONE)."""
    s, hidden = Shapes(), int(c["hidden_size"])
    s.linear("mtp.fc", hidden, 2 * hidden)
    s.norm("mtp.pre_fc_norm_embedding", hidden)
    s.norm("mtp.pre_fc_norm_hidden", hidden)
    decoder_layer(s, "mtp.layers.0", c, int(c["num_hidden_layers"]), attention, ffn, False)
    s.norm("mtp.norm", hidden)
    return s


def next_token_layer(c: Config, attention: Part, ffn: Part) -> Shapes:
    """The layer for multi-token prediction as DeepSeek-V3 and GLM-4.5 store it, one past the last."""
    s, hidden, vocab, n = Shapes(), int(c["hidden_size"]), int(c["vocab_size"]), int(c["num_hidden_layers"])
    layer = f"model.layers.{n}"
    s[f"{layer}.embed_tokens.weight"] = (vocab, hidden)
    s.norm(f"{layer}.enorm", hidden)
    s.norm(f"{layer}.hnorm", hidden)
    s.linear(f"{layer}.eh_proj", hidden, 2 * hidden)
    decoder_layer(s, layer, c, n, attention, ffn, False)
    s.norm(f"{layer}.shared_head.norm", hidden)
    s[f"{layer}.shared_head.head.weight"] = (vocab, hidden)
    return s
