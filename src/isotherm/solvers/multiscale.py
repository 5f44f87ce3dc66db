"""Coarse to fine: solve on cells of points, refine, and meet only the pairs of cells that carry mass."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from isotherm import kernels
from isotherm._checks import check_count, check_positive, check_warm
from isotherm._status import Outcome, Status
from isotherm.coupling import EntropicCoupling
from isotherm.geometry import BlockSparse, PointCloud
from isotherm.solution import Check, Solution, marginal_error
from isotherm.solvers.abstract import AbstractSinkhorn, AbstractSolver
from isotherm.solvers.annealed import Annealed
from isotherm.solvers.initial import initial_potentials
from isotherm.solvers.levels import cloud_of, continued, make_levels, points_of
from isotherm.solvers.log_sinkhorn import LogSinkhorn
from isotherm.solvers.stopping import StopSolve, conclude, is_finite, iterate
from isotherm.solvers.work import Work, perform

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry
    from isotherm.problem import Problem
    from isotherm.solvers.initial import Init
    from isotherm.solvers.levels import Level
    from isotherm.solvers.stopping import AbstractIteration, Callback

COARSE_STEPS = 200  # most iterations at a level before the last
MOVES = 2.0  # sum of the largest rises of both potentials, over epsilon, after which pairs are listed anew


@dataclass(frozen=True, kw_only=True)
class Multiscale(AbstractSolver):
    """Solve on cells of points, from coarse to fine, and meet only the pairs of cells that carry mass.

    Both clouds are put into a hierarchy of cells. The coarsest, each cell a point at its centroid, is annealed; its
    potentials are continued along their gradients to the next level, where the temperature falls on, never below the
    spread of the cells. At the last level all points are there, at the temperature asked for. Large levels list the
    pairs of cells on which the plan's density against a ⊗ b may exceed a threshold, by a bound that holds for every
    pair; the others are left out of every reduction. Whatever is left out is bounded again for the potentials returned,
    and counted as error: `marginal_error` is that of the whole plan, over all rows and columns, or more.

    Made for large clouds in up to four dimensions, and clustered ones above, at small epsilon. Where there are few pairs
    or the costs are not a formula between points, `Annealed` runs instead and the method says so. A start from a solution
    at less than half or more than twice the temperature is left aside: the coarse levels tell more. Memory O(N + M) beside the
    list of pairs of cells of 64 points. Not differentiated; `solution.coupling` and `isotherm.kernels.plan_grad` on
    `solution.problem.geometry` meet the same pairs.

    Attributes:
        solver: What iterates at every level; its tolerance and budget are those of the last one.
        omitted: Share of the tolerance that any row or column may lose to pairs left out, of what it should have (of
            the mean over rows or columns, where unbalanced).
        coarsest: Points of the coarsest level, about, on the larger side.
        ratio: Factor between temperatures, in (0, 1).
        all_pairs: Levels of up to so many pairs meet them all.

    Raises:
        TypeError: The solver does not iterate on potentials.
        ValueError: A setting is out of range.

    Example:
        >>> Multiscale(omitted=0.01).omitted
        0.01

    References:
        [Schmitzer2019, section 3], [Feydy2020, section 3.3]
    """

    solver: AbstractSinkhorn = field(default_factory=LogSinkhorn)
    omitted: float = 0.1
    coarsest: int = 2000
    ratio: float = 0.7
    all_pairs: int = 1 << 24

    def __post_init__(self) -> None:
        if not isinstance(self.solver, AbstractSinkhorn):
            msg = f"`solver` must be an entropic solver such as LogSinkhorn(): got {self.solver!r}."
            raise TypeError(msg)
        for name in ("omitted", "ratio"):
            if not check_positive(getattr(self, name), name) < 1:
                msg = f"`{name}` must lie between 0 and 1: got {getattr(self, name)}. Leave it out for the default."
                raise ValueError(msg)
        check_count(self.coarsest, "coarsest")
        check_count(self.all_pairs, "all_pairs")

    def with_tolerance(self, tolerance: float) -> Self:
        """The same settings around a solver with another tolerance."""
        return replace(self, solver=self.solver.with_tolerance(tolerance))

    def why_not(self, problem: Problem) -> list[str]:
        """Reasons against cells of points for a problem; empty where they work."""
        geometry = points_of(problem.geometry)
        if problem.reference is not None:
            return ["the reference coupling is a matrix"]
        if not isinstance(geometry, PointCloud) or geometry.formula() is None:
            return ["the costs are not a formula between points"]
        reasons = []
        if geometry.shape[0] * geometry.shape[1] <= self.all_pairs:
            reasons.append(f"{geometry.shape[0]} x {geometry.shape[1]} pairs are few")
        if geometry.device.type != "cpu" or kernels.backends()["cpu"]:
            reasons.append("lists of pairs need the compiled kernels on the CPU")
        return reasons

    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem; see `AbstractSolver.run`. Only the last level is held to the tolerance."""
        return perform(self.work(problem, init=init, callback=callback))

    def work(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Work:
        """See `AbstractSolver.work`."""
        check_warm(problem.epsilon)
        obstacles = self.why_not(problem)
        if obstacles:
            solution = yield from Annealed(solver=self.solver).work(problem, init=init, callback=callback)
            return replace(solution, method=f"{solution.method.removesuffix(', as asked')}: {obstacles[0]}")
        started = time.perf_counter()
        log, potentials = _Log(callback), initial_potentials(problem, _near(init, problem.epsilon), self)
        hierarchy = make_levels(problem.detach(), None if potentials is not None else self.coarsest)
        before = 0
        try:
            if potentials is None:
                potentials = self._descend(hierarchy, log)
            before = log.iterations
            solution = yield from self._finish(hierarchy[-1], potentials, log)
        except (KeyboardInterrupt, StopSolve):
            solution = self._interrupted(hierarchy, log, time.perf_counter() - started)
        assert isinstance(solution.problem.geometry, BlockSparse), "the last level lists its pairs; this is our bug"
        density = solution.problem.geometry.pattern.density
        smallest = hierarchy[0].problem.geometry.shape
        return replace(
            solution,
            history=tuple(log.history) or solution.history,
            iterations=log.iterations,
            method=f"Multiscale around {type(self.solver).__name__}, {len(hierarchy)} levels from {smallest[0]} x "
            f"{smallest[1]} points, {log.iterations - before} iterations at the last on {density:.1%} of the pairs, as asked",
            seconds=time.perf_counter() - started,
        )

    def _descend(self, hierarchy: list[Level], log: _Log) -> tuple[Tensor, Tensor]:
        """Potentials for the last level, at its temperature or somewhat above."""
        first = hierarchy[0].problem
        mean = float(first.geometry.product_cost(first.a, first.b) / (first.a.sum() * first.b.sum()))
        epsilon = max(mean, first.epsilon)
        potentials = torch.zeros_like(first.a), torch.zeros_like(first.b)
        for level, finer in pairwise(hierarchy):
            floor = max(level.problem.epsilon, level.spread)
            while epsilon * self.ratio > floor:
                epsilon *= self.ratio
                potentials = self._steps(level, epsilon, potentials, log, 1).potentials()
            epsilon = min(epsilon, floor)
            is_cold = epsilon <= level.problem.epsilon
            run = self._steps(level, epsilon, potentials, log, COARSE_STEPS if is_cold else 2)
            potentials = self._lift(run, level, finer)
        while epsilon * self.ratio > hierarchy[-1].problem.epsilon:
            epsilon *= self.ratio
            potentials = self._steps(hierarchy[-1], epsilon, potentials, log, 1).potentials()
        return potentials

    def _steps(self, level: Level, epsilon: float, potentials: tuple[Tensor, Tensor], log: _Log, most: int) -> _Run:
        """Iterate at a level and a temperature, not to the end."""
        problem, tolerance = level.problem.at(epsilon), self.solver.rule().tolerance
        run = _Run(self, level, problem, potentials, tolerance, factor=log.factor)
        for _ in range(most):
            log.at = run, level
            residual = float(run.iteration.step())
            log.add(epsilon, residual)
            if residual <= tolerance or not run.is_finite():
                break
            if run.has_moved() and most > 1:
                run = _Run(self, level, problem, run.potentials(), tolerance, factor=run.iteration.lengthening)
        log.factor = run.iteration.lengthening
        return run

    def _lift(self, run: _Run, level: Level, finer: Level) -> tuple[Tensor, Tensor]:
        """Potentials of a finer level: soft c-transforms of those of the coarse one.

        Where pairs are many, those that matter are found by potentials continued along their gradients.
        """
        problem, start = run.problem, run.potentials()
        guesses = continued(problem, start, level, finer)
        dampings = 1.0 + problem.epsilon / problem.rho_a, 1.0 + problem.epsilon / problem.rho_b
        sides = (
            (finer.sources, level.targets, (guesses[0], start[1]), problem.log_weights[1]),
            (finer.targets, level.sources, (guesses[1], start[0]), problem.log_weights[0]),
        )
        lifted = []
        for (cells, others, pair, log_weights), damping in zip(sides, dampings, strict=True):
            cloud: AbstractGeometry = cloud_of(problem.geometry, cells, others)
            if cloud.shape[0] * cloud.shape[1] > self.all_pairs:
                least = problem.epsilon * (math.log(1e-3) - 2 * MOVES)
                cloud = BlockSparse.around(points_of(cloud), cells.in_order(), others, *pair, least=least)
            found = cloud.softmin(pair[1] + log_weights, epsilon=problem.epsilon) / damping
            lifted.append(torch.empty_like(found).index_copy_(0, cells.order, found))
        return lifted[0], lifted[1]

    def _finish(self, level: Level, potentials: tuple[Tensor, Tensor], log: _Log) -> Work:
        """Iterate on all points until the rule is met; pairs are listed anew when the potentials have moved."""
        rule, used = self.solver.rule(), 0
        while True:
            run = _Run(self, level, level.problem, potentials, rule.tolerance, is_sparse=True, factor=log.factor)
            log.at = run, level
            left = rule.max_iterations - used

            def watch(check: Check, run: _Run = run, left: int = left) -> None:
                log.add(check.epsilon, check.marginal_error, steps=check.iteration - run.steps)
                run.steps = check.iteration
                if check.iteration < left and run.has_moved():
                    raise _MovedError

            try:
                rest = replace(rule, max_iterations=left)
                solution = yield from iterate(run.iteration, run.problem, rest, callback=watch)
            except _MovedError:
                used += run.steps
                log.factor = run.iteration.lengthening
                potentials = run.iteration.potentials()
                continue
            if solution.status.is_converged or not run.has_moved():
                return solution
            return self._listed_anew(level, solution)

    def _interrupted(self, hierarchy: list[Level], log: _Log, seconds: float) -> Solution:
        """What was reached, its potentials lifted to all points."""
        last = hierarchy[-1]
        potentials = torch.zeros_like(last.problem.a), torch.zeros_like(last.problem.b)
        if log.at is not None:
            run, level = log.at
            potentials = run.potentials() if level is last else self._lift(run, level, last)
        rule = self.solver.rule()
        run = _Run(self, last, last.problem, potentials, rule.tolerance, is_sparse=True)
        return conclude(run.problem, run.potentials(), Outcome.INTERRUPTED, log.history, rule, seconds=seconds)

    def _listed_anew(self, level: Level, solution: Solution) -> Solution:
        """An unfinished solution with the pairs that matter for the potentials it carries."""
        problem = _Run(
            self, level, level.problem, solution.potentials, self.solver.rule().tolerance, is_sparse=True
        ).problem
        coupling = EntropicCoupling(problem, *solution.potentials)
        error = marginal_error(problem, solution.potentials, coupling)
        advice = (
            f"L1 marginal error {max(error):.2e}, tolerance {self.solver.rule().tolerance:.2e}, while the potentials still "
            f"moved. Raise max_iterations or epsilon. The bounds in `certificate` are valid."
        )
        status = Status(outcome=solution.status.outcome, advice=advice)
        return replace(solution, problem=problem, coupling=coupling, marginal_error=error, status=status)


def _near(init: Init | None, epsilon: float) -> Init | None:
    """Where to start, unless that is a solution at a temperature so far off that the coarse levels tell more."""
    is_far = isinstance(init, Solution) and not 0.5 <= epsilon / (init.epsilon or math.inf) <= 2.0
    return None if is_far else init


class _MovedError(Exception):
    """The potentials have left the range for which the pairs were listed."""


class _Log:
    """The residuals of all levels, numbered through."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback = callback
        self.history: list[Check] = []
        self.iterations = 0
        self.at: tuple[_Run, Level] | None = None  # where the work is now
        self.factor = 1.0  # by which updates were lengthened last: levels converge much alike

    def add(self, epsilon: float, residual: float, *, steps: int = 1) -> None:
        self.iterations += steps
        self.history.append(Check(self.iterations, epsilon, residual))
        if self.callback is not None:
            self.callback(self.history[-1])


class _Run:
    """An iteration at one level and temperature, on the pairs that matter for the potentials it starts from."""

    def __init__(
        self,
        settings: Multiscale,
        level: Level,
        problem: Problem,
        potentials: tuple[Tensor, Tensor],
        tolerance: float,
        *,
        is_sparse: bool = False,
        factor: float = 1.0,
    ) -> None:
        self.start, self.steps, self.slack = potentials, 0, math.inf
        sources, targets = problem.geometry.shape
        if is_sparse or sources * targets > settings.all_pairs:
            self.slack = MOVES * problem.epsilon
            least = problem.epsilon * _least_log_density(problem, potentials, settings.omitted * tolerance) - self.slack
            problem = problem.on(
                BlockSparse.around(points_of(problem.geometry), level.sources, level.targets, *potentials, least=least)
            )
        self.problem = problem
        self.iteration: AbstractIteration = settings.solver.start(problem, potentials)
        self.iteration.lengthen(factor)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g) now, or as they were at the start where they are no longer finite."""
        return self.iteration.potentials() if self.is_finite() else self.start

    def is_finite(self) -> bool:
        return is_finite(self.iteration.potentials())

    def has_moved(self) -> bool:
        """Whether a pair left out may by now have more mass than it was left out for."""
        rises = [float((now - then).max()) for now, then in zip(self.iteration.potentials(), self.start, strict=True)]
        return sum(rises) > self.slack


def _least_log_density(problem: Problem, potentials: tuple[Tensor, Tensor], share: float) -> float:
    """Density against a ⊗ b below which no row or column loses more than a share of the mass it should have."""
    masses = []
    for weights, potential, rho in zip((problem.a, problem.b), potentials, (problem.rho_a, problem.rho_b), strict=True):
        masses.append(float((weights * (-potential / rho).exp()).sum(dtype=torch.float64)))
    total = float(problem.a.sum(dtype=torch.float64) * problem.b.sum(dtype=torch.float64))
    return math.log(share * min(masses) / total)
