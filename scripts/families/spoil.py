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
        if type(module).__name__.lower().endswith("topkrouter"):
            plain = module.forward
            module.forward = lambda x, router=module, plain=plain: change(router, plain, x)


def latent_norms_with_rms_norm_eps(model: Any) -> None:
    for name, module in model.named_modules():
        if name.endswith("a_layernorm"):
            module.variance_epsilon = model.config.rms_norm_eps


def scale_without_mscale(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.scaling = layer.self_attn.qk_head_dim**-0.5


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
        held = [*router.named_parameters(), *router.named_buffers()]
        correction = next(t for name, t in held if name.endswith("correction_bias"))
        return logits, weights + correction.flatten()[ids], ids

    wrap_routers(model, change)


def correction_without_effect(model: Any) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if name.endswith("correction_bias"):
            tensor.data.zero_()


def no_sinks(model: Any) -> None:
    for layer in model.model.layers:
        layer.self_attn.sinks.data.fill_(-1e9)


def keys_not_redone(model: Any) -> None:
    """Phi-MoE past its original length, with the cache kept."""
    from transformers import GenerationMixin

    model.prepare_inputs_for_generation = MethodType(GenerationMixin.prepare_inputs_for_generation, model)
