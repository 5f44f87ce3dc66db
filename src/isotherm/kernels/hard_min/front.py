"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.hard_min.triton")


def hard_min(costs: CostSource, h: Tensor) -> Tensor:
    """Minimum over the targets of cost minus potential.

        f_i = min_j C_ij - h_j

    The pair (f, h) then satisfies f_i + h_j <= C_ij: a feasible point of the Kantorovich dual, hence a lower bound
    on the exact transport cost. Time O(N M D); memory O(N + M).

    Args:
        costs: Supplies C_ij, shape (N, M), in units of cost.
        h: Potential of the targets, shape (M,); -inf removes a target from the minimum.

    Returns:
        Shape (N,), units of cost; +inf where no target is left.

    References:
        [PeyreCuturi2019, eq. 5.3]
    """
    return choose((cpu, gpu, reference), costs, h).hard_min(costs, h)
