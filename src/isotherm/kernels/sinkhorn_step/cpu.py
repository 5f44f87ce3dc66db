"""One Sinkhorn iteration in the compiled extension: one exponential per pair serves both updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import (
    bind_formula,
    by_columns,
    by_rows,
    extension,
    from_columns,
    from_rows,
    handed,
    known_formula,
    why_not,
)

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.sinkhorn_step.update import RowUpdate
    from isotherm.kernels.source import CostSource

__all__ = ["sinkhorn_step", "why_not"]


def sinkhorn_step(
    costs: CostSource, f: Tensor, h: Tensor, log_a: Tensor, update: RowUpdate, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `isotherm.kernels.sinkhorn_step`."""
    formula = known_formula(costs)
    sources, targets = costs.shape
    raw, updated, g = (torch.empty(size, dtype=h.dtype) for size in (sources, sources, targets))
    settings = (epsilon, update.damping, float(update.shift), update.relaxation)
    given = (by_columns(formula, h), *(by_rows(formula, values) for values in (f, update.guess(f), log_a)))
    lists = () if formula.pattern is None else (formula.pattern.column_starts, formula.pattern.column_blocks)
    extension.sinkhorn_step(
        bind_formula(formula), *given, *settings, *map(handed, (raw, updated, g)), torch.get_num_threads(), *lists
    )
    return from_rows(formula, raw), from_rows(formula, updated), from_columns(formula, g)
