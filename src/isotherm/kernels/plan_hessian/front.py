"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.plan_hessian.triton", is_operator=True)


def plan_hessian(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Curvature of the semi-dual by the potential of the sources, times some vectors.

        H V = (diag(r) V - P diag(1 / c) P' V) / epsilon,    r = P 1, c = P' 1

    Minus the Hessian of f -> max_g dual(f, g) for balanced transport: the Schur complement, by the sources, of the
    dual's own Hessian [[diag r, P], [P', diag c]] / epsilon. Symmetric, positive semi-definite, zero on constants.
    Two passes over the pairs; time O(N M (D + K)), memory O((N + M) K). For the side of the targets transpose the
    costs and swap p and q. Differentiable wherever `plan_apply` is.

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost.
        p: Weighted potential of the sources, f + epsilon log a, shape (N,); -inf marks no mass.
        q: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        values: V, shape (N, K).
        epsilon: Temperature > 0, units of cost.

    Returns:
        H V, shape (N, K), mass per unit of cost times the unit of V; zero for points without mass.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Formula
        >>> costs = Formula("stored", torch.zeros(2, 2))
        >>> plan_hessian(costs, torch.zeros(2), torch.zeros(2), torch.tensor([[1.0], [3.0]]), epsilon=1.0)
        tensor([[-2.0000],
                [ 2.0000]])
    """
    return choose((cpu, gpu, reference), costs, p, q, values).plan_hessian(costs, p, q, values, epsilon=epsilon)
