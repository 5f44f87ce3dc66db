"""One Sinkhorn iteration on the GPU: two passes, rows and columns, with nothing kept between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.softmin.triton import launch_softmin
from isotherm.kernels.triton_launch import as_formula

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.sinkhorn_step.update import RowUpdate
    from isotherm.kernels.source import CostSource


def sinkhorn_step(
    costs: CostSource, f: Tensor, h: Tensor, log_a: Tensor, update: RowUpdate, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `isotherm.kernels.sinkhorn_step`; a row of exponentials does not fit where a GPU could reuse it."""
    formula = as_formula(costs)
    raw = launch_softmin(formula, h, epsilon=epsilon, guess=update.guess(f))
    updated = update(f, raw)
    return raw, updated, launch_softmin(formula.transpose(), updated + log_a, epsilon=epsilon)
