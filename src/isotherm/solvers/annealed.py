"""Annealing: start hot, cool towards the temperature that was asked for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import torch

from isotherm._checks import check_count, check_positive, check_warm
from isotherm._status import Outcome
from isotherm.solution import Check
from isotherm.solvers.abstract import AbstractSinkhorn, AbstractSolver
from isotherm.solvers.initial import Init, initial_potentials
from isotherm.solvers.log_sinkhorn import LogSinkhorn
from isotherm.solvers.stopping import StopSolve, conclude, is_finite
from isotherm.solvers.work import Work, perform

if TYPE_CHECKING:
    from collections.abc import Generator

    from isotherm.kernels import Sweeps, Swept
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers.stopping import Callback


@dataclass(frozen=True, kw_only=True)
class Annealed(AbstractSolver):
    """A few iterations at each of a falling sequence of temperatures, then the wrapped solver at the last one.

        epsilon_k = max(epsilon, start * ratio^k)

    The potentials of each temperature start the next. Pays at small epsilon and loose tolerance; costs a few dozen
    passes elsewhere. A warm start skips the schedule.

    Attributes:
        solver: What runs at every temperature.
        ratio: Factor between temperatures, in (0, 1).
        steps: Iterations at each temperature before the last.
        first: Hottest temperature, in units of cost; the mean cost under a ⊗ b when left out.

    Raises:
        TypeError: The solver does not iterate on potentials.
        ValueError: A setting is out of range.

    Example:
        >>> Annealed(ratio=0.5, first=1.0).schedule_from(1.0, to=0.2)
        (1.0, 0.5, 0.25, 0.2)

    References:
        [Schmitzer2019, section 3.2]
    """

    solver: AbstractSinkhorn = field(default_factory=LogSinkhorn)
    ratio: float = 0.8
    steps: int = 1
    first: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.solver, AbstractSinkhorn):
            msg = f"`solver` must be an entropic solver such as LogSinkhorn(): got {self.solver!r}."
            raise TypeError(msg)
        if not check_positive(self.ratio, "ratio") < 1:
            msg = f"`ratio` must lie between 0 and 1: got {self.ratio}. 0.5 cools fast, 0.8 slowly."
            raise ValueError(msg)
        check_count(self.steps, "steps")
        if self.first is not None:
            check_positive(self.first, "first")

    def with_tolerance(self, tolerance: float) -> Self:
        """The same schedule around a solver with another tolerance."""
        return replace(self, solver=self.solver.with_tolerance(tolerance))

    @torch.no_grad()
    def schedule(self, problem: Problem) -> tuple[float, ...]:
        """The temperatures of a problem, falling to its own."""
        if self.first is not None:
            return self.schedule_from(self.first, to=problem.epsilon)
        mass = float(problem.a.sum(dtype=torch.float64) * problem.b.sum(dtype=torch.float64))
        return self.schedule_from(float(problem.geometry.product_cost(problem.a, problem.b)) / mass, to=problem.epsilon)

    def schedule_from(self, first: float, *, to: float) -> tuple[float, ...]:
        """The temperatures from `first` down to the last one."""
        if first <= to:
            return (to,)
        levels = math.ceil(math.log(to / first) / math.log(self.ratio) - 1e-9)
        return (*(first * self.ratio**k for k in range(levels)), to)

    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem; see `AbstractSolver.run`. Only the last temperature is held to the tolerance."""
        return perform(self.work(problem, init=init, callback=callback))

    def work(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Work:
        """See `AbstractSolver.work`."""
        check_warm(problem.epsilon)
        started = time.perf_counter()
        cooling = _Cooling(self, problem, init)
        try:
            yield from cooling.work(callback)
            solution = yield from cooling.finish(callback)
        except (KeyboardInterrupt, StopSolve):
            return cooling.interrupted(time.perf_counter() - started)
        return replace(solution, seconds=time.perf_counter() - started)


class _Cooling:
    """The temperatures before the last, one after the other; whatever interrupts them, `potentials` are whole."""

    def __init__(self, settings: Annealed, problem: Problem, init: Init | None) -> None:
        self.settings, self.problem = settings, problem
        # Heat would undo a warm start.
        self.schedule = settings.schedule(problem) if init is None else (problem.epsilon,)
        self.potentials = initial_potentials(problem, init, settings)
        self.history: list[Check] = []

    def work(self, callback: Callback | None) -> Generator[Sweeps, Swept, None]:
        """A few steps at each temperature; an end to them where a potential is no number."""
        steps = self.settings.steps
        for epsilon in self.schedule[:-1]:
            iteration = self.settings.solver.start(self.problem.at(epsilon), self.potentials)
            residual, done = 0.0, 0
            while done < steps:
                looks = yield from iteration.advance(steps - done, -1.0)
                residual, done = looks[-1][0], done + len(looks)
            self.history.append(Check((len(self.history) + 1) * steps, epsilon, float(residual)))
            if is_finite(iteration.potentials()):
                self.potentials = iteration.potentials()
            if callback is not None:
                callback(self.history[-1])
            if not is_finite(iteration.potentials()):
                break

    def finish(self, callback: Callback | None) -> Work:
        """The wrapped solver at the temperature that was asked for."""
        before = len(self.history) * self.settings.steps

        def numbered(check: Check) -> Check:
            return check._replace(iteration=check.iteration + before)

        last = None if callback is None else lambda check: callback(numbered(check))
        solver = self.settings.solver.after(before)
        solution = yield from solver.work(self.problem, init=self.potentials, callback=last)
        return replace(
            solution,
            history=(*self.history, *map(numbered, solution.history)),
            iterations=solution.iterations + before,
            method=self.method(solution.method.removesuffix(", as asked")),
        )

    def interrupted(self, seconds: float) -> Solution:
        """The potentials so far, judged at the temperature that was asked for."""
        start = self.settings.solver.start(self.problem, self.potentials).potentials()
        kept = start if is_finite(start) else (torch.zeros_like(self.problem.a), torch.zeros_like(self.problem.b))
        rule = self.settings.solver.rule()
        solution = conclude(self.problem, kept, Outcome.INTERRUPTED, (), rule, seconds=seconds)
        before = max(1, len(self.history) * self.settings.steps)
        last = solution.history[-1]._replace(iteration=before)
        return replace(
            solution,
            history=(*self.history[:-1], last),
            iterations=before,
            method=self.method(type(self.settings.solver).__name__),
        )

    def method(self, last: str) -> str:
        """What was done, at the last temperature and before."""
        count = len(self.schedule)
        cooled = f", annealed over {count} temperatures from {self.schedule[0]:.3g}" if count > 1 else ""
        return f"{last}{cooled}, as asked"
