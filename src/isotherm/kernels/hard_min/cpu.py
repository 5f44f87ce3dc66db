"""Hard c-transform in the compiled extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind_formula, by_columns, extension, from_rows, handed, known_formula, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["hard_min", "why_not"]


def hard_min(costs: CostSource, h: Tensor) -> Tensor:
    """See `isotherm.kernels.hard_min`."""
    out = torch.empty(costs.shape[0], dtype=h.dtype)
    formula = known_formula(costs)
    extension.hard_min(bind_formula(formula), by_columns(formula, h), handed(out), torch.get_num_threads())
    return from_rows(formula, out)
