"""Annealing: start hot, cool towards the temperature that was asked for."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

import torch

from isotherm._checks import check_count, check_positive, check_warm
from isotherm.solution import Check, Solution
from isotherm.solvers.abstract import AbstractSinkhorn, AbstractSolver, Init, initial_potentials
from isotherm.solvers.log_sinkhorn import LogSinkhorn

if TYPE_CHECKING:
    from isotherm.problem import Problem
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

    @torch.no_grad()
    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem; see `AbstractSolver.run`. Only the last temperature is held to the tolerance."""
        check_warm(problem.epsilon)
        started = time.perf_counter()
        schedule = self.schedule(problem) if init is None else (problem.epsilon,)  # heat would undo a warm start
        potentials, history = initial_potentials(problem, init), list[Check]()
        for epsilon in schedule[:-1]:
            iteration = self.solver.start(problem.at(epsilon), potentials)
            residual = torch.zeros(())
            for _ in range(self.steps):
                residual = iteration.step()
            history.append(Check((len(history) + 1) * self.steps, epsilon, float(residual)))
            if callback is not None:
                callback(history[-1])
            if not all(bool(potential.isfinite().all()) for potential in iteration.potentials()):
                break
            potentials = iteration.potentials()
        before = len(history) * self.steps

        def numbered(check: Check) -> Check:
            return check._replace(iteration=check.iteration + before)

        last = None if callback is None else lambda check: callback(numbered(check))
        solution = self.solver.run(problem, init=potentials, callback=last)
        cooled = f", annealed over {len(schedule)} temperatures from {schedule[0]:.3g}" if len(schedule) > 1 else ""
        return replace(
            solution,
            history=(*history, *map(numbered, solution.history)),
            iterations=solution.iterations + before,
            method=f"{type(self.solver).__name__}{cooled}, as asked",
            seconds=time.perf_counter() - started,
        )
