"""Reductions of many problems on the GPU: softmins between points in one launch, the rest one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.batched import reference
from isotherm.kernels.batched.reference import (
    batched_conditional_mean,
    batched_hard_min,
    batched_plan_apply,
    batched_plan_cost,
    batched_plan_grad,
)
from isotherm.kernels.softmin.triton import softmin_ragged

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
]


def batched_softmin(batch: Batch, h: Tensor, *, epsilon: Temperatures, guess: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.batched_softmin`; in one launch where all costs are of one kind, between points."""
    formula = batch.joined()
    if formula is None:
        return reference.batched_softmin(batch, h, epsilon=epsilon, guess=guess)
    x_starts, y_starts = (torch.tensor(s, device=h.device) for s in (batch.source_starts, batch.target_starts))
    longest = max(one.shape[0] for one in batch.formulas)
    temperatures = torch.tensor(epsilon, dtype=torch.float64, device=h.device)
    return softmin_ragged(formula, h, (x_starts, y_starts, longest), epsilon=temperatures, guess=guess)
