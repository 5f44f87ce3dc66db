"""Curvature of the semi-dual on the GPU: one product with the plan's transpose, one with the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.plan_apply.triton import plan_apply
from isotherm.kernels.plan_hessian.products import from_products
from isotherm.kernels.triton_launch import as_formula

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource


def plan_hessian(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_hessian`."""
    formula = as_formula(costs)
    across = formula.transpose()
    moved = from_products(
        lambda u: plan_apply(formula, p, q, u, epsilon=epsilon),
        lambda v: plan_apply(across, q, p, v, epsilon=epsilon),
        values,
    )
    return moved / epsilon
