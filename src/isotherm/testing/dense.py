"""Every number of a transport problem by its definition: dense, in float64, with nothing clever.

For problems of a few hundred points at most. Rounding of the input is not undone: a float32 problem is evaluated as
the float64 problem that it rounds to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from isotherm.problem import Problem


@dataclass(frozen=True, kw_only=True)
class ObjectiveValues:
    """What a plan pays in each form of the objective, and the entropies in them.

    Attributes:
        value: <C, P> + epsilon KL(P | kappa) + rho_a KL(P 1 | a) + rho_b KL(P' 1 | b), units of cost.
        entropy_value: <C, P> - epsilon H(P) + the same marginal terms.
        transport_cost: <C, P>.
        relative_entropy: KL(P | kappa) = sum P log(P / kappa) - P + kappa, no unit.
        entropy: H(P) = -sum P log P.
    """

    value: float
    entropy_value: float
    transport_cost: float
    relative_entropy: float
    entropy: float


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseSolution:
    """An entropic problem solved to rounding.

    Attributes:
        plan: Optimal P, shape (N, M), mass.
        f: Source potential, shape (N,), units of cost.
        g: Target potential, shape (M,), units of cost; <b, g> = 0 if both marginals are enforced.
        error: Largest change of a potential in the last step, units of cost; what remains is this over 1 - rate.
    """

    plan: Tensor
    f: Tensor
    g: Tensor
    error: float


def gibbs_plan(problem: Problem, f: Tensor, g: Tensor) -> Tensor:
    """P_ij = kappa_ij exp((f_i + g_j - C_ij) / epsilon), shape (N, M).

    Args:
        problem: The problem, any dtype, epsilon > 0.
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,), units of cost.

    Returns:
        The plan in float64; exactly zero where the reference is zero, or a side has no mass.

    Example:
        >>> from isotherm import CostMatrix, Problem
        >>> problem = Problem(CostMatrix(torch.zeros(2, 2)), epsilon=1.0)
        >>> gibbs_plan(problem, torch.zeros(2), torch.zeros(2))[0]
        tensor([0.2500, 0.2500], dtype=torch.float64)
    """
    cost, a, b = _arrays(problem)
    exponent = (f.double()[:, None] + g.double() - cost) / problem.epsilon  # (N, M)
    kappa = _reference(problem)
    allowed = (kappa > 0) & (a > 0)[:, None] & (b > 0)
    return torch.where(allowed, (kappa.log() + exponent).exp(), 0.0)


def dense_dual_value(problem: Problem, f: Tensor, g: Tensor) -> float:
    """Dual objective of any potentials, a lower bound on the value.

        phi_a(f) + phi_b(g) - epsilon sum_ij kappa_ij (exp((f_i + g_j - C_ij) / epsilon) - 1)
        phi_a(f) = <a, f>  if rho_a = inf,  else  -rho_a <a, exp(-f / rho_a) - 1>

    Args:
        problem: The problem, any dtype, epsilon > 0.
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,), units of cost.

    Returns:
        The value, units of cost.
    """
    _, a, b = _arrays(problem)
    total = -problem.epsilon * (gibbs_plan(problem, f, g) - _reference(problem)).sum()
    for weights, potential, rho in ((a, f.double(), problem.rho_a), (b, g.double(), problem.rho_b)):
        gain = potential if math.isinf(rho) else -rho * torch.expm1(-potential / rho)
        total = total + (weights * torch.where(weights > 0, gain, 0.0)).sum()
    return float(total)


def dense_soft_transform(problem: Problem, g: Tensor) -> Tensor:
    """The best potential of the sources for a potential of the targets.

        f_i = -epsilon / (1 + epsilon / rho_a) log sum_j (kappa_ij / a_i) exp((g_j - C_ij) / epsilon)

    Args:
        problem: The problem, any dtype, epsilon > 0.
        g: Potential of the targets, shape (M,), units of cost.

    Returns:
        Shape (N,), units of cost. A source without weight is given the reference b.
    """
    cost, _, b = _arrays(problem)
    exponent = _log_ratio(problem) + b.log() + (g.double() - cost) / problem.epsilon  # (N, M)
    return -problem.epsilon / (1 + problem.epsilon / problem.rho_a) * torch.logsumexp(exponent, 1)


def primal_values(problem: Problem, plan: Tensor) -> ObjectiveValues:
    """What a plan pays, term by term; enforced marginals are taken on trust.

    Args:
        problem: The problem, any dtype; epsilon = 0 leaves the transport cost and the marginal terms.
        plan: P, shape (N, M), non-negative.

    Returns:
        The values, +inf for a plan with mass where the reference has none.

    Example:
        >>> from isotherm import CostMatrix, Problem
        >>> problem = Problem(CostMatrix([[0.0, 1.0], [1.0, 0.0]]), epsilon=1.0)
        >>> primal_values(problem, torch.full((2, 2), 0.25)).value
        0.5
    """
    cost, a, b = _arrays(problem)
    plan = plan.double()
    paid = (plan * cost).sum()
    marginal_terms = torch.zeros_like(paid)
    for marginal, weights, rho in ((plan.sum(1), a, problem.rho_a), (plan.sum(0), b, problem.rho_b)):
        if not math.isinf(rho):
            marginal_terms = marginal_terms + rho * _kl(marginal, weights)
    relative, entropy = _kl(plan, _reference(problem)), torch.special.entr(plan).sum()
    return ObjectiveValues(
        value=float(paid + problem.epsilon * relative + marginal_terms) if problem.epsilon else float(paid),
        entropy_value=float(paid - problem.epsilon * entropy + marginal_terms) if problem.epsilon else float(paid),
        transport_cost=float(paid),
        relative_entropy=float(relative),
        entropy=float(entropy),
    )


def dense_solution(problem: Problem, *, steps: int = 5000) -> DenseSolution:
    """Sinkhorn by the definition, cooled from the size of the cost, until the potentials move no more.

        f_i <- -epsilon / (1 + epsilon / rho_a) log sum_j (kappa_ij / a_i) exp((g_j - C_ij) / epsilon),   g likewise

    Args:
        problem: The problem, any dtype, epsilon > 0.
        steps: Largest number of steps at the last temperature.

    Returns:
        Plan and potentials. Look at `error` before trusting more digits than it has.

    Example:
        >>> from isotherm import CostMatrix, Problem
        >>> answer = dense_solution(Problem(CostMatrix([[0.0, 1.0], [1.0, 0.0]]), epsilon=1.0))
        >>> answer.plan[0]
        tensor([0.3655, 0.1345], dtype=torch.float64)
    """
    cost, a, b = _arrays(problem)
    ratio, log_a, log_b, g = _log_ratio(problem), a.log()[:, None], b.log(), torch.zeros_like(b)
    f, epsilon = torch.zeros_like(a), max(problem.epsilon, float(cost.abs().max()))
    error = math.inf
    while True:
        is_last = epsilon <= problem.epsilon
        epsilon = max(epsilon, problem.epsilon)
        damp_a, damp_b = 1 / (1 + epsilon / problem.rho_a), 1 / (1 + epsilon / problem.rho_b)
        for _ in range(steps if is_last else 5):
            old_f, old_g = f, g
            f = -epsilon * damp_a * torch.logsumexp(ratio + log_b + (g - cost) / epsilon, 1)
            g = -epsilon * damp_b * torch.logsumexp(ratio + log_a + (f[:, None] - cost) / epsilon, 0)
            if is_last:
                error = max(float((old - new).abs().max()) for old, new in ((old_f, f), (old_g, g)))
                if error <= 1e-15 * (epsilon + float(cost.abs().max())):
                    break
        if is_last:
            break
        epsilon *= 0.5
    if problem.is_balanced:
        shift = float(b @ g / b.sum())
        f, g = f + shift, g - shift
    return DenseSolution(plan=gibbs_plan(problem, f, g), f=f, g=g, error=error)


def _arrays(problem: Problem) -> tuple[Tensor, Tensor, Tensor]:
    """C, a and b in float64."""
    problem = problem.double()
    return problem.geometry.block(slice(None)).detach(), problem.a.detach(), problem.b.detach()


def _reference(problem: Problem) -> Tensor:
    """kappa in float64, shape (N, M)."""
    _, a, b = _arrays(problem)
    return torch.outer(a, b) if problem.reference is None else problem.reference.detach().double()


def _log_ratio(problem: Problem) -> Tensor:
    """log(kappa / (a x b)), shape (N, M); 0 where a side has no weight."""
    _, a, b = _arrays(problem)
    support = (a > 0)[:, None] & (b > 0)
    return torch.where(support, _reference(problem).log() - a.log()[:, None] - b.log(), 0.0)


def _kl(mass: Tensor, reference: Tensor) -> Tensor:
    log_ratio = torch.where(mass > 0, mass.log() - reference.log(), 0.0)  # the quotient itself may underflow
    return (mass * log_ratio - mass + reference).sum()
