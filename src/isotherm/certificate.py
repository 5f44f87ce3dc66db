"""Two-sided bounds on the entropic and on the exact transport value, from any potentials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.coupling.rounding import FeasiblePlan, make_feasible
from isotherm.objective import dual_value, log_ratio_sum, marginal_penalty, skipped_mass

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry
    from isotherm.problem import Problem


UNIT = torch.finfo(torch.float64).eps
ROUNDINGS = 4.0  # in an exponent, a sum and what it is multiplied by


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Bounds that hold whether or not the solver converged, computed in float64 with memory O(N + M).

        entropic_lower <= OT_epsilon(a, b) <= entropic_upper
        exact_lower    <= OT_0(a, b)       <= exact_upper

    Attributes:
        entropic_lower: Dual value after one soft c-transform.
        entropic_upper: Value of an exactly feasible plan near the returned one; +inf if repairing the marginals needs
            a pair that the reference forbids.
        exact_lower: Dual value after hard c-transforms: a bound on the optimal cost at zero temperature.
        exact_upper: Transport cost (plus marginal penalties) of that feasible plan.

    Example:
        >>> bounds = Certificate(entropic_lower=0.99, entropic_upper=1.0, exact_lower=0.7, exact_upper=0.8)
        >>> round(bounds.relative_gap, 3)
        0.01
    """

    entropic_lower: float
    entropic_upper: float
    exact_lower: float
    exact_upper: float

    @property
    def relative_gap(self) -> float:
        """(entropic_upper - entropic_lower) over the larger of their magnitudes; infinity without an upper bound."""
        gap, scale = self.entropic_upper - self.entropic_lower, max(abs(self.entropic_lower), abs(self.entropic_upper))
        if not math.isfinite(gap):
            return math.inf
        return gap / scale if gap > 0 else 0.0

    def __str__(self) -> str:
        return (
            f"entropic value in [{self.entropic_lower:.6g}, {self.entropic_upper:.6g}] "
            f"(relative gap {self.relative_gap:.1e}); exact cost in [{self.exact_lower:.6g}, {self.exact_upper:.6g}]"
        )


def certify(problem: Problem, g: Tensor) -> Certificate:
    """Bounds from the potential of the targets alone.

    Lower bounds are values of the dual at feasible points, upper bounds values of the primal at a feasible plan. The
    relative entropy of its rank-one part is bounded by convexity, so no N x M array appears. Time: about seven
    passes over all pairs in float64.

    Args:
        problem: The problem, any dtype. The targets' weights are rescaled to the sources' mass where rounding made
            them differ.
        g: Potential of the targets, shape (M,), units of cost; any finite values are valid.

    Returns:
        The four bounds.

    References:
        [Altschuler2017, algorithm 2], [PeyreCuturi2019, proposition 4.5]
    """
    exact = problem.double()
    plan = make_feasible(exact, g.double())
    mass = plan.plan_mass + skipped_mass(exact, plan.f, plan.dual_g)
    entropic, paid = _rounding(exact, plan)
    return Certificate(
        entropic_lower=float(dual_value(exact, plan.f, plan.dual_g, mass) - entropic),
        entropic_upper=_upper(_entropic_value(exact, plan) + entropic),
        exact_lower=float(_exact_lower(exact, plan.dual_g) - ROUNDINGS * UNIT * paid),
        exact_upper=_upper(_exact_value(exact, plan) + entropic),
    )


def _rounding(problem: Problem, plan: FeasiblePlan) -> tuple[Tensor, Tensor]:
    """How far float64 may be off in the bounds, and in a sum of potentials over the mass.

    An exponent (f_i + g_j - C_ij) / epsilon carries some roundings of its largest term, so the plan's entries are right
    to that share, and so are sums of them with potentials, costs and epsilon.
    """
    sizes = [
        torch.where((weights > 0) & potential.isfinite(), potential, 0.0).abs().max()
        for weights, potential in ((problem.a, plan.f), (problem.b, plan.g), (problem.b, plan.dual_g))
    ]
    scale = sum(sizes) + 4.0 * problem.geometry.coordinate_scale
    terms = (scale + problem.epsilon) * plan.row_mass.sum().clamp(min=0.0)
    return ROUNDINGS * UNIT * (1.0 + scale / problem.epsilon) * terms, terms


