"""Iterate until a stopping rule is met, then judge the result."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm._checks import all_finite, check_count, check_positive
from isotherm._status import Outcome, Status
from isotherm.certificate import certify
from isotherm.coupling import EntropicCoupling
from isotherm.solution import Check, MarginalError, Solution, marginal_error

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry
    from isotherm.kernels import Sweeps, Swept
    from isotherm.problem import Problem

Callback = Callable[[Check], None]
Look = tuple[Tensor | float, bool]  # a residual, and whether it is an estimate

DEFAULT_TOLERANCE = 1e-4  # L1 marginal error per unit of mass
PATIENCE = 50  # looks at the residual without progress before rounding is suspected


class AbstractIteration(ABC):
    """A Sinkhorn iteration in progress, at one temperature; the only mutable thing in a solve."""

    @abstractmethod
    def step(self) -> Tensor:
        """Update both potentials; return the residual before the update, a 0-d tensor.

        It is the L1 error of the source marginal per unit of the mass it should have; the target marginal is exact
        before and after. Where `is_relaxed` it is an estimate.
        """

    def advance(self, count: int, tolerance: float) -> Generator[Sweeps, Swept, list[Look]]:
        """Take one step, or several where it pays to ask for a block of sweeps; `count` at most.

        A residual no greater than `tolerance` ends the steps; a negative one never does. Yields sweeps to be made by
        whoever drives the solve; returns the residual before each step, and whether it is an estimate.
        """
        del count, tolerance
        is_estimate = self.is_relaxed
        return [(self.step(), is_estimate)]
        yield  # asks for nothing

    @abstractmethod
    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g) now, shapes (N,) and (M,), units of cost."""

    def describe(self, solver: str) -> str:
        """What was done, for `Solution.method`; the name of the solver where there is no more to say."""
        return solver

    def go_back(self, count: int) -> Generator[Sweeps, Swept, None]:
        """Make the potentials those after so many updates of the last `advance` only."""
        del count
        yield from ()

    @property
    def lengthening(self) -> float:
        """The factor by which updates are lengthened; 1 where they are not."""
        return 1.0

    def lengthen(self, factor: float) -> None:  # noqa: B027 - nothing to do where updates have one length
        """Lengthen updates by a factor found on a like problem, until the rate has been observed here."""

    @property
    def is_relaxed(self) -> bool:
        """Whether the next residual is an estimate, to be confirmed after `settle`."""
        return False

    def settle(self, *, forever: bool = False) -> None:  # noqa: B027 - nothing to do where every step is plain
        """Take plain steps from now on, until `resume` or for good: nothing to do where all are."""

    def resume(self) -> None:  # noqa: B027 - see settle
        """Accelerate again."""


class StopSolve(Exception):
    """Raised by a callback to end a solve: the best potentials so far come back as `Outcome.INTERRUPTED`.

    Example:
        >>> import isotherm
        >>> def enough(check):
        ...     if check.marginal_error < 0.1:
        ...         raise isotherm.StopSolve
        >>> solution = isotherm.solve([[0.0], [1.0]], [[0.0], [2.0]], epsilon=1.0, callback=enough, on_failure="ignore")
        >>> solution.status.outcome
        <Outcome.INTERRUPTED: 'interrupted'>
    """


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """Tolerances and budget of an iteration.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass.
        relative_gap: Certified relative gap to reach as well, or None.
        max_iterations: Budget of updates of both potentials.
        check_every: Iterations between looks at the residual; None is every one on a CPU and every tenth elsewhere,
            because a look waits for the device.
    """

    tolerance: float
    relative_gap: float | None
    max_iterations: int
    check_every: int | None

    def __post_init__(self) -> None:
        check_positive(self.tolerance, "tolerance")
        check_count(self.max_iterations, "max_iterations")
        if self.relative_gap is not None:
            check_positive(self.relative_gap, "relative_gap")
        if self.check_every is not None:
            check_count(self.check_every, "check_every")


