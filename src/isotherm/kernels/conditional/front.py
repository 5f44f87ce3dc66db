"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.conditional.triton", is_operator=True)


def conditional_mean(costs: CostSource, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Mean of some values of the targets under P(j | i): the barycentric map.

        T_ik = sum_j P(j | i) V_jk

    Time O(N M (D + K)); memory O((N + M) K) beside one block of rows.

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        values: V, shape (M, K).
        epsilon: Temperature > 0, units of cost.

    Returns:
        T, shape (N, K); NaN where no target has mass.

    References:
        [PooladianNilesWeed2021, eq. 4]
    """
    return choose((cpu, gpu, reference), costs, h, values).conditional_mean(costs, h, values, epsilon=epsilon)
