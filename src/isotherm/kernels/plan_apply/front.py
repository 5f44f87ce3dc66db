"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.dispatch import choose
from isotherm.kernels.source import CostSource
from isotherm.kernels.triton_launch import Deferred

from . import cpu, reference

gpu = Deferred("isotherm.kernels.plan_apply.triton", is_operator=True)


def plan_apply(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Product of the entropic plan with some vectors.

        (P V)_ik = sum_j exp((p_i + q_j - C_ij) / epsilon) V_jk

    Time O(N M (D + K)); memory O((N + M) K) beside one block of rows.

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost.
        p: Weighted potential of the sources, f + epsilon log a, shape (N,); -inf marks no mass.
        q: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        values: V, shape (M, K).
        epsilon: Temperature > 0, units of cost.

    Returns:
        P V, shape (N, K).
    """
    return choose((cpu, gpu, reference), costs, p, q, values).plan_apply(costs, p, q, values, epsilon=epsilon)


def plan_cost(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float, paid: CostSource | None = None) -> Tensor:
    """Cost paid by each source under the entropic plan, sum_j P_ij C_ij.

    Args:
        costs: Costs that define the plan, shape (N, M).
        p: Weighted potential of the sources, shape (N,).
        q: Weighted potential of the targets, shape (M,).
        epsilon: Temperature > 0, units of cost.
        paid: Costs to charge when they differ from those that define the plan.

    Returns:
        Shape (N,); the sum over i is <C, P>.
    """
    if paid is not None and paid is not costs:
        return reference.plan_cost(costs, p, q, epsilon=epsilon, paid=paid)
    backend = choose((cpu, gpu, reference), costs, p, q, rule="why_not_cost")
    return backend.plan_cost(costs, p, q, epsilon=epsilon)


def plan_marginals(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Row sums and column sums of the entropic plan, in one pass over all pairs on a CPU.

        r_i = sum_j P_ij,    c_j = sum_i P_ij,    P_ij = exp((p_i + q_j - C_ij) / epsilon)

    Time O(N M D); memory O(N + M). Differentiable as `plan_apply` is.

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost.
        p: Weighted potential of the sources, shape (N,); -inf marks no mass.
        q: Weighted potential of the targets, shape (M,); -inf marks no mass.
        epsilon: Temperature > 0, units of cost.

    Returns:
        r, shape (N,), and c, shape (M,).

    Example:
        >>> import torch
        >>> from isotherm.kernels import Formula
        >>> rows, columns = plan_marginals(Formula("stored", torch.zeros(1, 2)), torch.zeros(1), torch.zeros(2), epsilon=1.0)
        >>> rows.round(decimals=4), columns.round(decimals=4)
        (tensor([2.]), tensor([1., 1.]))
    """
    return choose((cpu, gpu, reference), costs, p, q).plan_marginals(costs, p, q, epsilon=epsilon)
