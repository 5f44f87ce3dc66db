"""Means under the rows of the plan in the compiled extension, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels import ops
from isotherm.kernels.compiled import bind_formula, by_columns, extension, from_rows, handed, is_eager, known_formula
from isotherm.kernels.compiled import why_no_operator as why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["conditional_mean", "why_not"]


def conditional_mean(costs: CostSource, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.conditional_mean`.

    Where a derivative or a trace is asked for, a softmin and a product with the plan it normalises. The rows' own sums
    are the last column of that product, so the rounding of the softmin cancels.
    """
    formula = known_formula(costs)
    if is_eager(*formula.tensors, h, values):
        out = torch.empty(formula.shape[0], values.shape[1], dtype=values.dtype)
        given = by_columns(formula, h), by_columns(formula, values)
        extension.conditional_mean(bind_formula(formula), *given, epsilon, handed(out), torch.get_num_threads())
        return from_rows(formula, out)
    f = ops.softmin(formula, h, None, epsilon=epsilon)
    columns = torch.cat([values, torch.ones_like(h)[:, None]], dim=1)  # (M, K + 1)
    out = ops.plan_apply(formula, f, h, columns, epsilon=epsilon)
    return out[:, :-1] / out[:, -1:]
