"""Products with the entropic plan in the compiled extension: the plan exists a cache block at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels import ops
from isotherm.kernels.compiled import bind_formula, by_columns, by_rows, extension, from_rows, handed, known_formula
from isotherm.kernels.compiled import why_no_operator as why_not
from isotherm.kernels.compiled import why_not as why_not_cost

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_apply", "plan_cost", "why_not", "why_not_cost"]


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
