"""Curvature of the semi-dual in the compiled extension: one product with the plan's transpose, one with the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels import ops
from isotherm.kernels.compiled import known_formula
from isotherm.kernels.compiled import why_no_operator as why_not
from isotherm.kernels.plan_hessian.reference import column_means

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_hessian", "why_not"]


def plan_hessian(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_hessian`."""
    formula = known_formula(costs)
    both = torch.cat([torch.ones_like(p)[:, None], values], dim=1)  # (N, 1 + K)
    means = column_means(ops.plan_apply(formula.transpose(), q, p, both, epsilon=epsilon))
    columns = torch.cat([torch.ones_like(q)[:, None], means], dim=1)  # (M, 1 + K)
    sums = ops.plan_apply(formula, p, q, columns, epsilon=epsilon)
    return (sums[:, :1] * values - sums[:, 1:]) / epsilon