def iterate(
    iteration: AbstractIteration, problem: Problem, rule: StoppingRule, *, callback: Callback | None
) -> Generator[Sweeps, Swept, Solution]:
    """Step until the rule is met, and judge the result.

    Yields sweeps to be made by whoever drives the solve. Returns the solution, its errors recomputed from the potentials
    it carries. An interrupt (Ctrl-C, or `StopSolve` from the callback) ends the steps; what was reached is judged and
    returned like any other result.
    """
    started = time.perf_counter()
    solve = _Solve(iteration, problem, rule)
    try:
        yield from solve.work(callback)
    except (KeyboardInterrupt, StopSolve):
        solve.outcome = Outcome.INTERRUPTED
    seconds = time.perf_counter() - started
    results = problem, solve.kept, solve.outcome, solve.history, rule
    try:
        return conclude(*results, seconds=seconds, judged=solve.judged)
    except KeyboardInterrupt:
        if solve.outcome is Outcome.INTERRUPTED:
            raise  # the second one means it
        return conclude(*results, seconds=seconds)


class Judged(NamedTuple):
    """The plan of some potentials, the free constant chosen, and the errors of its marginals."""

    coupling: EntropicCoupling
    error: MarginalError

    @staticmethod
    def of(problem: Problem, kept: tuple[Tensor, Tensor]) -> Judged:
        """The judgement of potentials (f, g), shapes (N,) and (M,), outside every autograd graph."""
        problem = problem.detach()
        potentials = fix_gauge(problem, *kept)
        coupling = EntropicCoupling(problem, *potentials)
        return Judged(coupling, marginal_error(problem, potentials, coupling))


