"""Couplings of low rank: another problem than entropic transport, with the rank in the place of the temperature."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm._checks import check_count, check_positive
from isotherm._status import Outcome, Status
from isotherm.coupling import LowRankCoupling
from isotherm.geometry import HalfSquaredEuclidean, NegativeDot, PointCloud, SquaredEuclidean
from isotherm.kernels import row_blocks

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry
    from isotherm.problem import Problem

PATIENCE = 10  # updates over which the cost must have fallen by less than the tolerance
PROJECTIONS = 30  # alternations of a projection, at most
PROJECTED = 1e-6  # L1 error of columns at which a projection is over
LONGEST_STEP, SHORTEST_STEP = 16.0, 1e-6  # largest change of a logarithm in one update
SHARPNESS = 5.0  # of the first clusters: a typical difference of costs is worth so much in a logarithm
SMALLEST_SHARE = 1e-3  # of 1 / r: the least mass of an intermediate point


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LowRankSolution:
    """A coupling of rank r at most, feasible to rounding, and what it costs.

    Attributes:
        problem: What was asked.
        coupling: The plan, factored.
        transport_cost: <C, P>, units of cost times mass.
        status: How the descent ended. Converged means stationary: the problem is not convex, and no lower bound is known.
        iterations: Updates of the factors.
        history: The transport cost before each update, falling.
        tolerance: The relative decrease over ten updates that was asked for.
        method: What was done, in a sentence.
        seconds: Wall time.

    Example:
        >>> from isotherm.problem import Problem
        >>> line = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
        >>> LowRank(rank=1).run(Problem(PointCloud(line, line), epsilon=0.0)).transport_cost  # independence
        0.5
    """

    problem: Problem
    coupling: LowRankCoupling
    transport_cost: float
    status: Status
    iterations: int
    history: tuple[float, ...]
    tolerance: float
    method: str
    seconds: float

    def __repr__(self) -> str:
        return (
            f"LowRankSolution of rank {self.coupling.rank} of {self.problem}\n"
            f"  transport cost {self.transport_cost:.6g}, an upper bound on the exact one; no lower bound is known\n"
            f"  {self.status}\n  {self.iterations} iterations in {self.seconds:.2g} s; {self.method}"
        )


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """Transport through few intermediate points, by mirror descent on the factors of the plan.

        min <C, Q diag(1 / g) R'>    over Q in U(a, g), R in U(b, g), g in the simplex of r points

    A different problem from entropic transport, never chosen by `Auto`: the rank stands where the temperature stood, so
    the problem must have epsilon = 0. Not convex: the answer depends on `seed`. What is certified is feasibility: the
    factors are rounded until both marginals are exact, so the cost of the coupling is an upper bound on the exact one.
    Time O((N + M) r) per update, with a factor D, for the costs |x - y|^2, |x - y|^2 / 2 and -x.y on point clouds, else
    O(N M r). Memory O((N + M) r).

    Attributes:
        rank: Intermediate points r, at least 1. From min(N, M) on, every coupling can be reached.
        tolerance: Relative decrease of the cost over ten updates below which to stop.
        max_iterations: Budget of updates.
        seed: Of the generator that places the first intermediate points.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> from isotherm.problem import Problem
        >>> line = torch.tensor([[0.0], [0.1], [5.0], [5.1]], dtype=torch.float64)
        >>> LowRank(rank=2).run(Problem(PointCloud(line, line), epsilon=0.0)).coupling.apply(line).flatten()
        tensor([0.0125, 0.0125, 1.2625, 1.2625], dtype=torch.float64)

    References:
        [Scetbon2021, algorithm 3], [Halmos2024]
    """

    rank: int
    tolerance: float = 1e-4
    max_iterations: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.rank, "rank")
        check_positive(self.tolerance, "tolerance")
        check_count(self.max_iterations, "max_iterations")

    @torch.no_grad()
    def run(self, problem: Problem) -> LowRankSolution:
        """Solve a problem.

        Args:
            problem: Balanced, at epsilon = 0, without a reference coupling.

        Returns:
            A feasible coupling, whatever the status says.

        Raises:
            ValueError: The problem asks for what this solver does not do.
        """
        _check_problem(problem)
        started = time.perf_counter()
        descent = _Descent(problem.double(), self.rank, self.seed)
        history = [descent.cost]
        outcome = Outcome.MAX_ITERATIONS
        while outcome is Outcome.MAX_ITERATIONS and len(history) <= self.max_iterations:
            moved = descent.step()
            history.append(descent.cost)
            before = history[-1 - PATIENCE] if len(history) > PATIENCE else float("inf")
            if not moved or before - descent.cost <= self.tolerance * abs(descent.cost):
                outcome = Outcome.CONVERGED
        return LowRankSolution(
            problem=problem.detach(),
            coupling=descent.coupling(problem),
            transport_cost=descent.cost * float(descent.mass),
            status=Status(outcome=outcome, advice=_advice(outcome, history, self.tolerance)),
            iterations=len(history) - 1,
            history=tuple(cost * float(descent.mass) for cost in history),
            tolerance=self.tolerance,
            method=f"LowRank: mirror descent over couplings of rank {self.rank}, as asked",
            seconds=time.perf_counter() - started,
        )


class _Factors(NamedTuple):
    """Q (N, r), R (M, r) and g (r,), with exact marginals, or their logarithms."""

    q: Tensor
    r: Tensor
    g: Tensor


class _Descent:
    """Mirror descent with steps that are shortened until the cost falls; on the points with mass, in float64."""

    def __init__(self, problem: Problem, rank: int, seed: int) -> None:
        self.geometry = problem.geometry
        self.rows, self.columns = problem.a > 0, problem.b > 0
        self.mass = problem.a.sum()
        self.a, self.b = problem.a[self.rows] / self.mass, problem.b[self.columns] / problem.b.sum()
        generator = torch.Generator().manual_seed(seed)
        self.factors = self._feasible(_first_factors(problem, self.rows, self.columns, rank, generator))
        self.cost, self.products = self._evaluate(self.factors)
        self.length = 1.0

    def step(self) -> bool:
        """One update; False if no step of any length lowers the cost."""
        (q, r, g), (cr, cq) = self.factors, self.products
        by_q, by_r, by_g = cr / g, cq / g, -(q * cr).sum(0) / g.square()
        by_q, by_r = (by - by.mean(1, keepdim=True) for by in (by_q, by_r))  # a constant in a row changes nothing
        by_g = by_g - by_g.mean()
        steepest = max(float(by.abs().max()) for by in (by_q, by_r, by_g))
        while steepest > 0 and self.length > SHORTEST_STEP:
            rate = self.length / steepest
            logs = _Factors(q.log() - rate * by_q, r.log() - rate * by_r, g.log() - rate * by_g)
            factors = self._feasible(logs)
            cost, products = self._evaluate(factors)
            if cost < self.cost:
                self.factors, self.cost, self.products = factors, cost, products
                self.length = min(2.0 * self.length, LONGEST_STEP)
                return True
            self.length *= 0.25
        return False

    def _evaluate(self, factors: _Factors) -> tuple[float, tuple[Tensor, Tensor]]:
        """The cost of the plan per unit of mass, with C R and C' Q."""
        q, r, g = factors
        cr = _cost_product(self.geometry, _spread(r, self.columns))[self.rows]
        cq = _cost_product(self.geometry.transpose(), _spread(q, self.rows))[self.columns]
        return float((q * (cr / g)).sum()), (cr, cq)

    def _feasible(self, logs: _Factors) -> _Factors:
        """Near the nearest factors in KL with the right marginals: alternating projections, then rounding.

        Projections go on the rows, and on equal columns and g; what is left after a few is repaired as in
        [Altschuler2017, algorithm 2], which keeps the rank.
        """
        log_a, log_b = self.a.log(), self.b.log()
        log_q, log_r, log_g = logs
        least = math.log(SMALLEST_SHARE / log_g.shape[0])
        for _ in range(PROJECTIONS):
            log_q = log_q + (log_a - log_q.logsumexp(1))[:, None]
            log_r = log_r + (log_b - log_r.logsumexp(1))[:, None]
            column_q, column_r = log_q.logsumexp(0), log_r.logsumexp(0)
            log_g = ((log_g + column_q + column_r) / 3.0).clamp(min=least)
            log_g = log_g - log_g.logsumexp(0)
            log_q, log_r = log_q + (log_g - column_q), log_r + (log_g - column_r)
            g = log_g.exp()
            if float((column_q.exp() - g).abs().sum() + (column_r.exp() - g).abs().sum()) < PROJECTED:
                break
        return _Factors(_round(log_q.exp(), self.a, g), _round(log_r.exp(), self.b, g), g)

    def coupling(self, problem: Problem) -> LowRankCoupling:
        """The plan in the problem's dtype and library."""
        geometry, dtype = problem.geometry, problem.geometry.dtype
        q, r, g = (factor * self.mass for factor in self.factors)
        points = geometry.source_points, geometry.target_points
        factors = (_spread(q, self.rows).to(dtype), _spread(r, self.columns).to(dtype), g.to(dtype))
        return LowRankCoupling(*factors, geometry.namespace, *points)


