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
from isotherm.divergences.envelope import envelope_value
from isotherm.divergences.implicit import fix_gauge, implicit_potentials
from isotherm.solvers import ConvergenceError, Symmetric
from isotherm.solvers.solve import as_solver
from isotherm.solvers.stopping import DEFAULT_TOLERANCE
from isotherm.solvers.symmetric import why_not_symmetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.divergences.cache import PotentialCache
    from isotherm.divergences.term import Term
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers import AbstractSolver


CROSS, SELF_A, SELF_B = "cross", "self_a", "self_b"  # which solve of a loss


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

    def values(self, terms: Sequence[Term], name: str) -> list[Tensor]:
        """The minimised objectives, differentiable scalars.

        Args:
            terms: The members of a batch.
            name: Which solve of the loss they are.

        Returns:
            One for each.
        """
        rule = self.differentiation
        if not isinstance(rule, Unroll):
            found = self._solve(terms, name)
            return [envelope_value(term, f, g, rule.linear()) for term, (f, g) in zip(terms, found, strict=True)]
        out = []
        for term in terms:
            f, g = _unrolled(term, rule.steps)
            mass = (term.b * (-g / term.rho_b).exp()).sum(dtype=torch.float64)  # g is exact for f
            out.append(term.value(f, g, plan_mass=mass))
        return out

    def potentials(self, terms: Sequence[Term], name: str) -> list[tuple[Tensor, Tensor]]:
        """Differentiable potentials; balanced, in the gauge <b, g> = 0.

        Args:
            terms: The members of a batch.
            name: Which solve of the loss they are.

        Returns:
            f (N,) and g (M,) for each.
        """
        rule = self.differentiation
        if isinstance(rule, Envelope):
            msg = "Envelope() differentiates the value alone: got a loss that is made of potentials. Use Implicit() or Unroll(steps)."
            raise TypeError(msg)
        if isinstance(rule, Unroll):
            return [fix_gauge(term, *_unrolled(term, rule.steps)) for term in terms]
        found = zip(terms, self._solve(terms, name), strict=True)
        return [
            implicit_potentials(term, f, g, rule.linear()) if term.asks_for_derivative else fix_gauge(term, f, g)
            for term, (f, g) in found
        ]

    @torch.no_grad()
    def _solve(self, terms: Sequence[Term], name: str) -> list[tuple[Tensor, Tensor]]:
        """Optimal potentials as numbers, f the soft minimum for g; the one place where a batch is solved."""
        out = []
        for k, term in enumerate(terms):
            problem, key = term.problem, (name, k)
            init = None if self.cache is None else self.cache.start(key, problem)
            solution = self._chosen(name, problem).run(problem, init=init)
            self._judge(solution)
            if self.cache is not None:
                self.cache.keep(key, solution)
            f, g = solution.potentials
            softmin = problem.geometry.for_iteration().softmin(
                g + problem.log_weights[1], epsilon=problem.epsilon, guess=f
            )
            out.append((softmin / (1.0 + problem.epsilon / problem.rho_a), g))
        return out

    def _chosen(self, name: str, problem: Problem) -> AbstractSolver:
        """The solver, with one potential for both sides where a cloud meets itself."""
        solver = as_solver(self.solver)
        if name != CROSS and not why_not_symmetric(problem):
            solver = Symmetric(tolerance=getattr(solver, "tolerance", DEFAULT_TOLERANCE))
        return solver if self.tolerance is None else solver.with_tolerance(self.tolerance)

    def _judge(self, solution: Solution) -> None:
        if solution.status.is_converged or self.on_failure == "ignore":
            return
        if self.on_failure == "raise":
            raise ConvergenceError(solution)
        warnings.warn(str(solution.status), ConvergenceWarning, stacklevel=6)


def _unrolled(term: Term, steps: int) -> tuple[Tensor, Tensor]:
    """Potentials after some iterations from zero, f first, the graph going through all of them."""
    transposed: Any = term.transpose()
    f, g = torch.zeros_like(term.a), torch.zeros_like(term.b)
    for _ in range(steps):
        f = term.soft_minimum(g)
        g = transposed.soft_minimum(f)
    return f, g