def _upper(value: Tensor) -> float:
    """An upper bound; none (infinity) where the arithmetic overflowed."""
    return math.inf if math.isnan(value) else float(value)


def certify_exact(problem: Problem, g: Tensor, cost: Tensor) -> Certificate:
    """Bounds for the cold end, where the entropic and the exact value are one.

    Args:
        problem: The problem at epsilon = 0.
        g: Potential of the targets, shape (M,), units of cost.
        cost: Transport cost of a feasible plan.

    Returns:
        The four bounds, equal in pairs.
    """
    lower = float(_exact_lower(problem.double(), g.double()))
    upper = max(lower, float(cost))  # masses rounded to float32 may cost less than any plan can
    return Certificate(entropic_lower=lower, entropic_upper=upper, exact_lower=lower, exact_upper=upper)


def _entropic_value(problem: Problem, plan: FeasiblePlan) -> Tensor:
    """Upper bound on the entropic objective of the feasible plan A + B.

    <C, A> + epsilon sum A log(A / ab) = <r, f> + <c, g>                              (A has the Gibbs form)
    sum (A+B) log((A+B) / ab) <= sum A log(A / ab) + sum B log(B / ab) - m_A log(m_A / m) - m_B log(m_B / m)
    """
    mass_a, mass_b = plan.row_mass.sum(), plan.missing
    mass = mass_a + mass_b
    value = _dot(plan.row_mass, plan.f) + _dot(plan.column_mass, plan.g)
    if mass_b > 0:
        repair = log_ratio_sum(plan.missing_a, problem.a) + log_ratio_sum(plan.missing_b, problem.b)
        repair = repair - torch.xlogy(mass_b, mass_b)
        mixing = torch.xlogy(mass_a, mass_a / mass) + torch.xlogy(mass_b, mass_b / mass)
        value = value + _repair_cost(problem.tilted_geometry, plan) + problem.epsilon * (repair - mixing)
    return value + problem.epsilon * (problem.reference_mass - mass) + _penalties(problem, plan)


def _exact_value(problem: Problem, plan: FeasiblePlan) -> Tensor:
    """Transport cost of the feasible plan, plus the price of unbalanced marginals."""
    log_a, log_b = problem.log_weights
    rows = problem.tilted_geometry
    paid = rows.plan_cost(plan.f + log_a, plan.g + log_b, epsilon=problem.epsilon).sum()
    return paid + _repair_cost(problem.geometry, plan) + _penalties(problem, plan)


def _exact_lower(problem: Problem, g: Tensor) -> Tensor:
    """Dual value at zero temperature after two hard c-transforms, which can only raise it."""
    f = problem.geometry.for_iteration().hard_min(torch.where(problem.b > 0, g, -torch.inf))
    columns = problem.geometry.transpose().for_iteration()
    g = columns.hard_min(torch.where(problem.a > 0, f, -torch.inf))
    return dual_value(problem.at(0.0), f, g, torch.zeros_like(problem.reference_mass))


def _repair_cost(costs: AbstractGeometry, plan: FeasiblePlan) -> Tensor:
    """Cost of the rank-one part, missing_a' C missing_b / mass."""
    if not plan.missing > 0:
        return torch.zeros_like(plan.missing)
    return costs.product_cost(plan.missing_a, plan.missing_b) / plan.missing


def _penalties(problem: Problem, plan: FeasiblePlan) -> Tensor:
    sources = marginal_penalty(plan.row_mass, problem.a, problem.rho_a)
    return sources + marginal_penalty(plan.column_mass, problem.b, problem.rho_b)


def _dot(weights: Tensor, values: Tensor) -> Tensor:
    """Inner product in which a zero weight silences an infinite value."""
    return (weights * torch.where(weights > 0, values, 0.0)).sum()