def _spread(values: Tensor, kept: Tensor) -> Tensor:
    """Rows of points without mass put back, as zeros."""
    out = values.new_zeros(kept.shape[0], values.shape[1])
    out[kept] = values
    return out


def _first_factors(problem: Problem, rows: Tensor, columns: Tensor, rank: int, generator: torch.Generator) -> _Factors:
    """Soft clusters around sources drawn far from each other, seen through the cost: k-means++ without points.

    Two sources are as far apart as the largest difference of their costs to a few targets; a target belongs to the source
    it is cheapest from.
    """
    probes = torch.randperm(int(columns.sum()), generator=generator)[:64].to(rows.device)
    probes = columns.nonzero()[:, 0][probes]
    profile = problem.geometry.transpose().block(probes).T[rows]  # (n, 64)
    weights, chosen = problem.a[rows], []
    far = torch.ones_like(weights)
    for _ in range(rank):
        odds = (weights * far).cumsum(0)
        draw = torch.rand((), generator=generator, dtype=torch.float64).to(odds.device) * odds[-1]
        chosen.append(int(torch.searchsorted(odds, draw, right=True).clamp(max=len(odds) - 1)))
        apart = (profile - profile[chosen[-1]]).abs().amax(1).square()
        far = apart if len(chosen) == 1 else torch.minimum(far, apart)
        if not float((weights * far).sum()) > 0:  # fewer sources than intermediate points
            far = torch.ones_like(weights)
    centres = rows.nonzero()[:, 0][torch.tensor(chosen, device=rows.device)]
    near_r = problem.geometry.block(centres).T[columns]  # (m, r)
    near_q = (profile[:, None, :] - profile[chosen]).abs().amax(2)  # (n, r)
    noise = [
        0.1 * torch.rand(len(near), rank, generator=generator, dtype=torch.float64).to(rows.device)
        for near in (near_q, near_r)
    ]
    soft = [-SHARPNESS * near / _typical(near) + blur for near, blur in zip((near_q, near_r), noise, strict=True)]
    return _Factors(soft[0], soft[1], soft[0].new_zeros(rank))


