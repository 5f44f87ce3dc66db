"""Tight tolerances, as POT's are: quick sweeps first, Newton's method where they turn slow."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from isotherm.geometry import CostMatrix
from isotherm.solvers import Auto, LogSinkhorn, StopSolve

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.problem import Problem
    from isotherm.solution import Check
    from isotherm.solvers.work import Work

QUICK = 300  # most sweeps before Newton's method is asked
LOOK = 100  # sweeps after which a solve that is still far off starts again, cooling
NEAR = 1e-3  # L1 error from which Newton's method may start


def patient_work(problem: Problem, tolerance: float, budget: int, init: tuple[Tensor, Tensor] | None = None) -> Work:
    """Solve to a tight tolerance.

    `Auto` takes such a tolerance as a reason for Newton's method from the start, whose steps are single passes; compiled
    sweeps over a stored matrix are many times faster while they converge.

    Args:
        problem: What to solve.
        tolerance: L1 error of the marginals, per unit of mass.
        budget: Most updates of both potentials, of all stages together.
        init: Potentials to start from.

    Returns:
        Work whose solution counts the iterations of all stages.
    """
    if not isinstance(problem.geometry, CostMatrix) or problem.geometry.dtype != torch.float64:
        return (yield from Auto(tolerance=tolerance, max_iterations=budget).work(problem, init=init))
    quick = LogSinkhorn(tolerance=tolerance, max_iterations=min(QUICK, budget))
    watch = _Watch(quick.max_iterations)
    first = yield from quick.work(problem, init=init, callback=watch)
    is_interrupted = first.status.outcome.value == "interrupted" and not watch.has_given_up
    if first.status.is_converged or is_interrupted or first.iterations >= budget:
        return first
    rest = Auto(tolerance=tolerance, max_iterations=budget - first.iterations)
    second = yield from rest.work(problem, init=first.potentials if max(first.marginal_error) <= NEAR else None)
    later = (check._replace(iteration=check.iteration + first.iterations) for check in second.history)
    return replace(
        second,
        history=(*first.history, *later),
        iterations=first.iterations + second.iterations,
        seconds=first.seconds + second.seconds,
    )


class _Watch:
    """A callback that ends sweeps which are still far off after a while."""

    def __init__(self, last: int) -> None:
        self.last = last
        self.has_given_up = False

    def __call__(self, check: Check) -> None:
        if LOOK <= check.iteration < self.last and check.marginal_error > NEAR:
            self.has_given_up = True
            raise StopSolve
