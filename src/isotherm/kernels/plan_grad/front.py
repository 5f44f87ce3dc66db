"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.plan_grad.triton", is_operator=True)


def plan_grad(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Derivative of <P, C> by both clouds, the plan P held fixed.

        dx_i = sum_j P_ij dC_ij / dx_i,    dy_j = sum_i P_ij dC_ij / dy_j,    P_ij = exp((p_i + q_j - C_ij) / epsilon)

    At the optimum this is the derivative of the value itself (envelope theorem). The points are those of
    `Formula`: centred, or directions for the cosine; chain with their own derivative. The derivative of a
    distance at coincident points is zero, never NaN. Time O(N M D); memory O((N + M) D).

    Args:
        costs: A cost between points that has a formula, shape (N, M).
        p: Weighted potential of the sources, f + epsilon log a, shape (N,); -inf marks no mass.
        q: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        epsilon: Temperature > 0, units of cost.

    Returns:
        dx, shape (N, D), and dy, shape (M, D), units of cost times mass per unit of length.

    Raises:
        TypeError: The costs are stored, or a function of the points.

    Example:
        >>> import torch
        >>> from isotherm.geometry import PointCloud
        >>> cloud = PointCloud(torch.zeros(1, 1), torch.ones(1, 1))
        >>> by_x, by_y = plan_grad(cloud, torch.zeros(1), torch.ones(1), epsilon=1.0)  # P = 1, C = |x - y|^2
        >>> round(by_x.item(), 4), round(by_y.item(), 4)
        (-2.0, 2.0)
    """
    return choose((cpu, gpu, reference), costs, p, q).plan_grad(costs, p, q, epsilon=epsilon)


def plan_grad_by_sources(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
    """The first of both derivatives of `plan_grad`, dx, shape (N, D); a pass over as many pairs, with less to do for each.

    Args:
        costs: A cost between points that has a formula, shape (N, M).
        p: Weighted potential of the sources, shape (N,); -inf marks no mass.
        q: Weighted potential of the targets, shape (M,); -inf marks no mass.
        epsilon: Temperature > 0, units of cost.

    Returns:
        Shape (N, D), units of cost times mass per unit of length.

    Raises:
        TypeError: The costs are stored, or a function of the points.
    """
    backend = choose((cpu, gpu, reference), costs, p, q)
    if backend is cpu:
        return cpu.plan_grad_by_sources(costs, p, q, epsilon=epsilon)
    return backend.plan_grad(costs, p, q, epsilon=epsilon)[0]
