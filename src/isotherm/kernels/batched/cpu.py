"""Reductions of many problems in the compiled extension: one call, each problem by one thread, the largest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels.compiled import bind_formula, extension, handed, plain
from isotherm.kernels.compiled import why_no_operator as why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.batched.batch import Batch
    from isotherm.kernels.batched.reference import Temperatures

__all__ = [
    "batched_conditional_mean",
    "batched_hard_min",
    "batched_plan_apply",
    "batched_plan_cost",
    "batched_plan_grad",
    "batched_softmin",
    "why_not",
]


def batched_softmin(batch: Batch, h: Tensor, *, epsilon: Temperatures, guess: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.batched_softmin`."""
    out = torch.empty(batch.shape[0], dtype=h.dtype)
    shift = None if guess is None else plain(guess)
    extension.softmin(_bind(batch), plain(h), shift, epsilon, handed(out), torch.get_num_threads())
    return out


def batched_hard_min(batch: Batch, h: Tensor) -> Tensor:
    """See `isotherm.kernels.batched_hard_min`."""
    out = torch.empty(batch.shape[0], dtype=h.dtype)
    extension.hard_min(_bind(batch), plain(h), handed(out), torch.get_num_threads())
    return out


def batched_plan_apply(batch: Batch, p: Tensor, q: Tensor, values: Tensor, *, epsilon: Temperatures) -> Tensor:
    """See `isotherm.kernels.batched_plan_apply`."""
    out = torch.empty(batch.shape[0], values.shape[1], dtype=values.dtype)
    given = plain(p), plain(q), plain(values)
    extension.plan_apply(_bind(batch), *given, epsilon, handed(out), torch.get_num_threads())
    return out


def batched_plan_cost(batch: Batch, p: Tensor, q: Tensor, *, epsilon: Temperatures) -> Tensor:
    """See `isotherm.kernels.batched_plan_cost`."""
    out = torch.empty(batch.shape[0], dtype=p.dtype)
    extension.plan_cost(_bind(batch), plain(p), plain(q), epsilon, handed(out), torch.get_num_threads())
    return out


def batched_conditional_mean(batch: Batch, h: Tensor, values: Tensor, *, epsilon: Temperatures) -> Tensor:
    """See `isotherm.kernels.batched_conditional_mean`."""
    out = torch.empty(batch.shape[0], values.shape[1], dtype=values.dtype)
    given = plain(h), plain(values)
    extension.conditional_mean(_bind(batch), *given, epsilon, handed(out), torch.get_num_threads())
    return out


def batched_plan_grad(batch: Batch, p: Tensor, q: Tensor, *, epsilon: Temperatures) -> list[tuple[Tensor, Tensor]]:
    """See `isotherm.kernels.batched_plan_grad`."""
    clouds = zip(*(formula.tensors for formula in batch.formulas), strict=True)
    (by_x, x_parts), (by_y, y_parts) = (_room(points) for points in clouds)
    given = plain(p), plain(q), None, None
    extension.plan_grad(_bind(batch), *given, epsilon, handed(by_x), handed(by_y), torch.get_num_threads())
    return list(zip(x_parts, y_parts, strict=True))


def _room(points: tuple[Tensor, ...]) -> tuple[Tensor, list[Tensor]]:
    """Room for a number beside each coordinate of some clouds, as the extension takes it, and the part of each cloud."""
    memory = torch.empty(sum(cloud.numel() for cloud in points), dtype=points[0].dtype)
    cut = memory.split([cloud.numel() for cloud in points])
    parts = [part.view(cloud.shape) for part, cloud in zip(cut, points, strict=True)]
    widths = {cloud.shape[1] for cloud in points}
    if len(widths) == 1:
        memory = memory.view(sum(cloud.shape[0] for cloud in points), *widths)
    return memory, parts


def _bind(batch: Batch) -> Any:
    """The problems as the extension takes them."""
    return extension.Batch([bind_formula(formula) for formula in batch.formulas])
