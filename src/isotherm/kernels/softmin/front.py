"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.softmin.triton", is_operator=True)


def softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
    """Smoothed minimum of cost minus potential over the targets.

        f_i = -epsilon * log sum_j exp((h_j - C_ij) / epsilon)

    The only reduction a Sinkhorn step needs. Time O(N M D); memory O(N + M).

    Args:
        costs: Supplies C_ij, shape (N, M), in units of cost; +inf forbids a pair.
        h: Weighted potential of the targets, g_j + epsilon log b_j, shape (M,), units of cost. -inf marks a
            point without mass; it is ignored.
        epsilon: Temperature > 0, units of cost.
        guess: About what will come out, shape (N,), such as the potential of the last iteration. It saves the search
            for each row's maximum; where it is far off the row is done again, so it never changes what comes out
            beyond rounding.

    Returns:
        Potential of shape (N,), units of cost; +inf where every term vanishes.

    References:
        [Feydy2020, eq. 3.186]
    """
    return choose((cpu, gpu, reference), costs, h, guess).softmin(costs, h, epsilon=epsilon, guess=guess)
