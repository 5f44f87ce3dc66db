"""Derivative of the transport cost by the points in the compiled extension, the plan held fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels import ops
from isotherm.kernels.compiled import bind_formula, extension, handed, is_eager, plain
from isotherm.kernels.compiled import why_no_operator as why_not
from isotherm.kernels.plan_grad.reference import points_formula

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_grad", "plan_grad_by_sources", "why_not"]


def plan_grad(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """See `isotherm.kernels.plan_grad`. One pass; two over a list of pairs, or where a derivative or a trace is asked for."""
    formula = points_formula(costs)
    if formula.pattern is None and is_eager(*formula.tensors, p, q):
        by_x, by_y = (torch.empty(points.shape, dtype=p.dtype) for points in formula.tensors)
        extension.plan_grad(
            bind_formula(formula), plain(p), plain(q), None, None, epsilon, handed(by_x), handed(by_y),
            torch.get_num_threads(),
        )  # fmt: skip
        return by_x, by_y
    by_x = plan_grad_by_sources(costs, p, q, epsilon=epsilon)
    return by_x, ops.plan_grad(formula.transpose(), q, p, None, None, epsilon=epsilon)


def plan_grad_by_sources(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_grad_by_sources`."""
    return ops.plan_grad(points_formula(costs), p, q, None, None, epsilon=epsilon)
