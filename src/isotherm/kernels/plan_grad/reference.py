"""Derivative of the transport cost by the points in plain torch, the plan held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.plan_apply.reference import plan_block
from isotherm.kernels.source import CostSource, formula_of, row_blocks

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import Formula


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def plan_grad(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Derivative of <P, C> by both clouds with P held fixed; see `isotherm.kernels.plan_grad`."""
    formula = points_formula(costs)
    x, y = formula.tensors
    by_x, by_y = torch.zeros_like(x), torch.zeros_like(y)
    for rows in row_blocks(costs):
        plan = plan_block(costs, p, q, rows, epsilon=epsilon) * formula.scale  # (n, M)
        if formula.kind == "dot":
            by_x[rows] = plan @ y
            by_y += plan.T @ x[rows]
            continue
        if formula.kind == "sqeuclidean":
            plan = 2.0 * plan
        else:
            lengths = torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")
            plan = torch.where(lengths > 0, plan / lengths, 0.0)
        for d in range(x.shape[1]):
            terms = plan * (x[rows, d, None] - y[:, d])
            by_x[rows, d] = terms.sum(1)
            by_y[:, d] -= terms.sum(0)
    return by_x, by_y


def points_formula(costs: CostSource) -> Formula:
    """The formula of costs between points; a TypeError where they are stored or a function of points."""
    formula = formula_of(costs)
    if formula is None or formula.y is None:
        msg = (
            f"`plan_grad` needs a cost between points that is a formula: got {costs}. "
            f"Differentiate the cost itself with autograd, weighted by the plan."
        )
        raise TypeError(msg)
    return formula
