"""Values of the primal and dual objectives, from potentials and marginals alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from isotherm.problem import Problem


def dual_value(problem: Problem, f: Tensor, g: Tensor, plan_mass: Tensor) -> Tensor:
    """Dual objective, a lower bound on the value for any potentials.

        D(f, g) = phi_a(f) + phi_b(g) - epsilon (mass(P) - mass(kappa))
        phi_a(f) = <a, f>  if rho_a = inf,  else  -rho_a <a, exp(-f / rho_a) - 1>

    Args:
        problem: The problem, in float64.
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,).
        plan_mass: Total mass of the plan these potentials define, a scalar; at epsilon = 0 it plays no part.

    Returns:
        A scalar, units of cost times mass.
    """
    value = marginal_dual(problem.a, f, problem.rho_a) + marginal_dual(problem.b, g, problem.rho_b)
    return value - problem.epsilon * (plan_mass - problem.reference_mass)


def marginal_dual(weights: Tensor, potential: Tensor, rho: float) -> Tensor:
    """The dual's term of one side: <w, f> where rho = inf, else -rho <w, exp(-f / rho) - 1>."""
    kept = weights > 0
    potential = torch.where(kept, potential, 0.0)
    if math.isinf(rho):
        return weights @ potential
    return -rho * (weights @ torch.expm1(-potential / rho))


def soft_transform(problem: Problem, g: Tensor) -> tuple[Tensor, Tensor]:
    """The best potential of the sources for a potential of the targets, and the row sums of their plan.

        f_i = -epsilon log sum_j exp((g_j - C_ij) / epsilon) b_j / (1 + epsilon / rho_a),    r_i = a_i exp(-f_i / rho_a)

    Args:
        problem: The problem.
        g: Potential of the targets, shape (M,), units of cost.

    Returns:
        f and r, both of shape (N,). One pass over all pairs.
    """
    rows = problem.tilted_geometry.for_iteration()
    f = rows.softmin(g + problem.log_weights[1], epsilon=problem.epsilon) / (1.0 + problem.epsilon / problem.rho_a)
    return f, problem.a * (-f / problem.rho_a).exp()


def skipped_mass(problem: Problem, f: Tensor, g: Tensor) -> Tensor:
    """Upper bound on the plan's mass on pairs that the problem's geometry leaves out of its reductions, a scalar."""
    return problem.geometry.skipped_mass(f, g, problem.a, problem.b, epsilon=problem.epsilon)


def marginal_penalty(marginal: Tensor, weights: Tensor, rho: float) -> Tensor:
    """rho KL(marginal | weights), zero for a balanced side (its constraint is somebody else's duty)."""
    if math.isinf(rho):
        return torch.zeros((), dtype=marginal.dtype, device=marginal.device)
    return rho * kl(marginal, weights)


def kl(mass: Tensor, reference: Tensor) -> Tensor:
    """KL(m | r) = sum m log(m / r) - m + r; +inf where m has mass and r has none."""
    return log_ratio_sum(mass, reference) - mass.sum() + reference.sum()


def log_ratio_sum(mass: Tensor, reference: Tensor) -> Tensor:
    """sum m log(m / r) with 0 log 0 = 0; +inf where m has mass and r has none."""
    return torch.xlogy(mass, torch.where(mass > 0, mass / reference, 1.0)).sum()


def entropy(mass: Tensor) -> Tensor:
    """H(m) = -sum m log m with 0 log 0 = 0."""
    return -torch.xlogy(mass, mass).sum()
