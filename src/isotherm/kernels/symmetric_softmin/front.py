"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.symmetric_softmin.triton")


def symmetric_softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor) -> Tensor:
    """`softmin` where costs are the same both ways, C_ij = C_ji, so that half the pairs are enough.

        s_i = -epsilon log sum_j exp((h_j - C_ij) / epsilon)

    With the row's own h as well, exp((h_i + h_j - C_ij) / epsilon) counts for row i and for row j. Compiled, each pair of
    cells of points is met once. Points without mass, and rows whose sums underflow beside the others, are summed by
    themselves. Time O(N^2 D / 2); memory O(N).

    Args:
        costs: Supplies C_ij, shape (N, N), symmetric, units of cost. Only half of a stored matrix may be read.
        h: Weighted potential, f + epsilon log a, shape (N,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0, units of cost.
        guess: About what will come out, shape (N,). It sets the scale of the sums, and changes nothing beyond rounding.

    Returns:
        Shape (N,), units of cost; +inf where every term vanishes. Not differentiable.
    """
    return choose((cpu, gpu, reference), costs, h, guess).symmetric_softmin(costs, h, epsilon=epsilon, guess=guess)
