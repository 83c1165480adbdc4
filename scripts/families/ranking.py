"""How close a router came to choosing otherwise.

A ranking maps router logits [rows, experts], the router's correction bias [experts] or None, and the loaded
config to gaps [rows, n], all >= 0: the distances, in what the family compares, to another choice of experts
or to a jump of a weight. An engine whose rounding is far below the smallest gap cannot choose otherwise.
Neighbours among the chosen count ten times their distance: a tie there changes the order of choice but no
number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Ranking = Callable[[Tensor, Tensor | None, Any], Tensor]


def descending_gaps(scores: Tensor, top_k: int) -> Tensor:
    """Of the k largest scores and the next. Infinite where the next one is masked with -inf."""
    gaps = -scores.sort(dim=-1, descending=True).values.diff(dim=-1)[:, :top_k]
    gaps[:, : top_k - 1] *= 10.0
    return gaps


def softmax_top_k(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    return descending_gaps(logits.softmax(dim=-1), config.num_experts_per_tok)


def logits_top_k(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    return descending_gaps(logits, config.num_experts_per_tok)


def softmax_corrected(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    """The correction bias chooses and does not weigh (ERNIE)."""
    assert correction is not None
    return descending_gaps(logits.softmax(dim=-1) + correction, config.num_experts_per_tok)


def logits_corrected(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    assert correction is not None
    return descending_gaps(logits + correction, config.num_experts_per_tok)


def sigmoid_top_k(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    """A correction bias, if there is one, chooses and does not weigh."""
    scores = logits.sigmoid()
    return descending_gaps(scores if correction is None else scores + correction, config.num_experts_per_tok)


def grouped_gaps(scores: Tensor, group_scores: Tensor, config: Any) -> Tensor:
    """First topk_group groups, then experts of those."""
    kept = config.topk_group
    ordered = group_scores.sort(dim=-1, descending=True)
    cut = ordered.values[:, kept - 1 : kept + 1]
    mask = torch.zeros_like(group_scores).scatter_(1, ordered.indices[:, :kept], 1.0).bool()
    mask = mask.repeat_interleave(scores.shape[1] // group_scores.shape[1], dim=1)
    gaps = descending_gaps(scores.masked_fill(~mask, float("-inf")), config.num_experts_per_tok)
    return torch.cat([-cut.diff(dim=-1), gaps], dim=1)


def deepseek_v2(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    scores = logits.softmax(dim=-1)
    if config.topk_method == "greedy":
        return descending_gaps(scores, config.num_experts_per_tok)
    groups = scores.view(scores.shape[0], config.n_group, -1).max(dim=-1).values
    return grouped_gaps(scores, groups, config)


def softmax_grouped(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    """Mistral 4: a group counts for its two best."""
    scores = logits.softmax(dim=-1)
    groups = scores.view(scores.shape[0], config.n_group, -1).topk(2, dim=-1).values.sum(dim=-1)
    return grouped_gaps(scores, groups, config)


def sigmoid_grouped(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    """DeepSeek-V3 and its kin: a group counts for its two best."""
    assert correction is not None
    scores = logits.sigmoid() + correction
    groups = scores.view(scores.shape[0], config.n_group, -1).topk(2, dim=-1).values.sum(dim=-1)
    return grouped_gaps(scores, groups, config)


def sparsemixer(logits: Tensor, correction: Tensor | None, config: Any) -> Tensor:
    """The two largest logits, in order, since each has a softmax of its own, and for each the threshold that
    keeps an expert out of that softmax: (m - z) / max(|z|, m) > 2 jitter, here multiplied out."""
    ordered = logits.sort(dim=-1, descending=True)
    gaps = [-ordered.values[:, :3].diff(dim=-1)]
    others = logits
    for rank in range(2):
        m, at = ordered.values[:, rank : rank + 1], ordered.indices[:, rank : rank + 1]
        others = others.scatter(1, at, float("-inf"))  # the chosen are kept or masked whatever the threshold
        distance = (m - logits - 2.0 * config.router_jitter_noise * torch.maximum(logits.abs(), m)).abs()
        gaps.append(distance.masked_fill(others.isinf(), float("inf")))
    return torch.cat(gaps, dim=1)
