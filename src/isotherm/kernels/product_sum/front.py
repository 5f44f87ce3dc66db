"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource

from . import cpu, reference


def product_sum(costs: CostSource, a: Tensor, b: Tensor, *, centre: Tensor | None = None) -> Tensor:
    """Cost, or its squared deviation from a centre, summed under a ⊗ b.

        sum_ij a_i t(C_ij) b_j,    t(C) = C  or  (C - centre)^2

    Time O(N M D); memory O(N + M) beside one block of rows.

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost; +inf counts only where both sides have mass.
        a: Weights of the sources, shape (N,).
        b: Weights of the targets, shape (M,).
        centre: Scalar to take the squared deviation from.

    Returns:
        A scalar.
    """
    return choose((cpu, reference), costs, a, b, centre).product_sum(costs, a, b, centre=centre)
