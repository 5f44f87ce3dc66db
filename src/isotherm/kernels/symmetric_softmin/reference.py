"""The definition: a softmin, which may use that costs are symmetric, or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.softmin import reference as softmin_reference

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def symmetric_softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor) -> Tensor:
    """See `isotherm.kernels.symmetric_softmin`."""
    del guess  # the maximum of each row is found anyway
    return softmin_reference.softmin(costs, h, epsilon=epsilon)
