"""What every solver is: a frozen object of settings with one method, run(problem) -> Solution."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Self

from torch import Tensor

from isotherm._checks import check_warm
from isotherm.solvers.initial import initial_potentials
from isotherm.solvers.stopping import AbstractIteration, Callback, StoppingRule, iterate
from isotherm.solvers.work import Work, perform

if TYPE_CHECKING:
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers.initial import Init


RULE_SETTINGS = tuple(setting.name for setting in fields(StoppingRule))


class AbstractSolver(ABC):
    """A way to solve a `Problem`; subclasses are frozen dataclasses of settings."""

    @abstractmethod
    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem.

        Args:
            problem: What to solve.
            init: Where to start: an earlier `Solution`, of these points or of others; potentials (f, g); or "gaussian"
                or "subsample". See `isotherm.solvers.initial.initial_potentials`.
            callback: Called with a `Check` each time the residual is looked at; raise `StopSolve` from it to end the solve
                with what has been found, any other exception to abandon it.

        Returns:
            A solution whose `status` says whether it converged; no exception is raised when it did not.
        """

    def work(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Work:
        """`run`, asking for blocks of sweeps instead of making them.

        Yields what is asked for, takes what came of it, returns the solution; see `isotherm.solvers.work`.
        """
        return self.run(problem, init=init, callback=callback)
        yield  # a solver that says nothing of its sweeps makes them itself

    @abstractmethod
    def with_tolerance(self, tolerance: float) -> Self:
        """The same solver with another L1 tolerance."""


class AbstractSinkhorn(AbstractSolver):
    """A solver that alternates updates of two potentials until a `StoppingRule` is met.

    Final classes have the fields of `StoppingRule` and say how to start.
    """

    @abstractmethod
    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> AbstractIteration:
        """Begin iterating on a problem, from some potentials or from zero."""

    def rule(self) -> StoppingRule:
        """The tolerances and the budget among the settings; a ValueError if one is not positive."""
        return StoppingRule(**{name: getattr(self, name) for name in RULE_SETTINGS})

    def with_tolerance(self, tolerance: float) -> Self:
        """The same settings with another tolerance."""
        return replace(self, tolerance=tolerance)  # pyright: ignore[reportArgumentType]

    def after(self, iterations: int) -> Self:
        """The same settings with what is left of the budget, at least one iteration."""
        left = max(1, self.rule().max_iterations - iterations)
        return replace(self, max_iterations=left)  # pyright: ignore[reportArgumentType]

    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem; see `AbstractSolver.run`. A ValueError at temperature zero."""
        return perform(self.work(problem, init=init, callback=callback))

    def work(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Work:
        """See `AbstractSolver.work`."""
        check_warm(problem.epsilon)
        started = time.perf_counter()
        iteration = self.start(problem, initial_potentials(problem, init, self))
        solution = yield from iterate(iteration, problem, self.rule(), callback=callback)
        method = f"{iteration.describe(type(self).__name__)}, as asked"
        return replace(solution, method=method, seconds=time.perf_counter() - started)