def _typical(near: Tensor) -> Tensor:
    """Scale of the differences within rows."""
    spread = (near - near.amin(1, keepdim=True)).mean()
    return torch.where(spread > 0, spread, 1.0)


def _cost_product(geometry: AbstractGeometry, values: Tensor) -> Tensor:
    """C V, shape (M, K) to (N, K): from inner products where the cost is made of them, else a block of rows at a time."""
    if isinstance(geometry, PointCloud) and isinstance(
        geometry.cost, SquaredEuclidean | HalfSquaredEuclidean | NegativeDot
    ):
        x, y = geometry.x, geometry.y
        inner = x @ (y.T @ values)
        if isinstance(geometry.cost, NegativeDot):
            return -inner
        centre = x.mean(0)
        x, y = x - centre, y - centre
        squares = x.square().sum(1)[:, None] * values.sum(0) + y.square().sum(1) @ values - 2.0 * (x @ (y.T @ values))
        return squares if isinstance(geometry.cost, SquaredEuclidean) else 0.5 * squares
    return torch.cat([geometry.block(rows) @ values for rows in row_blocks(geometry)])


def _round(plan: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """A matrix with exactly these marginals near one with almost these; shape (N, r)."""
    plan = plan * (rows / plan.sum(1)).clamp(max=1.0)[:, None]
    plan = plan * (columns / plan.sum(0)).clamp(max=1.0)
    missing_rows, missing_columns = (rows - plan.sum(1)).clamp(min=0.0), (columns - plan.sum(0)).clamp(min=0.0)
    missing = missing_columns.sum()
    return plan + torch.outer(missing_rows, missing_columns) / missing if missing > 0 else plan


def _check_problem(problem: Problem) -> None:
    reasons = {
        f"epsilon = {problem.epsilon:.4g}": problem.epsilon != 0,
        "loose marginals": not problem.is_balanced,
        "a reference coupling": problem.reference is not None,
    }
    found = [name for name, is_there in reasons.items() if is_there]
    if found:
        msg = (
            f"LowRank needs a balanced problem at epsilon = 0, the rank being its only blur: got {' and '.join(found)}. "
            f"Pass Problem(..., epsilon=0.0), or another solver."
        )
        raise ValueError(msg)


def _advice(outcome: Outcome, history: list[float], tolerance: float) -> str:
    if outcome is Outcome.CONVERGED:
        return (
            f"stationary to {tolerance:.1e}: marginals are exact and the cost is an upper bound; the problem is not convex, "
            f"so another seed or a larger rank may cost less."
        )
    return (
        f"the cost still falls after {len(history) - 1} updates; marginals are exact and the cost is an upper bound. "
        f"Raise max_iterations or the tolerance."
    )
