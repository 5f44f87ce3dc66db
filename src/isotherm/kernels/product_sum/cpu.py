"""Sums of the cost under the independent coupling in the compiled extension; accumulated in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind_formula, by_columns, by_rows, extension, known_formula, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["product_sum", "why_not"]


def product_sum(costs: CostSource, a: Tensor, b: Tensor, *, centre: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.product_sum`."""
    middle = None if centre is None else float(centre)
    formula = known_formula(costs)
    given = by_rows(formula, a), by_columns(formula, b)
    total = extension.product_sum(bind_formula(formula), *given, middle, torch.get_num_threads())
    return torch.tensor(total, dtype=a.dtype)
