"""The default solver: a short table of rules, and a prediction from the first iterations; it explains both."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch

from isotherm.geometry import Grid
from isotherm.kernels import is_swept
from isotherm.solvers.abstract import AbstractSinkhorn, AbstractSolver
from isotherm.solvers.annealed import Annealed
from isotherm.solvers.blocks import LOW_DIMENSION, block_costs
from isotherm.solvers.clusters import between_clusters
from isotherm.solvers.exact import Exact
from isotherm.solvers.log_sinkhorn import LogSinkhorn
from isotherm.solvers.multiscale import Multiscale
from isotherm.solvers.newton import Newton
from isotherm.solvers.sample import why_not_sampled
from isotherm.solvers.scaling import Scaling
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, StoppingRule, StopSolve, remaining_iterations
from isotherm.solvers.symmetric import Symmetric, why_not_symmetric
from isotherm.solvers.two_level import TwoLevel
from isotherm.solvers.work import perform

if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm.problem import Problem
    from isotherm.solution import Check, Solution
    from isotherm.solvers.initial import Init
    from isotherm.solvers.stopping import Callback
    from isotherm.solvers.work import Work

LARGE = 1 << 25  # pairs of points from which on a pass is long beside what is done between passes
SCALING_ENTRIES = 1 << 22  # pairs up to which a stored kernel is worth its memory
WATCHED = 10  # iterations from which the rest is predicted
TIGHT = 1e-6  # tolerance from which on Newton's method should be at hand
HOPELESS = 5000  # predicted iterations above which clusters are looked for
LONG = 100  # predicted iterations above which annealing pays
BLOCKED_LONG = 250  # the same where sweeps come in blocks: each temperature begins one and makes its exponentials anew


class Choice(NamedTuple):
    """A solver and the reason for it."""

    solver: AbstractSolver
    reason: str


@dataclass(frozen=True, kw_only=True)
class Auto(AbstractSolver):
    """Scaling form where it provably neither under- nor overflows, else the log domain; more where that pays.

    A cloud against itself has its own, shorter iteration; very many points start from a sample of them. In float64 the log domain comes with Newton's method, which
    takes over where alternation turns slow; tolerances of 1e-6 and less always do.

    The first iterations run at the temperature that was asked for. If they predict more than some hundred others, or
    some 250 where sweeps come in compiled blocks, the solve starts again, hot, and cools; otherwise it goes on.
    If they predict more than 5000, and the plan so far falls into clusters, what has to pass between these is
    found first, as a small problem of its own.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates of both potentials.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.

    Raises:
        ValueError: A setting is not positive.

    Example:
        >>> import torch
        >>> from isotherm.geometry import PointCloud
        >>> from isotherm.problem import Problem
        >>> cloud = PointCloud(torch.zeros(3, 1), torch.arange(4.0))
        >>> Auto().choose(Problem(cloud, epsilon=1.0)).reason
        '3 x 4 costs are few enough for sweeps in compiled blocks'
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None

    def __post_init__(self) -> None:
        StoppingRule(**self._settings())

    def _settings(self) -> dict[str, Any]:
        return {setting.name: getattr(self, setting.name) for setting in fields(self)}

    def with_tolerance(self, tolerance: float) -> Self:
        """The same settings with another tolerance."""
        return replace(self, tolerance=tolerance)

    @torch.no_grad()
    def choose(self, problem: Problem) -> Choice:
        """Which solver would run, and why. Costs at most one pass over the costs.

        Args:
            problem: What would be solved.

        Returns:
            The solver and a reason in words.
        """
        if problem.epsilon == 0:
            return Choice(Exact(), "epsilon is zero")
        if not why_not_symmetric(problem):
            return self._own(problem)
        is_double = problem.geometry.dtype == torch.float64
        scaling = Scaling(**self._settings())
        log_domain = Newton(**self._settings()) if is_double else LogSinkhorn(**self._settings())
        sources, targets = problem.geometry.shape
        multiscale = Multiscale(solver=LogSinkhorn(**self._settings()))
        if _is_low_dimensional(problem) and not multiscale.why_not(problem):
            return Choice(multiscale, f"{sources} x {targets} points in at most {LOW_DIMENSION} dimensions")
        if isinstance(problem.geometry, Grid):
            obstacles = ["a grid has faster passes of its own, axis by axis"]
        elif sources * targets > LARGE and not (is_double and self.tolerance <= TIGHT) and not why_not_sampled(problem):
            log_domain = TwoLevel(**self._settings())
            obstacles = [f"{sources} x {targets} points make long passes, of which a sample saves some"]
        elif sources * targets > SCALING_ENTRIES:
            obstacles = [f"{sources} x {targets} costs are recomputed rather than stored"]
        elif is_double and self.tolerance <= TIGHT:
            obstacles = [f"a tolerance of {self.tolerance:.0e} may need Newton's method"]
        elif _is_blocked(problem):
            few = f"{sources} x {targets} costs are few enough for sweeps in compiled blocks"
            return Choice(LogSinkhorn(**self._settings()), few)
        else:
            obstacles = scaling.why_not(problem, problem.geometry.for_iteration().cost_range())
        if not obstacles:
            dtype = problem.geometry.dtype
            return Choice(scaling, f"range(C) / epsilon is small enough for exp(-C / epsilon) in {dtype}")
        return Choice(log_domain, obstacles[0])

    def _own(self, problem: Problem) -> Choice:
        """For a cloud against itself: one potential, on the pairs that matter where these may be few."""
        symmetric = Symmetric(**self._settings())
        multiscale = Multiscale(solver=symmetric)
        if _is_low_dimensional(problem) and not multiscale.why_not(problem):
            return Choice(multiscale, f"both sides are the same, in at most {LOW_DIMENSION} dimensions")
        return Choice(symmetric, "both sides are the same")

    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem with the chosen solver; see `AbstractSolver.run`."""
        return perform(self.work(problem, init=init, callback=callback))

    def work(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Work:
        """See `AbstractSolver.work`."""
        solver, reason = self.choose(problem)
        if not isinstance(solver, AbstractSinkhorn) or isinstance(solver, Symmetric) or init is not None:
            return _explained((yield from solver.work(problem, init=init, callback=callback)), reason)
        is_double = problem.geometry.dtype == torch.float64
        patient = solver
        if isinstance(solver, LogSinkhorn | TwoLevel):  # over-relaxation is better at very many small steps
            patient = Newton(**self._settings()) if is_double else LogSinkhorn(**self._settings())
        annealed = Annealed(solver=patient)
        long = BLOCKED_LONG if _is_blocked(problem) else LONG
        watch = _Watch(solver.rule().tolerance, callback, long, lambda: len(annealed.schedule(problem)) > 1)
        solution = yield from solver.work(problem, callback=watch)
        if not watch.has_given_up:
            return _explained(solution, reason)
        watched = watch.history[-1].iteration
        reason = f"{reason}; the first {watched} iterations predicted {watch.prediction()}"

        start, before, seconds = None, watched, solution.seconds
        if problem.is_balanced and watch.predicted > HOPELESS:
            start = between_clusters(solution)
        if start is not None:
            reason = f"{reason}, so that the masses of {start.count} clusters were set first"
            before, seconds = before + start.iterations, seconds + start.seconds
        patient = patient.after(before)
        later = Annealed(solver=patient) if start is None else patient

        def numbered(check: Check) -> Check:
            return check._replace(iteration=check.iteration + before)

        try:
            found = yield from later.work(
                problem,
                init=None if start is None else (start.f, start.g),
                callback=None if callback is None else lambda check: callback(numbered(check)),
            )
        except KeyboardInterrupt:  # before the first step
            return _explained(solution, reason)
        found = replace(
            found,
            history=(*watch.history, *map(numbered, found.history)),
            iterations=found.iterations + before,
            seconds=found.seconds + seconds,
        )
        return _explained(found, reason)


def _is_blocked(problem: Problem) -> bool:
    """Whether sweeps come in compiled blocks."""
    costs = block_costs(problem)
    return costs is not None and is_swept(costs, problem.a)


def _is_low_dimensional(problem: Problem) -> bool:
    """Whether cells of points are small beside the cloud, so that most pairs of them can be left out."""
    points = problem.geometry.source_points
    return points is not None and points.shape[1] <= LOW_DIMENSION


def _explained(solution: Solution, reason: str) -> Solution:
    """The solution with the choice and its reason in `method`."""
    described = solution.method.removesuffix(", as asked")
    return replace(solution, method=f"Auto chose {described}: {reason}")


class _Watch:
    """A callback that ends a solve whose first iterations predict a long one."""

    def __init__(self, tolerance: float, callback: Callback | None, long: int, can_anneal: Callable[[], bool]) -> None:
        self.tolerance, self.callback, self.long, self.can_anneal = tolerance, callback, long, can_anneal
        self.history: list[Check] = []
        self.predicted = 0.0
        self.has_given_up = False

    def prediction(self) -> str:
        """The predicted number in words."""
        return f"about {self.predicted:.0f} more" if math.isfinite(self.predicted) else "no end"

    def __call__(self, check: Check) -> None:
        """Pass the look on; predict once, when enough was seen."""
        is_early = not self.history or self.history[-1].iteration < WATCHED
        self.history.append(check)
        if self.callback is not None:
            self.callback(check)
        if is_early and check.iteration >= WATCHED and len(self.history) > 1:
            self.predicted = remaining_iterations(self.history, self.tolerance)
            if self.predicted > self.long and self.can_anneal():
                self.has_given_up = True
                raise StopSolve
