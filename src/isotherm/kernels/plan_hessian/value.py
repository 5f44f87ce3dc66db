"""Hessian of the value of balanced transport by the sources' points, times a direction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.ops import plan_curvature
from isotherm.kernels.plan_apply import plan_apply
from isotherm.kernels.plan_grad import plan_grad
from isotherm.kernels.plan_grad.reference import points_formula
from isotherm.kernels.plan_hessian.front import plan_hessian
from isotherm.kernels.plan_hessian.gradients import conjugate_gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from isotherm.kernels.source import CostSource


def value_hessian(
    costs: CostSource,
    p: Tensor,
    q: Tensor,
    z: Tensor,
    *,
    epsilon: float,
    tolerance: float | None = None,
    max_iterations: int = 1000,
) -> Tensor:
    """How the gradient of the value changes as the sources move along a direction, the potentials following.

        W_xx z = F_xx z + F_xt H^+ F_tx z,    F = -epsilon sum_ij P_ij,    H = [[diag r, P], [P', diag c]] / epsilon

    with t the potentials of both sides, at the optimum of balanced transport, W(x) = max_fg dual. F_xx and F_tx take
    one pass in plain torch, blocks of rows at a time; the linear system is solved by conjugate gradients on
    `plan_hessian`, two passes per iteration. Time O(N M D) per pass, memory O((N + M) D). Not differentiable.

    Args:
        costs: A cost between points that has a formula, shape (N, M); its points as in `plan_grad`.
        p: Weighted optimal potential of the sources, f + epsilon log a, shape (N,); -inf marks no mass.
        q: Weighted optimal potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        z: Direction in which the sources move, shape (N, D).
        epsilon: Temperature > 0, units of cost.
        tolerance: Relative residual of the linear system at which to stop; None is the dtype's rounding to the power 2/3.
        max_iterations: Most iterations; the system is the worse conditioned the smaller epsilon.

    Returns:
        W_xx z, shape (N, D).

    Raises:
        TypeError: The costs are stored, or a function of the points.
        RuntimeError: The linear system was not solved within `max_iterations`.

    Example:
        >>> from isotherm.kernels import Formula
        >>> costs = Formula("sqeuclidean", torch.zeros(1, 1), torch.ones(1, 1))
        >>> p, q = torch.zeros(1), torch.ones(1)  # one pair: W(x) = |x - y|^2
        >>> value_hessian(costs, p, q, torch.ones(1, 1), epsilon=1.0)
        tensor([[2.]])
    """
    share = torch.finfo(p.dtype).eps ** (2 / 3) if tolerance is None else tolerance
    formula = points_formula(costs)
    one_a, one_b = torch.ones_like(p)[:, None], torch.ones_like(q)[:, None]
    by_x, _, by_p, by_q, _, _ = plan_curvature(formula, p, q, one_a, one_b, z, epsilon=epsilon)
    r = plan_apply(formula, p, q, one_b, epsilon=epsilon)[:, 0]
    c = plan_apply(formula.transpose(), q, p, one_a, epsilon=epsilon)[:, 0]
    inverse_r, inverse_c = (torch.where(mass > 0, 1.0 / mass, 0.0) for mass in (r, c))
    wanted = by_p - plan_apply(formula, p, q, (by_q * inverse_c)[:, None], epsilon=epsilon)[:, 0]
    u = solve_or_raise(
        lambda v: plan_hessian(formula, p, q, v[:, None], epsilon=epsilon)[:, 0],
        wanted,
        epsilon * inverse_r,
        floor=share * (float(by_p.norm()) + float(by_q.norm())),
        max_iterations=max_iterations,
    )
    w = (epsilon * by_q - plan_apply(formula.transpose(), q, p, u[:, None], epsilon=epsilon)[:, 0]) * inverse_c
    shift = w.min()  # (u + s, w - s) solves the system as well: with w >= 0 its weights can go into the potential
    moved, _ = plan_grad(formula, p, q + epsilon * (w - shift).log(), epsilon=epsilon)
    still, _ = plan_grad(formula, p, q, epsilon=epsilon)
    return by_x + (moved + (u + shift)[:, None] * still) / epsilon


def solve_or_raise(
    apply: Callable[[Tensor], Tensor], wanted: Tensor, scaling: Tensor, *, floor: float, max_iterations: int
) -> Tensor:
    """The solution that `conjugate_gradients` finds, shape (N,); a RuntimeError where its residual is above the floor."""
    found = conjugate_gradients(apply, wanted, scaling, floor=floor, max_iterations=max_iterations)
    if found.meets(floor):
        return found.solution
    msg = (
        f"The linear system of the dual must be solved to a residual of {floor:.3g}: got {found.residual:.3g} "
        f"after {found.iterations} iterations. Raise `max_iterations` or `tolerance`, or compute in float64."
    )
    raise RuntimeError(msg)
