"""Reductions of many problems one after the other, each by the backend that is chosen for it alone.

The definition, and the way where a derivative is asked for or torch.compile traces the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.conditional import conditional_mean
from isotherm.kernels.hard_min import hard_min
from isotherm.kernels.plan_apply import plan_apply, plan_cost
from isotherm.kernels.plan_grad import plan_grad
from isotherm.kernels.softmin import softmin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from isotherm.kernels.batched.batch import Batch
    from isotherm.kernels.source import Formula

Temperatures = tuple[float, ...]


def why_not(*_: object) -> list[str]:
    """Nothing speaks against one after the other."""
    return []


def batched_softmin(batch: Batch, h: Tensor, *, epsilon: Temperatures, guess: Tensor | None = None) -> Tensor:
    """Softmin of each problem; see `isotherm.kernels.batched_softmin`."""
    return torch.cat(
        [
            softmin(costs, h[columns], epsilon=one, guess=None if guess is None else guess[rows])
            for costs, rows, columns, one in _problems(batch, epsilon)
        ]
    )


def batched_hard_min(batch: Batch, h: Tensor) -> Tensor:
    """Hard minimum of each problem; see `isotherm.kernels.batched_hard_min`."""
    pairs = zip(batch.formulas, batch.slices(), strict=True)
    return torch.cat([hard_min(costs, h[columns]) for costs, (_, columns) in pairs])


def batched_plan_apply(batch: Batch, p: Tensor, q: Tensor, values: Tensor, *, epsilon: Temperatures) -> Tensor:
    """Product of each plan; see `isotherm.kernels.batched_plan_apply`."""
    return torch.cat(
        [
            plan_apply(costs, p[rows], q[columns], values[columns], epsilon=one)
            for costs, rows, columns, one in _problems(batch, epsilon)
        ]
    )


def batched_plan_cost(batch: Batch, p: Tensor, q: Tensor, *, epsilon: Temperatures) -> Tensor:
    """Cost of each plan; see `isotherm.kernels.batched_plan_cost`."""
    return torch.cat(
        [plan_cost(costs, p[rows], q[columns], epsilon=one) for costs, rows, columns, one in _problems(batch, epsilon)]
    )


def batched_conditional_mean(batch: Batch, h: Tensor, values: Tensor, *, epsilon: Temperatures) -> Tensor:
    """Conditional means of each problem; see `isotherm.kernels.batched_conditional_mean`."""
    return torch.cat(
        [
            conditional_mean(costs, h[columns], values[columns], epsilon=one)
            for costs, _, columns, one in _problems(batch, epsilon)
        ]
    )


def batched_plan_grad(batch: Batch, p: Tensor, q: Tensor, *, epsilon: Temperatures) -> list[tuple[Tensor, Tensor]]:
    """Derivatives of each problem; see `isotherm.kernels.batched_plan_grad`."""
    return [
        plan_grad(costs, p[rows], q[columns], epsilon=one) for costs, rows, columns, one in _problems(batch, epsilon)
    ]


def _problems(batch: Batch, epsilon: Temperatures) -> Iterator[tuple[Formula, slice, slice, float]]:
    """The costs of each problem, which sources and targets are its own, and its temperature."""
    for costs, (rows, columns), one in zip(batch.formulas, batch.slices(), epsilon, strict=True):
        yield costs, rows, columns, one
