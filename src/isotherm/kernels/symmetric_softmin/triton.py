"""On the GPU a softmin: sums of columns would need atomic additions, in an order that changes from run to run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.softmin.triton import launch_softmin
from isotherm.kernels.triton_launch import as_formula

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource


def symmetric_softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor) -> Tensor:
    """See `isotherm.kernels.symmetric_softmin`."""
    return launch_softmin(as_formula(costs), h, epsilon=epsilon, guess=guess)