class _Solve:
    """Steps, looks and claims of one call of `iterate`; whatever interrupts it, `kept` and `history` are whole."""

    def __init__(self, iteration: AbstractIteration, problem: Problem, rule: StoppingRule) -> None:
        self.iteration, self.problem, self.rule = iteration, problem, rule
        self.history: list[Check] = []
        self.kept = iteration.potentials()
        if not is_finite(self.kept):
            self.kept = torch.zeros_like(problem.a), torch.zeros_like(problem.b)  # any finite pair has valid bounds
        self.outcome = Outcome.MAX_ITERATIONS
        self.next_claim = self.idle = 0  # looks without progress
        self.best = math.inf
        self.judged: Judged | None = None  # what is kept, once judged

    def work(self, callback: Callback | None) -> Generator[Sweeps, Swept, None]:
        """Step until there is an outcome or the budget is spent."""
        every, budget = self.rule.check_every or look_interval(self.problem.geometry), self.rule.max_iterations
        step, tolerance = 0, self.rule.tolerance if every == 1 else -1.0
        while self.outcome is Outcome.MAX_ITERATIONS and step < budget:
            ahead = every - step % every if every > 1 else budget
            looks = yield from self.iteration.advance(min(budget - step, ahead), tolerance)
            checks = list[Check]()
            for residual, _ in looks:
                step += 1
                if step % every == 0 or step == budget:
                    checks.append(Check(step, self.problem.epsilon, float(residual)))
            if not checks:
                continue
            self.look(checks)
            if callback is not None:
                yield from self.tell(checks, callback)
            if self.outcome is Outcome.MAX_ITERATIONS:
                self.claim(checks[-1], is_estimate=looks[-1][1] and step < budget)
            if self.outcome is Outcome.MAX_ITERATIONS and self.idle >= PATIENCE:
                self.despair()

    def tell(self, checks: Sequence[Check], callback: Callback) -> Generator[Sweeps, Swept, None]:
        """Pass the looks on; one that is to be the last is gone back to, if it was not the last of its block."""
        told = 0
        try:
            for check in checks:
                told += 1
                callback(check)
        except (KeyboardInterrupt, StopSolve):
            if told < len(checks):
                yield from self.iteration.go_back(told)
                del self.history[told - len(checks) :]
                self.keep()
            raise

    def look(self, checks: Sequence[Check]) -> None:
        """Keep the residuals, and the potentials if they are numbers."""
        self.history.extend(checks)
        for check in checks:
            self.idle = 0 if check.marginal_error < self.best else self.idle + 1
            self.best = min(self.best, check.marginal_error)
        if not self.keep():
            self.outcome = Outcome.NON_FINITE

    def keep(self) -> bool:
        """Keep the potentials if they are numbers, and say whether they are."""
        potentials = self.iteration.potentials()
        if is_finite(potentials):
            self.kept, self.judged = potentials, None
            return True
        return False

    def judge(self) -> bool:
        """Whether what is kept meets the rule, judged by marginals and bounds recomputed from it."""
        self.judged = Judged.of(self.problem, self.kept)
        if max(self.judged.error) > self.rule.tolerance:
            return False
        gap = self.rule.relative_gap
        return gap is None or certify(self.problem, self.kept[1]).relative_gap <= gap

    def claim(self, check: Check, *, is_estimate: bool) -> None:
        """Judge the result where the residual says that it meets the rule."""
        is_last = check.iteration == self.rule.max_iterations
        if not check.marginal_error <= self.rule.tolerance or (check.iteration < self.next_claim and not is_last):
            self.iteration.resume()
        elif is_estimate:
            self.iteration.settle()  # the next look tells the error itself
        elif self.judge():
            self.outcome = Outcome.CONVERGED
        else:
            self.iteration.resume()
            self.next_claim = check.iteration + max(1, check.iteration // 4)  # a judgement costs several passes

    def despair(self) -> None:
        """No progress: relaxation amplifies rounding, so try without it first."""
        if self.iteration.is_relaxed:
            self.iteration.settle(forever=True)
            self.idle, self.best = 0, math.inf
        elif not self.history[-1].marginal_error > 100.0 * rounding_floor(self.problem):
            self.outcome = Outcome.PRECISION


def marginal_residual(weights: Tensor, potential: Tensor, softmin: Tensor, *, epsilon: float, rho: float) -> Tensor:
    """L1 error of one marginal, per unit of the mass wanted, from a potential and its soft minimum.

        sum_i |r_i - w_i| / sum_i w_i,    r_i = a_i exp((f_i - softmin_i) / epsilon),    w_i = a_i exp(-f_i / rho)

    Args:
        weights: a, shape (N,).
        potential: f, shape (N,).
        softmin: Of the other potential, shape (N,).
        epsilon: Temperature.
        rho: Price of missing this marginal.

    Returns:
        A scalar.
    """
    mass, wanted = ((potential - softmin) / epsilon).exp(), (-potential / rho).exp()
    missed = torch.where(weights > 0, weights * (mass - wanted), 0.0).abs().sum()
    return missed / (weights * wanted).sum()


def look_interval(geometry: AbstractGeometry) -> int:
    """Iterations between looks at numbers of the device: a look waits for it."""
    return 1 if geometry.device.type == "cpu" else 10


def conclude(
    problem: Problem,
    kept: tuple[Tensor, Tensor],
    outcome: Outcome,
    history: Sequence[Check],
    rule: StoppingRule,
    *,
    seconds: float,
    judged: Judged | None = None,
) -> Solution:
    """The solution with these potentials, its errors recomputed from them.

    Args:
        problem: What was solved.
        kept: Finite potentials, shapes (N,) and (M,).
        outcome: How the work ended.
        history: Looks at the residual; a first one is made up where the work ended before it.
        rule: What was asked for.
        seconds: Wall time of the work.
        judged: The same potentials and their errors, where these have been recomputed already.

    Returns:
        The solution; who calls knows better how to describe its `method`.
    """
    judged = judged or Judged.of(problem, kept)
    history = tuple(history) or (Check(0, problem.epsilon, judged.error.source),)
    return Solution(
        problem=judged.coupling.problem,
        potentials=(judged.coupling.f, judged.coupling.g),
        coupling=judged.coupling,
        status=Status(outcome=outcome, advice=_advice(problem, outcome, rule, history, judged.error)),
        marginal_error=judged.error,
        iterations=history[-1].iteration,
        history=history,
        tolerance=rule.tolerance,
        method="alternation",
        seconds=seconds,
    )


def is_finite(potentials: tuple[Tensor, Tensor]) -> bool:
    """Whether both potentials hold numbers only."""
    return all(all_finite(potential) for potential in potentials)


def fix_gauge(problem: Problem, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Balanced potentials are free up to (f + c, g - c); choose <b, g> = 0."""
    if not problem.is_balanced:
        return f, g
    b = problem.b.double()
    shift = (b @ g.double() / b.sum()).to(g.dtype)
    return f + shift, g - shift


def rounding_floor(problem: Problem, dtype: torch.dtype | None = None) -> float:
    """Relative error of a plan entry from rounding the exponent: unit roundoff times cost scale over epsilon."""
    return torch.finfo(dtype or problem.geometry.dtype).eps * max(
        1.0, problem.geometry.coordinate_scale / problem.epsilon
    )


def _advice(
    problem: Problem, outcome: Outcome, rule: StoppingRule, history: Sequence[Check], error: MarginalError
) -> str:
    found = f"L1 marginal error {max(error):.2e}, tolerance {rule.tolerance:.2e}"
    if outcome is Outcome.CONVERGED:
        return f"{found}{_precision_note(problem)}."
    if outcome is Outcome.NON_FINITE:
        return (
            f"a potential over- or underflowed in {problem.geometry.dtype}; the last finite pair is returned and its "
            f"bounds are valid. Use LogSinkhorn() if this was another solver, else a larger epsilon or float64."
        )
    if outcome is Outcome.INTERRUPTED:
        return (
            f"{found} when the solve was interrupted after {history[-1].iteration} iterations"
            f"{_forecast(history, rule.tolerance)}. Go on with init=solution. The bounds in `certificate` are valid."
        )
    if outcome is Outcome.PRECISION:
        return (
            f"{found}; rounding in {problem.geometry.dtype} stops progress at this epsilon. "
            f"Use float64, a larger epsilon or a larger tolerance. The bounds in `certificate` are valid."
        )
    return (
        f"{found} after {history[-1].iteration} iterations{_forecast(history, rule.tolerance)}{_precision_note(problem)}. "
        f"Raise max_iterations or epsilon, or use Annealed() or Newton(). The bounds in `certificate` are valid."
    )


def _precision_note(problem: Problem) -> str:
    """A warning where the working precision cannot resolve the temperature."""
    if rounding_floor(problem) <= 0.01:
        return ""
    return (
        f"; {problem.geometry.dtype} resolves costs of this size to {rounding_floor(problem):.1%} of epsilon only: "
        f"use float64 for trustworthy digits"
    )


def _forecast(history: Sequence[Check], tolerance: float) -> str:
    """How much longer it would take at the rate of the second half of the solve."""
    if history[-1].marginal_error <= tolerance:
        return ", the certified gap being what is missing"
    remaining = remaining_iterations(history, tolerance)
    return "" if math.isinf(remaining) else f", about {remaining:.2g} more needed at the present rate"


def remaining_iterations(history: Sequence[Check], tolerance: float) -> float:
    """Iterations until a residual that falls geometrically reaches the tolerance, from the second half of a history.

    Args:
        history: Looks at the residual at one temperature, at least one.
        tolerance: L1 error to reach.

    Returns:
        The number; 0 when reached, infinity where the residual does not fall.

    Example:
        >>> remaining_iterations([Check(k, 1.0, 0.5**k) for k in range(1, 9)], 0.5**12)
        4.0
    """
    first, last = history[len(history) // 2], history[-1]
    if last.marginal_error <= tolerance:
        return 0.0
    if not 0 < last.marginal_error < first.marginal_error or last.iteration == first.iteration:
        return math.inf
    rate = math.log(first.marginal_error / last.marginal_error) / (last.iteration - first.iteration)
    return math.log(last.marginal_error / tolerance) / rate if rate > 0 else math.inf
