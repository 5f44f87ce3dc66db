"""Softmin in the compiled extension: one pass, nothing of size N x M."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels import ops
from isotherm.kernels.compiled import known_formula
from isotherm.kernels.compiled import why_no_operator as why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["softmin", "why_not"]


def softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.softmin`."""
    return ops.softmin(known_formula(costs), h, guess, epsilon=epsilon)
