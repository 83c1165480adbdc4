"""Changes of a loaded model that stand for an engine's mistakes: a fixture has to notice (Case.spoil)."""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

Choice = tuple[Tensor, Tensor, Tensor]  # router logits, weights, experts


def wrap_routers(model: Any, change: Callable[[Any, Callable[[Tensor], Choice], Tensor], Choice]) -> None:
    """`change` gets the router, what it would do, and its input."""
    for module in model.modules():
        if type(module).__name__.lower().endswith(("topkrouter", "moev1gate")):

            def forward(x: Tensor, *rest: Any, router: Any = module, plain: Any = module.forward) -> Choice:
                return change(router, lambda x: plain(x, *rest), x)

            module.forward = forward


def correction_of(model: Any, router: Any) -> Tensor:
    """The bias of a router's choice, its own or of the block around it."""
    blocks = [m for m in model.modules() if m is router or any(child is router for child in m.children())]
    held = [pair for m in blocks for pair in (*m.named_parameters(), *m.named_buffers())]
    found: Tensor = next(t for name, t in held if name.endswith("correction_bias"))
    return found.flatten()


def skipped(*endings: str) -> Callable[[Any], None]:
    """The modules of these names give what they get."""

    def spoil(model: Any) -> None:
        found = [module for name, module in model.named_modules() if name.endswith(endings)]
        assert found, endings
        for module in found:
            module.forward = lambda x: x

    return spoil


def attention_with(**attributes: Any) -> Callable[[Any], None]:
    """The attention of every layer has these attributes."""

    def spoil(model: Any) -> None:
        for layer in model.model.layers:
            for name, value in attributes.items():
                assert hasattr(layer.self_attn, name), name
                setattr(layer.self_attn, name, value)

    return spoil


def latent_norms_with_rms_norm_eps(model: Any) -> None:
    for name, module in model.named_modules():
        if name.endswith("a_layernorm"):
            module.variance_epsilon = model.config.rms_norm_eps


def scale_without_mscale(model: Any) -> None:
    for layer in model.model.layers:
        held = layer.self_attn
        parts: list[Any] = list(held) if isinstance(held, torch.nn.ModuleList) else [held]
        for attention in parts:
            attention.scaling = attention.qk_head_dim**-0.5


def rope_without_attention_factor(model: Any) -> None:
    model.model.rotary_emb.attention_scaling = 1.0


def masked_groups_at_zero(model: Any) -> None:
    """Other groups' experts with score 0 where transformers has -inf: chosen before negative ones."""
    fill = torch.Tensor.masked_fill

    def change(router: Any, plain: Callable[[Tensor], Choice], x: Tensor) -> Choice:
        with mock.patch.object(torch.Tensor, "masked_fill", lambda t, mask, value: fill(t, mask, 0.0)):
            return plain(x)

    wrap_routers(model, change)


def groups_by_two_best(model: Any) -> None:
    """DeepSeek-V3's measure of a group in DeepSeek-V2, whose groups count for their best expert."""
    best = torch.Tensor.max

    def of_group(t: Tensor, *args: Any, **kwargs: Any) -> Any:
        found = best(t, *args, **kwargs)
        return mock.Mock(values=t.topk(2, dim=-1).values.sum(dim=-1)) if t.dim() == 3 else found

    def change(router: Any, plain: Callable[[Tensor], Choice], x: Tensor) -> Choice:
        with mock.patch.object(torch.Tensor, "max", of_group):
            return plain(x)

    wrap_routers(model, change)


def renormalised(model: Any) -> None:
    def change(router: Any, plain: Callable[[Tensor], Choice], x: Tensor) -> Choice:
        logits, weights, ids = plain(x)
        return logits, weights / weights.sum(dim=-1, keepdim=True) * router.routed_scaling_factor, ids

    wrap_routers(model, change)


def correction_in_weights(model: Any) -> None:
    def change(router: Any, plain: Callable[[Tensor], Choice], x: Tensor) -> Choice:
        logits, weights, ids = plain(x)
        return logits, weights + correction_of(model, router)[ids], ids

    wrap_routers(model, change)


def correction_without_effect(model: Any) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith(("correction_bias", "expert_bias")):
            tensor.data.zero_()


def softmax_over_all(model: Any) -> None:
    """Weights from all experts' logits where the chosen ones' alone count."""

    def change(router: Any, plain: Callable[[Tensor], Choice], x: Tensor) -> Choice:
        logits, _, ids = plain(x)
        return logits, logits.softmax(dim=-1).gather(1, ids), ids

    wrap_routers(model, change)


def weights_not_renormalised(model: Any) -> None:
    """The scores of the chosen as they are."""

    def change(router: Any, plain: Callable[[Tensor], Choice], x: Tensor) -> Choice:
        logits, _, ids = plain(x)
        return logits, logits.sigmoid().gather(1, ids), ids

    wrap_routers(model, change)


def qk_norm_by_head(model: Any) -> None:
    """Each head by itself where all heads are one vector."""
    for layer in model.model.layers:
        width = layer.self_attn.head_dim
        for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):

            def forward(x: Tensor, norm: Any = norm, width: int = width) -> Tensor:
                heads = x.view(*x.shape[:-1], -1, width)
                mean = heads.square().mean(dim=-1, keepdim=True)
                normed: Tensor = (heads * torch.rsqrt(mean + norm.variance_epsilon)).flatten(-2) * norm.weight
                return normed

            norm.forward = forward


def norm_before_rope(model: Any) -> None:
    """Hunyuan's norms of queries and keys, which come after."""
    for layer in model.model.layers:
        attention = layer.self_attn
        for projection, name in ((attention.q_proj, "query_layernorm"), (attention.k_proj, "key_layernorm")):
            norm = getattr(attention, name)

            def forward(x: Tensor, plain: Any = projection.forward, norm: Any = norm) -> Tensor:
                flat: Tensor = plain(x)
                heads: Tensor = norm(flat.view(*flat.shape[:-1], -1, norm.weight.shape[0]))
                return heads.flatten(-2)

            projection.forward = forward
            setattr(attention, name, torch.nn.Identity())


def rope_on_full_layers(model: Any) -> None:
    """Positions where only the sliding layers have them."""
    for layer in model.model.layers:
        layer.self_attn.is_sliding = True
        layer.self_attn.sliding_window = layer.self_attn.sliding_window or 1  # the mask has the real one


def attention_scaled_by_head_dim(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.scaling = layer.self_attn.head_dim**-0.5


def without_shared_mlp(model: Any) -> None:
    for layer in model.model.layers:
        layer.shared_mlp = None


def shared_mlp_unscaled(model: Any) -> None:
    """Granite's shared expert added past residual_multiplier."""
    for layer in model.model.layers:
        weight = layer.shared_mlp.output_linear.weight
        weight.data /= layer.residual_multiplier


def without_query_scale(model: Any) -> None:
    """Mistral 4's queries as they are at every position."""
    model.config.rope_parameters["llama_4_scaling_beta"] = 0.0


def no_sinks(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.sinks.data.fill_(-1e9)


def keys_not_redone(model: Any) -> None:
    """Phi-MoE past its original length, with the cache kept."""
    from transformers import GenerationMixin

    model.prepare_inputs_for_generation = MethodType(GenerationMixin.prepare_inputs_for_generation, model)
