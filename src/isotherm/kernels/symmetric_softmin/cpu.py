"""A symmetric softmin in the compiled extension: one exponential for two pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import (
    bind_formula,
    by_columns,
    by_rows,
    extension,
    from_rows,
    handed,
    known_formula,
    why_not,
)

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["symmetric_softmin", "why_not"]


def symmetric_softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor) -> Tensor:
    """See `isotherm.kernels.symmetric_softmin`; a list of pairs that is not symmetric is met as it is."""
    formula = known_formula(costs)
    out = torch.empty(costs.shape[0], dtype=h.dtype)
    given = bind_formula(formula), by_columns(formula, h), by_rows(formula, guess), epsilon, handed(out)
    is_symmetric = formula.pattern is None or formula.pattern.is_symmetric
    kernel = extension.symmetric_softmin if is_symmetric else extension.softmin
    kernel(*given, torch.get_num_threads())
    return from_rows(formula, out)
