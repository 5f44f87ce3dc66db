"""Temperatures relative to the problem's own scale of cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isotherm._checks import check_choice, check_positive

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.geometry.abstract import AbstractGeometry


@dataclass(frozen=True)
class Relative:
    """A temperature given as a share of the mean or the standard deviation of the cost.

        epsilon = share * mean,    mean = sum_ij a_i b_j C_ij      (or the standard deviation under a ⊗ b)

    Costs that can be negative (`NegativeDot`) have no meaningful mean: use of="std" there.

    Attributes:
        share: Positive; 0.05 is a good first choice, see the page on choosing epsilon.
        of: "mean" or "std".

    Example:
        >>> Relative(0.05)
        Relative(share=0.05, of='mean')
    """

    share: float
    of: str = "mean"

    def __post_init__(self) -> None:
        check_positive(self.share, "share")
        check_choice(self.of, "of", ("mean", "std"))

    def resolve(self, geometry: AbstractGeometry, a: Tensor, b: Tensor) -> float:
        """The temperature in units of cost, in memory O(N + M).

        Args:
            geometry: Costs, shape (N, M).
            a: Weights of the sources, shape (N,); any positive mass.
            b: Weights of the targets, shape (M,).

        Returns:
            epsilon > 0.

        Raises:
            ValueError: The scale is zero, negative or not finite, so that no share of it is a temperature.
        """
        geometry, a, b = geometry.double(), a.double() / a.double().sum(), b.double() / b.double().sum()
        mean = geometry.product_cost(a, b)
        scale = float(mean if self.of == "mean" else geometry.product_square_deviation(a, b, mean).sqrt())
        if not scale > 0 or math.isinf(scale):
            msg = (
                f"`epsilon` = {self} needs a positive finite {self.of} of the cost: got {scale:.6g}. "
                f"Pass epsilon as a number in units of cost{'' if self.of == 'std' else ', or Relative(share, of=' + chr(34) + 'std' + chr(34) + ')'}."
            )
            raise ValueError(msg)
        return self.share * scale
