"""Solve a problem and differentiate what comes out: one term at a time, by the rule that was asked for."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._checks import check_choice
from isotherm._status import ConvergenceWarning
from isotherm.divergences.differentiation import Differentiation, Envelope, Implicit, Unroll
from isotherm.divergences.envelope import Optimum, envelope_value
from isotherm.divergences.implicit import fix_gauge, implicit_potentials
from isotherm.geometry import Grid
from isotherm.kernels import symmetric_softmin
from isotherm.solvers import Auto, ConvergenceError, Symmetric
from isotherm.solvers.solve import as_solver
from isotherm.solvers.stopping import DEFAULT_TOLERANCE
from isotherm.solvers.symmetric import why_not_symmetric
from isotherm.solvers.work import perform_all

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isotherm.divergences.cache import PotentialCache
    from isotherm.divergences.term import Term
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers import AbstractSolver


@dataclass(frozen=True, eq=False, kw_only=True)
class Computation:
    """How the terms of a loss are solved and differentiated.

    Attributes:
        differentiation: Rule for derivatives.
        solver: Who solves; `Auto()` for None.
        tolerance: L1 marginal error; the solver's own for None.
        on_failure: "warn", "raise" or "ignore".
        cache: Where solves start and leave their potentials.
    """

    differentiation: Differentiation
    solver: AbstractSolver | str | None = None
    tolerance: float | None = None
    on_failure: str = "warn"
    cache: PotentialCache | None = None

    def __post_init__(self) -> None:
        check_choice(self.on_failure, "on_failure", ("warn", "raise", "ignore"))
        if not isinstance(self.differentiation, Envelope | Implicit | Unroll):
            msg = f"`differentiation` must be Envelope(), Implicit() or Unroll(steps): got {self.differentiation!r}. Pass one of them."
            raise TypeError(msg)

    def values(self, **terms: Sequence[Term]) -> list[list[Tensor]]:
        """The minimised objectives, differentiable scalars.

        Args:
            **terms: The members of a batch, by which solve of the loss they are.

        Returns:
            One for each member, for each solve.
        """
        rule = self.differentiation
        if isinstance(rule, Unroll):
            return [[_unrolled_value(term, rule.steps) for term in members] for members in terms.values()]
        found = iter(self._solve(terms))
        return [[envelope_value(term, next(found), rule.linear()) for term in members] for members in terms.values()]

    def potentials(self, **terms: Sequence[Term]) -> list[list[tuple[Tensor, Tensor]]]:
        """Differentiable potentials; balanced, in the gauge <b, g> = 0.

        Args:
            **terms: The members of a batch, by which solve of the loss they are.

        Returns:
            f (N,) and g (M,) for each member, for each solve.
        """
        rule = self.differentiation
        if isinstance(rule, Envelope):
            msg = "Envelope() differentiates the value alone: got a loss that is made of potentials. Use Implicit() or Unroll(steps)."
            raise TypeError(msg)
        if isinstance(rule, Unroll):
            return [[fix_gauge(term, *_unrolled(term, rule.steps)) for term in members] for members in terms.values()]
        found = iter(self._solve(terms))
        return [[_implicit(term, next(found), rule) for term in members] for members in terms.values()]

    @torch.no_grad()
    def _solve(self, terms: Mapping[str, Sequence[Term]]) -> list[Optimum]:
        """Optimal potentials as numbers, all solves served together; f is the soft minimum for g."""
        keyed = [((name, k), term.problem) for name, members in terms.items() for k, term in enumerate(members)]
        works = [
            self._chosen(name, problem).work(
                problem, init=None if self.cache is None else self.cache.start((name, k), problem)
            )
            for (name, k), problem in keyed
        ]
        out = []
        for (key, problem), solution in zip(keyed, perform_all(works), strict=True):
            self._judge(solution)
            if self.cache is not None:
                self.cache.keep(key, solution)
            f, g = solution.potentials
            f = _softmin(problem, g, guess=f) / (1.0 + problem.epsilon / problem.rho_a)
            out.append(Optimum(f, g, solution.problem.geometry))
        return out

    def _chosen(self, name: str, problem: Problem) -> AbstractSolver:
        """The solver, with one potential for both sides where a cloud meets itself, as `Auto` has on its own."""
        solver = as_solver(self.solver)
        if name.startswith("self") and not isinstance(solver, Auto) and not why_not_symmetric(problem):
            solver = Symmetric(tolerance=getattr(solver, "tolerance", DEFAULT_TOLERANCE))
        return solver if self.tolerance is None else solver.with_tolerance(self.tolerance)

    def _judge(self, solution: Solution) -> None:
        if solution.status.is_converged or self.on_failure == "ignore":
            return
        if self.on_failure == "raise":
            raise ConvergenceError(solution)
        warnings.warn(str(solution.status), ConvergenceWarning, stacklevel=8)


def _softmin(problem: Problem, g: Tensor, *, guess: Tensor) -> Tensor:
    """The soft minimum for g over all pairs, shape (N,), each met once where a cloud meets itself."""
    costs, h = problem.geometry.for_iteration(), g + problem.log_weights[1]
    if isinstance(costs, Grid) or why_not_symmetric(problem):
        return costs.softmin(h, epsilon=problem.epsilon, guess=guess)
    return symmetric_softmin(costs, h, epsilon=problem.epsilon, guess=guess)


def _implicit(term: Term, found: Optimum, rule: Implicit) -> tuple[Tensor, Tensor]:
    """Potentials with their derivative, where one is asked for."""
    f, g = found.f, found.g
    return implicit_potentials(term, f, g, rule.linear()) if term.asks_for_derivative else fix_gauge(term, f, g)


def _unrolled_value(term: Term, steps: int) -> Tensor:
    """The dual objective after some iterations; the last potential is exact for the other."""
    f, g = _unrolled(term, steps)
    mass = (term.b * (-g / term.rho_b).exp()).sum(dtype=torch.float64)
    return term.value(f, g, plan_mass=mass)


def _unrolled(term: Term, steps: int) -> tuple[Tensor, Tensor]:
    """Potentials after some iterations from zero, f first, the graph going through all of them."""
    transposed: Any = term.transpose()
    f, g = torch.zeros_like(term.a), torch.zeros_like(term.b)
    for _ in range(steps):
        f = term.soft_minimum(g)
        g = transposed.soft_minimum(f)
    return f, g
