"""The alternation in blocks of sweeps, for problems so small that the way to a kernel costs more than a sweep."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.kernels import (
    Formula,
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

if TYPE_CHECKING:
    from collections.abc import Generator

    from isotherm.problem import Problem
    from isotherm.solvers.stopping import Look

BLOCKED_ENTRIES = 1 << 22  # pairs whose exponentials are kept between sweeps: 16 MiB in float32
SORTED_ENTRIES = 1 << 16  # pairs from which on points are sorted, so that distant ones can be left out together
CELL = 8  # points of the smallest cells that they are sorted into


def block_costs(problem: Problem) -> Formula | None:
    """Costs that blocks of sweeps can be made on; None where they are too many, no formula, or of listed pairs only."""
    geometry = problem.tilted_geometry
    if geometry.shape[0] * geometry.shape[1] > BLOCKED_ENTRIES:
        return None
    formula = geometry.formula() or geometry.for_iteration().formula()
    return None if formula is None or formula.pattern is not None else formula


def cell_orders(costs: Formula) -> tuple[Tensor, Tensor] | None:
    """Orders of both clouds in which close points stand together; None where there are no points or too few."""
    if costs.y is None or costs.shape[0] * costs.shape[1] < SORTED_ENTRIES or not is_swept(costs):
        return None
    return sort_into_cells(costs.x.detach().double(), CELL), sort_into_cells(costs.y.detach().double(), CELL)


class BlockedAlternation(AbstractAlternation):
    """The iterates of `Alternation`, as many at a time as there are to the next estimate of the relaxation.

    Args:
        problem: What is solved.
        costs: Its costs, as `block_costs` gives them.
        f: Potential of the sources to start from, shape (N,), or None for that of g = 0.
        relaxation: The factor omega; None to find it on the way, 1 for Sinkhorn's iteration.
    """

    def __init__(self, problem: Problem, costs: Formula, f: Tensor | None, relaxation: float | None) -> None:
        self.order = cell_orders(costs)
        self.problem, self.costs = problem.detach(), costs
        self.a, self.b = self.problem.a, self.problem.b
        if self.order is not None:
            rows, columns = self.order
            assert costs.y is not None, "this is our bug: only points have cells"
            self.costs = replace(costs, x=costs.x[rows], y=costs.y[columns])
            self.a, self.b, f = self.a[rows], self.b[columns], None if f is None else f[rows]
        damping_b = 1.0 / (1.0 + problem.epsilon / problem.rho_b)
        f, t = self._first(f)
        self.kernel = None
        super().__init__(f, damping_b * t, relaxation)

    def _first(self, f: Tensor | None) -> tuple[Tensor, Tensor]:
        """f, or that of g = 0, and the soft minimum of the columns for it."""
        problem, epsilon = self.problem, self.problem.epsilon
        log_a, log_b = (epsilon * weights.log() for weights in (self.a, self.b))
        if f is not None:
            return f, softmin(self.costs.transpose(), f + log_a, epsilon=epsilon)
        update = RowUpdate(1.0 / (1.0 + epsilon / problem.rho_a))
        zero = torch.zeros_like(self.a)
        return sinkhorn_step(self.costs, zero, log_b, log_a, update, epsilon=epsilon)[1:]

    def advance(self, count: int, tolerance: float) -> Generator[Sweeps, Swept, list[Look]]:
        """Ask for the sweeps to the next estimate of the relaxation; see `AbstractIteration.advance`."""
        self.asked = self._next(count, tolerance)
        swept = yield self.asked
        is_estimate = [self.is_relaxed] + [self._omega() != 1.0] * (len(swept.residuals) - 1)
        self._take(swept)
        return list(zip(swept.residuals, is_estimate, strict=True))

    def step(self) -> Tensor:
        """One sweep, made at once; see `AbstractIteration.step`."""
        self.asked = self._next(1, -1.0)
        swept = sinkhorn_sweeps([self.asked])[0]
        self._take(swept)
        return torch.tensor(swept.residuals[0], dtype=self.f.dtype)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g) in the user's order, shapes (N,) and (M,), the target marginal exact."""
        if self.order is None:
            return self.f, self.exact_g
        found = zip((self.f, self.exact_g), self.order, strict=True)
        f, g = (torch.empty_like(potential).index_copy_(0, order, potential) for potential, order in found)
        return f, g

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
        return Sweeps(
            costs=self.costs,
            a=self.a,
            b=self.b,
            f=self.f,
            g=self.g,
            epsilon=problem.epsilon,
            rho_a=problem.rho_a,
            rho_b=problem.rho_b,
            omega=omega,
            count=min(count, self.relaxation.due()),
            tolerance=tolerance,
            last_omega=last_omega,
            last_softmin=last_softmin,
            dual=self.dual,
            kernel=self.kernel,
        )

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
