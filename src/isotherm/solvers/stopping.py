"""Iterate until a stopping rule is met, then judge the result."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._checks import check_count, check_positive
from isotherm._status import Outcome, Status
from isotherm.certificate import certify
from isotherm.coupling import EntropicCoupling
from isotherm.solution import Check, MarginalError, Solution, marginal_error

if TYPE_CHECKING:
    from isotherm.problem import Problem

Callback = Callable[[Check], None]

DEFAULT_TOLERANCE = 1e-4  # L1 marginal error per unit of mass
PATIENCE = 50  # looks at the residual without progress before rounding is suspected


class AbstractIteration(ABC):
    """A Sinkhorn iteration in progress, at one temperature; the only mutable thing in a solve."""

    @abstractmethod
    def step(self) -> Tensor:
        """Update both potentials; return the residual before the update, a 0-d tensor.

        It is the L1 error of the source marginal per unit of the mass it should have; the target marginal is exact
        before and after.
        """

    @abstractmethod
    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g) now, shapes (N,) and (M,), units of cost."""


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
    iteration: AbstractIteration, problem: Problem, rule: StoppingRule, *, method: str, callback: Callback | None
) -> Solution:
    """Step until the rule is met, and judge the result.

    Args:
        iteration: The iteration, started.
        problem: What it solves.
        rule: When to stop.
        method: Description of the solver for the solution.
        callback: Called at each look at the residual.

    Returns:
        The solution, its errors recomputed from the potentials it carries.
    """
    started = time.perf_counter()
    every = rule.check_every or (1 if problem.geometry.device.type == "cpu" else 10)
    history: list[Check] = []
    kept = iteration.potentials()
    if not _is_finite(kept):
        kept = torch.zeros_like(problem.a), torch.zeros_like(problem.b)  # any finite pair has valid bounds
    outcome, steps, next_claim = Outcome.MAX_ITERATIONS, 0, 0
    while outcome is Outcome.MAX_ITERATIONS and steps < rule.max_iterations:
        residual = iteration.step()
        steps += 1
        if steps % every and steps < rule.max_iterations:
            continue
        history.append(Check(steps, problem.epsilon, float(residual)))
        if callback is not None:
            callback(history[-1])
        if not _is_finite(iteration.potentials()):
            outcome = Outcome.NON_FINITE
            break
        kept = iteration.potentials()
        if history[-1].marginal_error <= rule.tolerance and (steps >= next_claim or steps == rule.max_iterations):
            if _meets(rule, problem, *kept):
                outcome = Outcome.CONVERGED
            next_claim = steps + max(1, steps // 4)  # a look at the result costs several passes
        if _is_stalled(history) and not history[-1].marginal_error > 100.0 * rounding_floor(problem):
            outcome = outcome if outcome is Outcome.CONVERGED else Outcome.PRECISION
    potentials = fix_gauge(problem, *kept)
    coupling = EntropicCoupling(problem.detach(), *potentials)
    error = marginal_error(problem, potentials, coupling)
    return Solution(
        problem=problem.detach(),
        potentials=potentials,
        coupling=coupling,
        status=Status(outcome=outcome, advice=_advice(problem, outcome, rule, history, error)),
        marginal_error=error,
        iterations=steps,
        history=tuple(history),
        tolerance=rule.tolerance,
        method=method,
        seconds=time.perf_counter() - started,
    )


def _is_finite(potentials: tuple[Tensor, Tensor]) -> bool:
    return all(bool(potential.isfinite().all()) for potential in potentials)


def _meets(rule: StoppingRule, problem: Problem, f: Tensor, g: Tensor) -> bool:
    """Whether the potentials meet the rule, judged by marginals and bounds recomputed from them."""
    potentials = fix_gauge(problem, f, g)
    if max(marginal_error(problem, potentials, EntropicCoupling(problem, *potentials))) > rule.tolerance:
        return False
    return rule.relative_gap is None or certify(problem, g).relative_gap <= rule.relative_gap


def fix_gauge(problem: Problem, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Balanced potentials are free up to (f + c, g - c); choose <b, g> = 0."""
    if not problem.is_balanced:
        return f, g
    shift = (problem.b.double() @ g.double() / problem.b.sum(dtype=torch.float64)).to(g.dtype)
    return f + shift, g - shift


def rounding_floor(problem: Problem) -> float:
    """Relative error of a plan entry from rounding the exponent: unit roundoff times cost scale over epsilon."""
    return torch.finfo(problem.geometry.dtype).eps * max(1.0, problem.geometry.coordinate_scale / problem.epsilon)


def _is_stalled(history: list[Check]) -> bool:
    """No look among the last `PATIENCE` was better than the best before them."""
    if len(history) <= PATIENCE:
        return False
    recent, before = history[-PATIENCE:], history[:-PATIENCE]
    return min(check.marginal_error for check in recent) >= min(check.marginal_error for check in before)


def _advice(problem: Problem, outcome: Outcome, rule: StoppingRule, history: list[Check], error: MarginalError) -> str:
    found = f"L1 marginal error {max(error):.2e}, tolerance {rule.tolerance:.2e}"
    if outcome is Outcome.CONVERGED:
        return f"{found}{_precision_note(problem)}."
    if outcome is Outcome.NON_FINITE:
        return (
            f"a potential over- or underflowed in {problem.geometry.dtype}; the last finite pair is returned and its "
            f"bounds are valid. Use LogSinkhorn() if this was another solver, else a larger epsilon or float64."
        )
    if outcome is Outcome.PRECISION:
        return (
            f"{found}; rounding in {problem.geometry.dtype} stops progress at this epsilon. "
            f"Use float64, a larger epsilon or a larger tolerance. The bounds in `certificate` are valid."
        )
    return (
        f"{found} after {history[-1].iteration} iterations{_forecast(history, rule.tolerance)}{_precision_note(problem)}. "
        f"Raise max_iterations or epsilon, or use Annealed(). The bounds in `certificate` are valid."
    )


def _precision_note(problem: Problem) -> str:
    """A warning where the working precision cannot resolve the temperature."""
    if rounding_floor(problem) <= 0.01:
        return ""
    return (
        f"; {problem.geometry.dtype} resolves costs of this size to {rounding_floor(problem):.1%} of epsilon only: "
        f"use float64 for trustworthy digits"
    )


def _forecast(history: list[Check], tolerance: float) -> str:
    """How much longer it would take at the rate of the second half of the solve."""
    first, last = history[len(history) // 2], history[-1]
    if last.marginal_error <= tolerance:
        return ", the certified gap being what is missing"
    if not 0 < last.marginal_error < first.marginal_error or last.iteration == first.iteration:
        return ""
    rate = math.log(first.marginal_error / last.marginal_error) / (last.iteration - first.iteration)
    return f", about {math.log(last.marginal_error / tolerance) / rate:.2g} more needed at the present rate"
