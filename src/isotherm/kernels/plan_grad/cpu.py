"""Derivative of the transport cost by the points in the compiled extension, the plan held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind_formula, extension, plain, why_not
from isotherm.kernels.plan_grad.reference import points_formula

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_grad", "why_not"]


def plan_grad(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """See `isotherm.kernels.plan_grad`."""
    formula = points_formula(costs)
    p, q = plain(p), plain(q)
    by_x, by_y = (torch.empty(points.shape, dtype=points.dtype) for points in formula.tensors)
    threads = torch.get_num_threads()
    extension.plan_grad(bind_formula(formula), p, q, epsilon, by_x, threads)
    extension.plan_grad(bind_formula(formula.transpose()), q, p, epsilon, by_y, threads)
    return by_x, by_y
