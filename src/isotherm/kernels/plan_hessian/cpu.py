"""Curvature of the semi-dual in the compiled extension: one product with the plan's transpose, one with the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels import ops
from isotherm.kernels.compiled import known_formula
from isotherm.kernels.compiled import why_no_operator as why_not
from isotherm.kernels.plan_hessian.products import from_products

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_hessian", "why_not"]


def plan_hessian(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_hessian`."""
    formula = known_formula(costs)
    across = formula.transpose()
    moved = from_products(
        lambda u: ops.plan_apply(formula, p, q, u, epsilon=epsilon),
        lambda v: ops.plan_apply(across, q, p, v, epsilon=epsilon),
        values,
    )
    return moved / epsilon
