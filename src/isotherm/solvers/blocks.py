"""The alternation in blocks of sweeps, for problems so small that the way to a kernel costs more than a sweep."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm.geometry import Grid
from isotherm.kernels import (
    Formula,
    GridCosts,
    RowUpdate,
    Sweeps,
    Swept,
    is_swept,
    sinkhorn_step,
    sinkhorn_sweeps,
    softmin,
    sort_into_cells,
)
from isotherm.solvers.relaxation import AbstractAlternation
from isotherm.solvers.stopping import rounding_floor

if TYPE_CHECKING:
    from collections.abc import Generator

    from isotherm.problem import Problem
    from isotherm.solvers.stopping import Look

BLOCKED_ENTRIES = 1 << 22  # pairs whose exponentials are kept between sweeps: 16 MiB in float32
BLOCKED_STEPS = 1 << 30  # pairs that the passes of a sweep over a grid meet: a block of sweeps takes seconds
SORTED_ENTRIES = 1 << 16  # pairs from which on points are sorted, so that distant ones can be left out together
COARSEST = 1e-2  # residual that float32 has to reach to be of use in float64
ABOVE_FLOOR = 30.0  # factor within which a residual that falls no more is at its floor
LOW_DIMENSION = 4  # up to which cells of points are compact, so that most pairs of them can be left out
CELL = 8  # points of the smallest cells that they are sorted into


def block_costs(problem: Problem) -> Formula | GridCosts | None:
    """Costs that blocks of sweeps can be made on; None where they are too many, no formula, or of listed pairs only."""
    geometry = problem.tilted_geometry
    if isinstance(geometry, Grid):
        costs = geometry.axis_costs
        steps = max(costs.shape) * sum(sum(matrix.shape) for matrix in costs.matrices)
        return costs if steps <= BLOCKED_STEPS and is_swept(costs, problem.a) else None
    if geometry.shape[0] * geometry.shape[1] > BLOCKED_ENTRIES:
        return None
    formula = geometry.formula() or geometry.for_iteration().formula()
    return None if formula is None or formula.pattern is not None else formula


def cell_orders(costs: Formula | GridCosts) -> tuple[Tensor, Tensor] | None:
    """Orders of both clouds in which close points stand together; None where that gains nothing."""
    if isinstance(costs, GridCosts) or costs.y is None or costs.x.shape[1] > LOW_DIMENSION:
        return None
    if costs.shape[0] * costs.shape[1] < SORTED_ENTRIES or not is_swept(costs):
        return None
    return sort_into_cells(costs.x.detach().double(), CELL), sort_into_cells(costs.y.detach().double(), CELL)


def single_floor(problem: Problem) -> float | None:
    """The residual down to which a problem in float64 can be swept in float32; None where it is too small or too cold."""
    sources, targets = problem.geometry.shape
    if problem.geometry.dtype != torch.float64 or sources * targets < SORTED_ENTRIES:
        return None
    floor = rounding_floor(problem, torch.float32)
    return floor if floor < COARSEST else None


class Sides(NamedTuple):
    """What sweeps are made on, in the order of the cells and in one precision."""

    costs: Formula | GridCosts
    a: Tensor  # (N,)
    b: Tensor  # (M,)

    def to(self, dtype: torch.dtype) -> Sides:
        """The same numbers in another precision."""
        return Sides(self.costs.to(dtype), self.a.to(dtype), self.b.to(dtype))

    def softmin_rows(self, g: Tensor, *, epsilon: float) -> Tensor:
        """-epsilon log sum_j b_j exp((g_j - C_ij) / epsilon), shape (N,)."""
        h = g + epsilon * self.b.log()
        if isinstance(self.costs, GridCosts):
            return self.costs.softmin(h, epsilon=epsilon)
        return softmin(self.costs, h, epsilon=epsilon)

    def transpose(self) -> Sides:
        """Sources and targets swapped."""
        return Sides(self.costs.transpose(), self.b, self.a)


class BlockedAlternation(AbstractAlternation):
    """The iterates of `Alternation`, as many at a time as there are to the next estimate of the relaxation.

    In float64 the first sweeps are made in float32, as long as its rounding does not show in the residual.

    Args:
        problem: What is solved.
        costs: Its costs, as `block_costs` gives them.
        f: Potential of the sources to start from, shape (N,), or None for that of g = 0.
        relaxation: The factor omega; None to find it on the way, 1 for Sinkhorn's iteration.
    """

    def __init__(
        self, problem: Problem, costs: Formula | GridCosts, f: Tensor | None, relaxation: float | None
    ) -> None:
        self.problem, self.order, self.kernel = problem.detach(), cell_orders(costs), None
        self.fine = Sides(costs, self.problem.a, self.problem.b)
        if self.order is not None:
            rows, columns = self.order
            assert isinstance(costs, Formula), "this is our bug: only points have cells"
            assert costs.y is not None, "this is our bug: only points have cells"
            sorted_costs = replace(costs, x=costs.x[rows], y=costs.y[columns])
            self.fine, f = Sides(sorted_costs, self.fine.a[rows], self.fine.b[columns]), None if f is None else f[rows]
        self.floor, self.reached = single_floor(self.problem), math.inf
        self.sides = self.fine if self.floor is None else self.fine.to(torch.float32)
        f, g = self._first(None if f is None else f.to(self.sides.a.dtype))
        super().__init__(f, g, relaxation)

    def _first(self, f: Tensor | None) -> tuple[Tensor, Tensor]:
        """f, or that of g = 0, and the potential of the columns that is exact for it."""
        (costs, a, b), epsilon = self.sides, self.problem.epsilon
        damping_a, damping_b = (1.0 / (1.0 + epsilon / rho) for rho in (self.problem.rho_a, self.problem.rho_b))
        if f is None and isinstance(costs, Formula):  # both potentials in one pass
            log_a, log_b = epsilon * a.log(), epsilon * b.log()
            _, f, t = sinkhorn_step(costs, torch.zeros_like(a), log_b, log_a, RowUpdate(damping_a), epsilon=epsilon)
            return f, damping_b * t
        if f is None:
            f = damping_a * self.sides.softmin_rows(torch.zeros_like(b), epsilon=epsilon)
        return f, damping_b * self.sides.transpose().softmin_rows(f, epsilon=epsilon)

    def advance(self, count: int, tolerance: float) -> Generator[Sweeps, Swept, list[Look]]:
        """Ask for the sweeps to the next estimate of the relaxation; see `AbstractIteration.advance`."""
        self.asked = self._next(count, tolerance)
        swept = yield self.asked
        is_estimate = [self.is_relaxed] + [self._omega() != 1.0] * (len(swept.residuals) - 1)
        self._take(swept)
        before, self.reached = self.reached, swept.residuals[-1]
        if self.floor is not None and self._is_at_floor(before, has_dropped=swept.has_dropped):
            self._refine()
        return list(zip(swept.residuals, is_estimate, strict=True))

    def step(self) -> Tensor:
        """One sweep, made at once; see `AbstractIteration.step`."""
        self.asked = self._next(1, -1.0)
        swept = sinkhorn_sweeps([self.asked])[0]
        self._take(swept)
        return torch.tensor(swept.residuals[0], dtype=self.f.dtype)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g) in the user's order, shapes (N,) and (M,), the target marginal exact to the precision so far."""
        f, g = self.f.to(self.fine.a.dtype), self.exact_g.to(self.fine.a.dtype)
        if self.order is None:
            return f, g
        rows, columns = self.order
        return torch.empty_like(f).index_copy_(0, rows, f), torch.empty_like(g).index_copy_(0, columns, g)

    def go_back(self, count: int) -> Generator[Sweeps, Swept, None]:
        """See `AbstractIteration.go_back`: the last block again, so far only."""
        swept = yield replace(self.asked, count=count)
        self.f, self.g, self.exact_g = swept.f, swept.g, swept.exact_g

    def _next(self, count: int, tolerance: float) -> Sweeps:
        """The next block: one sweep where the one after it may have another factor."""
        omega, problem = self._omega(), self.problem
        if omega != self.relaxation.omega or (self.is_plain and self.relaxation.fixed != 1.0):
            count = 1
        last_omega, last_softmin = self.last or (1.0, None)
        costs, a, b = self.sides
        return Sweeps(
            costs=costs,
            a=a,
            b=b,
            f=self.f,
            g=self.g,
            epsilon=problem.epsilon,
            rho_a=problem.rho_a,
            rho_b=problem.rho_b,
            omega=omega,
            count=min(count, self.relaxation.due()),
            tolerance=tolerance if self.floor is None else max(tolerance, self.floor),
            last_omega=last_omega,
            last_softmin=last_softmin,
            dual=self.dual,
            residual=self.reached,
            kernel=self.kernel,
        )

    def _is_at_floor(self, before: float, *, has_dropped: bool) -> bool:
        """Whether rounding shows: the residual is as small as can be told, or falls no more a little above that."""
        assert self.floor is not None, "this is our bug: only float32 has a floor"
        if not self.reached < ABOVE_FLOOR * self.floor:
            return math.isnan(self.reached)
        return self.reached <= self.floor or self.reached >= before or has_dropped

    def _refine(self) -> None:
        """Go on in the problem's own precision, with the factor that was found."""
        self.sides, self.floor, self.kernel, self.dual = self.fine, None, None, -math.inf
        self.f, self.g, self.exact_g = (h.to(self.fine.a.dtype) for h in (self.f, self.g, self.exact_g))
        if self.last is not None:
            self.last = self.last[0], self.last[1].to(self.fine.a.dtype)

    def _take(self, swept: Swept) -> None:
        """Go on from what the sweeps came to."""
        omega = self._omega()
        self.f, self.g, self.exact_g, self.dual = swept.f, swept.g, swept.exact_g, swept.dual
        self.kernel = swept.kernel
        self.last = omega, swept.softmin
        if self.is_plain:
            return
        for change in swept.changes:
            self.relaxation.observe(change)
        if swept.has_dropped:
            self.g = self.exact_g
            self.relaxation.restart()
            self._forget()
