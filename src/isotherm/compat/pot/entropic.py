"""Entropic solves with all that POT's functions return: differentiable potentials and plan, iterations, a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._checks import MASS_TOLERANCE, check_weights
from isotherm._status import ConvergenceWarning
from isotherm.compat.pot.patience import patient_work
from isotherm.compat.pot.warn import warn_user
from isotherm.divergences import Implicit
from isotherm.divergences.implicit import fix_gauge, implicit_potentials
from isotherm.divergences.term import Number, Term, number
from isotherm.solvers.stopping import rounding_floor
from isotherm.solvers.work import perform_all

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry
    from isotherm.problem import Problem
    from isotherm.solution import Check, Solution

COARSE = 1e-4  # error per unit of mass above which a tolerance that rounding set is said not to be met
RESOLVED = 4.0  # tolerances below so many roundings of a plan's entries cannot be told from it
PRINTED = 10  # iterations from one printed line to the next


@dataclass(frozen=True, kw_only=True)
class Stop:
    """POT's stopping rule and what is said about it.

    Attributes:
        threshold: `stopThr`, a distance between marginals in units of mass. POT's is their L2 distance; ours is the L1
            distance, which is larger, so that we go at least as far.
        iterations: `numItermax`.
        warn: Whether not to converge is a warning.
        verbose: Whether the errors are printed.
    """

    threshold: float
    iterations: int
    warn: bool = True
    verbose: bool = False

    def tolerance(self, problem: Problem) -> float:
        """L1 error per unit of mass, no smaller than rounding lets be seen."""
        return max(self.threshold / float(problem.a.sum()), RESOLVED * rounding_floor(problem))

    def judge(self, solution: Solution) -> None:
        """Print and warn as was asked for; a threshold of zero is never met, one below rounding is where rounding is fine."""
        if self.verbose:
            print_history(solution.history)
        error = max(solution.marginal_error)
        is_fine = error <= max(COARSE, self.threshold / float(solution.problem.a.sum()))
        if self.warn and not (solution.status.is_converged and is_fine and self.threshold > 0):
            msg = (
                f"Sinkhorn did not converge: L1 marginal error {error:.2e} per unit of mass after {solution.iterations} "
                f"iterations in {solution.problem.geometry.dtype}. You might want to increase the number of iterations "
                f"`numItermax` or the regularization parameter `reg`, or to use float64."
            )
            warn_user(msg, ConvergenceWarning)


def print_history(history: Sequence[Check]) -> None:
    """POT's table of errors, after the solve."""
    print(f"{'It.':5s}|{'Err':12s}\n" + "-" * 19)
    for check in history[::PRINTED]:
        print(f"{check.iteration:5d}|{check.marginal_error:8e}|")


@dataclass(frozen=True, eq=False)
class Entropic:
    """A solved term.

    Attributes:
        term: The problem, in the caller's autograd graph.
        f: Potential of the sources, shape (N,), units of cost; differentiable by the implicit function theorem.
        g: Potential of the targets, shape (M,).
        solution: What the solver says about them.
    """

    term: Term
    f: Tensor
    g: Tensor
    solution: Solution

    @cached_property
    def plan(self) -> Tensor:
        """P, shape (N, M): a_i b_j exp((f_i + g_j - C_ij) / epsilon)."""
        term = self.term
        exponent = (self.f[:, None] + self.g - term.geometry.block(slice(None))) / term.epsilon  # (N, M)
        empty = (term.a == 0)[:, None] & (term.b == 0)  # no mass on either side, and no bound on the exponent
        return term.a[:, None] * term.b * exponent.masked_fill(empty, 0.0).exp()

    @property
    def log_scalings(self) -> tuple[Tensor, Tensor]:
        """log u and log v of P = diag(u) exp(-C / epsilon) diag(v), shapes (N,) and (M,); -inf without mass."""
        term = self.term
        return self.f / term.epsilon + term.a.log(), self.g / term.epsilon + term.b.log()

    @property
    def errors(self) -> list[float]:
        """The L1 marginal errors seen on the way, in units of mass."""
        mass = float(self.term.a.detach().sum())
        return [check.marginal_error * mass for check in self.solution.history]


