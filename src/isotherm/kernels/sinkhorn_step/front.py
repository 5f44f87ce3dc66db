"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference
from .update import RowUpdate

gpu = Deferred("isotherm.kernels.sinkhorn_step.triton")


def sinkhorn_step(
    costs: CostSource, f: Tensor, h: Tensor, log_a: Tensor, update: RowUpdate, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One update of the potentials of the sources, then of the targets.

        s_i  = -epsilon log sum_j exp((h_j - C_ij) / epsilon)
        f'_i = update(f_i, s_i)
        t_j  = -epsilon log sum_i a_i exp((f'_i - C_ij) / epsilon)

    Fused, one exponential per pair serves both sums: exp((h_j - C_ij - s_i) / epsilon) for the rows of a tile is kept
    until their sums are known, then enters the columns with the new factors of the rows. Columns whose mass
    underflows beside the others are summed again by themselves. Time O(N M D); memory O(N + M).

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost; +inf forbids a pair.
        f: Potential of the sources before, shape (N,), units of cost; also the guess for s.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        log_a: epsilon log a, shape (N,), units of cost; -inf marks no mass.
        update: From s to f'.
        epsilon: Temperature > 0, units of cost.

    Returns:
        s and f', shape (N,), and t, shape (M,), units of cost. Not differentiable.

    References:
        [SinkhornKnopp1967], [PeyreCuturi2019, section 4.4]
    """
    return choose((cpu, gpu, reference), costs, f, h, log_a).sinkhorn_step(costs, f, h, log_a, update, epsilon=epsilon)


def is_fused(costs: CostSource, *tensors: Tensor) -> bool:
    """Whether `sinkhorn_step` takes one exponential per pair here; otherwise two calls of `softmin` do as well."""
    return choose((cpu, gpu, reference), costs, *tensors) is cpu
