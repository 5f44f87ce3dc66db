"""Points that move: couple to every measure, go to the mean of the targets, repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, to_tensor
from isotherm._checks import check_points, check_weights
from isotherm._status import Outcome, Status
from isotherm.geometry import PointCloud
from isotherm.problem import Problem
from isotherm.solution import Check

if TYPE_CHECKING:
    from isotherm.barycenters.measures import Measures
    from isotherm.barycenters.stop import Stop
    from isotherm.solution import Solution
    from isotherm.solvers import AbstractSolver


@dataclass(frozen=True, eq=False)
class FreeSupport:
    """A support that may move, with its first positions.

    Attributes:
        points: Where the points start, shape (N, D), in units of the measures' coordinates. They should not coincide:
            equal points stay equal.
        weights: Their masses, shape (N,), which stay; equal when left out.

    Example:
        >>> FreeSupport(torch.zeros(1, 2)).points.shape
        torch.Size([1, 2])
    """

    points: ArrayLike
    weights: ArrayLike | None = None


def move(
    measures: Measures,
    support: FreeSupport,
    solver: AbstractSolver,
    *,
    epsilon: float,
    debiased: bool,
    stop: Stop,
) -> tuple[Tensor, Tensor, tuple[Check, ...], Status]:
    """Move points until they stay.

        x_i <- sum_k w_k T_k(x_i)                         T_k the barycentric map to measure k     (plain)
        x_i <- x_i + sum_k w_k T_k(x_i) - T_xx(x_i)       T_xx that of the points to themselves    (debiased)

    The second is a step of length 1/2 down the gradient of the Sinkhorn divergence, in units of each point's mass. Each
    update starts its couplings from the last potentials.

    Args:
        measures: What to average, on points.
        support: Where to start.
        solver: How couplings are computed.
        epsilon: Temperature, units of squared length.
        debiased: Whether to take out the bias of the points' own coupling.
        stop: Tolerance, a root mean square step over the spread of the data, and budget.

    Returns:
        Masses (N,), points (N, D), the history, and how it ended.

    References:
        [CuturiDoucet2014, algorithm 2], [Feydy2019]
    """
    like = measures.points[0]
    x = check_points(to_tensor(support.points, "support", dtype=like.dtype, device=like.device), "support").clone()
    if x.shape[1] != like.shape[1]:
        msg = f"`support` must have the measures' number of features, {like.shape[1]}: got {x.shape[1]}. Start from points in the same space."
        raise ValueError(msg)
    size = x.shape[0]
    given = like.new_full((size,), 1.0) if support.weights is None else support.weights
    a = check_weights(
        to_tensor(given, "support weights", dtype=like.dtype, device=like.device), "support weights", size
    )
    a = a * (measures.total / a.sum(dtype=torch.float64)).to(a.dtype)
    spread = _spread(measures)
    inits: list[Solution | None] = [None] * (len(measures.masses) + debiased)
    solutions: list[Solution] = []
    history: list[Check] = []
    while not history or (history[-1].marginal_error > stop.tolerance and len(history) < stop.max_iterations):
        targets = list(zip(measures.points, measures.masses, strict=True)) + [(x, a)] * debiased
        solutions = [
            solver.run(Problem(PointCloud(x, y), a, b, epsilon=epsilon), init=init)
            for (y, b), init in zip(targets, inits, strict=True)
        ]
        inits = [*solutions]
        maps = [solution.coupling.row_mean(y) for solution, (y, _) in zip(solutions, targets, strict=True)]
        mean = sum((w * t for w, t in zip(measures.shares, maps, strict=False)), start=torch.zeros_like(x))
        moved = x + mean - maps[-1] if debiased else mean
        step = float(((a @ (moved - x).square().sum(1)) / a.sum()).sqrt() / spread)
        history.append(Check(len(history) + 1, epsilon, step))
        x = moved
        stop.tell(history[-1])
    return a, x, tuple(history), _status(history, solutions, stop.tolerance)


def _spread(measures: Measures) -> float:
    """Root mean square distance of all measures' points from their common mean; one for a single point."""
    shares = [w * b / measures.total for w, b in zip(measures.shares, measures.masses, strict=True)]
    points, weights = torch.cat(measures.points).double(), torch.cat(shares).double()
    spread = float((weights @ (points - weights @ points).square().sum(1)).sqrt())
    return spread if spread > 0 else 1.0


def _status(history: list[Check], solutions: list[Solution], tolerance: float) -> Status:
    found = f"points move by {history[-1].marginal_error:.2e} of the data's spread, tolerance {tolerance:.2e}"
    loose = [solution for solution in solutions if not solution.status.is_converged]
    if loose:
        return Status(
            outcome=loose[0].status.outcome,
            advice=f"{found}; {len(loose)} of {len(solutions)} couplings did not converge: {loose[0].status.advice}",
        )
    if history[-1].marginal_error <= tolerance:
        return Status(outcome=Outcome.CONVERGED, advice=f"{found}.")
    advice = (
        f"{found} after {len(history)} steps. Raise max_iterations, or start from support=FreeSupport(result.points)."
    )
    return Status(outcome=Outcome.MAX_ITERATIONS, advice=advice)