def balanced_term(geometry: AbstractGeometry, a: Tensor, b: Tensor, reg: Number) -> Term:
    """Balanced transport; b takes the mass of a, which must be its own up to rounding.

    Args:
        geometry: Costs, shape (N, M).
        a: Weights, shape (N,).
        b: Weights, shape (M,).
        reg: Temperature, units of cost.

    Returns:
        The term.

    Raises:
        ValueError: Masses differ, or weights are bad.
    """
    _check_weights(geometry, a, b)
    mass_a, mass_b = (float(w.detach().sum(dtype=torch.float64)) for w in (a, b))
    if abs(mass_a - mass_b) > MASS_TOLERANCE * max(mass_a, mass_b):
        msg = (
            f"`a` must sum to the same mass as `b`: got {mass_a:.9g} and {mass_b:.9g}. "
            f"Normalise both, or use unbalanced.sinkhorn_unbalanced."
        )
        raise ValueError(msg)
    return Term(geometry=geometry, a=a, b=b * (a.sum() / b.sum()), epsilon=reg)


def unbalanced_term(
    geometry: AbstractGeometry, a: Tensor, b: Tensor, reg: Number, reg_m: tuple[Number, Number]
) -> Term:
    """Transport with prices for missing the marginals; balanced where both are infinite.

    Args:
        geometry: Costs, shape (N, M).
        a: Weights, shape (N,).
        b: Weights, shape (M,).
        reg: Temperature, units of cost.
        reg_m: Prices of both marginals, units of cost.

    Returns:
        The term.
    """
    if all(math.isinf(number(price)) for price in reg_m):
        return balanced_term(geometry, a, b, reg)
    _check_weights(geometry, a, b)
    return Term(geometry=geometry, a=a, b=b, epsilon=reg, rho_a=reg_m[0], rho_b=reg_m[1])


def solve_terms(
    terms: Sequence[Term], stop: Stop, inits: Sequence[tuple[Tensor, Tensor] | None] | None = None
) -> list[Entropic]:
    """Solve problems together, and say what POT would say.

    Args:
        terms: The problems.
        stop: When to stop.
        inits: Potentials to start each from, shapes (N,) and (M,), units of cost.

    Returns:
        One result for each; sources' marginals exact.
    """
    works = [
        patient_work(term.problem, stop.tolerance(term.problem), stop.iterations, init)
        for term, init in zip(terms, inits or [None] * len(terms), strict=True)
    ]
    found = [_with_derivative(term, solution) for term, solution in zip(terms, perform_all(works), strict=True)]
    for result in found:
        stop.judge(result.solution)
    return found


def potentials_of_scalings(term: Term, warmstart: Any) -> tuple[Tensor, Tensor] | None:
    """Potentials (f, g) whose scalings have the given logarithms; what is not finite starts at zero.

    Args:
        term: The problem to start.
        warmstart: log u and log v, shapes (N,) and (M,), or None.

    Returns:
        Potentials, units of cost.
    """
    if warmstart is None:
        return None
    potentials = [
        number(term.epsilon) * (torch.as_tensor(log_scaling).detach().to(weights) - weights.detach().log())
        for log_scaling, weights in zip(warmstart, (term.a, term.b), strict=True)
    ]
    f, g = (potential.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0) for potential in potentials)
    return f, g


def _check_weights(geometry: AbstractGeometry, a: Tensor, b: Tensor) -> None:
    check_weights(a.detach(), "a", geometry.shape[0])
    check_weights(b.detach(), "b", geometry.shape[1])


def _with_derivative(term: Term, solution: Solution) -> Entropic:
    """The potentials with the derivative that their optimality implies, f the soft minimum for g."""
    problem = term.problem
    f, g = solution.potentials
    with torch.no_grad():
        softmin = problem.geometry.softmin(g + problem.log_weights[1], epsilon=problem.epsilon)
        f = softmin / (1.0 + problem.epsilon / problem.rho_a)
    if not term.asks_for_derivative:
        return Entropic(term, *fix_gauge(term, f, g), solution)
    return Entropic(term, *implicit_potentials(term, f, g, Implicit().linear()), solution)
