"""Products with the entropic plan in the compiled extension: the plan exists a cache block at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels import ops
from isotherm.kernels.compiled import (
    bind_formula,
    by_columns,
    by_rows,
    extension,
    from_columns,
    from_rows,
    handed,
    is_eager,
    known_formula,
)
from isotherm.kernels.compiled import why_no_operator as why_not
from isotherm.kernels.compiled import why_not as why_not_cost

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_apply", "plan_cost", "plan_marginals", "why_not", "why_not_cost"]


def plan_apply(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_apply`."""
    return ops.plan_apply(known_formula(costs), p, q, values, epsilon=epsilon)


def plan_cost(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_cost`, where the costs that are paid are those that define the plan."""
    out = torch.empty(costs.shape[0], dtype=p.dtype)
    formula = known_formula(costs)
    given = by_rows(formula, p), by_columns(formula, q)
    extension.plan_cost(bind_formula(formula), *given, epsilon, handed(out), torch.get_num_threads())
    return from_rows(formula, out)


def plan_marginals(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """See `isotherm.kernels.plan_marginals`. Two passes where a derivative or a trace is asked for."""
    formula = known_formula(costs)
    if is_eager(*formula.tensors, p, q):
        rows, columns = torch.empty_like(p), torch.empty_like(q)
        given = by_rows(formula, p), by_columns(formula, q), epsilon, handed(rows), handed(columns)
        extension.plan_marginals(bind_formula(formula), *given, torch.get_num_threads())
        return from_rows(formula, rows), from_columns(formula, columns)
    rows = ops.plan_apply(formula, p, q, torch.ones_like(q)[:, None], epsilon=epsilon)
    columns = ops.plan_apply(formula.transpose(), q, p, torch.ones_like(p)[:, None], epsilon=epsilon)
    return rows[:, 0], columns[:, 0]
