"""Alternating updates of both potentials, lengthened beyond Sinkhorn's step by a factor found on the way."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._checks import check_positive
from isotherm.kernels import RowUpdate
from isotherm.objective import marginal_dual
from isotherm.solvers.stopping import AbstractIteration, look_interval, marginal_residual
from isotherm.solvers.translation import optimal_translation

if TYPE_CHECKING:
    from isotherm.problem import Problem

FIRST = 5  # plain sweeps before the rate is estimated
PERIOD = 12  # sweeps between estimates
LARGEST = 1.99  # over-relaxation beyond which an error in the rate costs more than it gains
RETREAT = 1.25  # how much closer to plain where the rate no longer tells whether the factor is too large


def check_relaxation(relaxation: float | None) -> None:
    """Refuse a relaxation outside (0, 2), where the iteration cannot converge.

    Args:
        relaxation: The factor, or None to find it on the way.

    Raises:
        ValueError: It is not between 0 and 2.
    """
    if relaxation is not None and not check_positive(relaxation, "relaxation") < 2:
        msg = f"`relaxation` must lie between 0 and 2: got {relaxation}. 1 is Sinkhorn's step; leave it out to have it found."
        raise ValueError(msg)


class AbstractSweep(ABC):
    """Both soft minima of a problem, in whichever form is cheapest."""

    @abstractmethod
    def rows(self, g: Tensor) -> Tensor:
        """-epsilon log sum_j b_j exp((g_j - C_ij) / epsilon), shape (N,)."""

    @abstractmethod
    def columns(self, f: Tensor) -> Tensor:
        """-epsilon log sum_i a_i exp((f_i - C_ij) / epsilon), shape (M,)."""

    def both(self, f: Tensor, g: Tensor, update: RowUpdate) -> tuple[Tensor, Tensor, Tensor]:
        """The soft minimum of the rows, the f that follows from it, and the soft minimum of the columns for that f."""
        softmin = self.rows(g)
        updated = update(f, softmin)
        return softmin, updated, self.columns(updated)


class Relaxation:
    """The factor omega by which updates are lengthened, re-estimated from the observed rate.

    Plain sweeps that reduce the error by the factor lambda each are the case omega = 1 of

        theta^2 = (lambda + omega - 1)^2 / (lambda omega^2),     best omega = 2 / (1 + sqrt(1 - theta^2)),

    the relation between the rates of relaxed and plain alternation. Beyond the best factor every mode has the rate
    omega - 1, which says no more than that; then the factor is lowered a little. A drop of the dual value, which no update with
    omega < 2 causes near the solution, ends the relaxation until the rate has been estimated anew.

    Args:
        fixed: The factor, or None to find it.

    References:
        [Young1954], [Thibault2021], [Lehmann2022]
    """

    def __init__(self, fixed: float | None) -> None:
        self.fixed = fixed
        self.omega = 1.0 if fixed is None else fixed
        self.changes: list[Tensor | float] = []

    def due(self) -> int:
        """Observations to the next estimate."""
        if self.fixed is not None:
            return PERIOD
        return 1 + (FIRST if self.omega == 1.0 else PERIOD) - len(self.changes)

    def observe(self, change: Tensor | float) -> None:
        """Note how far the potentials are from their soft minima; estimate the factor when it is time to."""
        if self.fixed is not None:
            return
        self.changes.append(change)
        if self.due() > 0:
            return
        span = len(self.changes) // 2
        first, last = float(self.changes[-1 - span]), float(self.changes[-1])
        rate = (last / first) ** (1 / span) if first > 0 else 0.0
        if self.omega - 1.0 < rate < 1.0:  # slower than the best factor allows: lengthen more
            theta_squared = min(1.0, (rate + self.omega - 1.0) ** 2 / (rate * self.omega**2))
            self.omega = min(LARGEST, 2.0 / (1.0 + math.sqrt(1.0 - theta_squared)))
        elif rate < 1.0:
            self.omega = max(1.0, 2.0 - RETREAT * (2.0 - self.omega))
        self.changes = self.changes[-1:]

    def begin(self, omega: float) -> None:
        """Take a factor found on a like problem until the rate tells."""
        if self.fixed is None:
            self.omega = omega

    def note(self) -> str:
        """The factor in words, for `Solution.method`."""
        return f" with over-relaxation ({self.omega:.3g})" if self.omega > 1 else ""

    def restart(self) -> None:
        """Forget the rate: the dual value dropped."""
        self.omega, self.changes = 1.0 if self.fixed is None else self.fixed, []


class AbstractAlternation(AbstractIteration):
    """What alternations keep between sweeps, however these are made.

    Args:
        f: Potential of the sources, shape (N,).
        g: The one of the targets that makes their marginal exact for this f, shape (M,).
        relaxation: The factor omega; None to find it on the way, 1 for Sinkhorn's iteration.
    """

    def __init__(self, f: Tensor, g: Tensor, relaxation: float | None) -> None:
        self.f, self.g, self.exact_g = f, g, g
        self.relaxation = Relaxation(relaxation)
        self.is_plain = relaxation == 1.0
        self._forget()

    def _forget(self) -> None:
        """Nothing is known of the last sweep: the next one is plain."""
        self.last: tuple[float, Tensor] | None = None
        self.dual: float = -math.inf

    @property
    def is_relaxed(self) -> bool:
        """Whether the residual of the next step is an estimate."""
        return self.last is not None and self.last[0] != 1.0

    @property
    def lengthening(self) -> float:
        """See `AbstractIteration.lengthening`."""
        return self.relaxation.omega

    def lengthen(self, factor: float) -> None:
        """See `AbstractIteration.lengthen`."""
        self.relaxation.begin(factor)

    def describe(self, solver: str) -> str:
        """See `AbstractIteration.describe`."""
        return solver + self.relaxation.note()

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g), shapes (N,) and (M,), the target marginal exact."""
        return self.f, self.exact_g

    def settle(self, *, forever: bool = False) -> None:
        """Go on from the exact pair with plain sweeps, until `resume`."""
        self.g, self.is_plain = self.exact_g, True
        self._forget()
        if forever:
            self.relaxation = Relaxation(1.0)

    def resume(self) -> None:
        """Relax again."""
        self.is_plain = self.relaxation.fixed == 1.0

    def _omega(self) -> float:
        """The factor of the next sweep."""
        return 1.0 if self.is_plain or self.last is None else self.relaxation.omega


class Alternation(AbstractAlternation):
    """Updates of f, then of g, both relaxed; reports the pair of f with the g that makes the target marginal exact.

    Args:
        problem: What is solved.
        sweep: Its soft minima.
        f: Potential of the sources to start from, shape (N,), or None for that of g = 0.
        relaxation: The factor omega; None to find it on the way, 1 for Sinkhorn's iteration.
    """

    def __init__(self, problem: Problem, sweep: AbstractSweep, f: Tensor | None, relaxation: float | None) -> None:
        self.problem, self.sweep = problem, sweep
        self.damping_a = 1.0 / (1.0 + problem.epsilon / problem.rho_a)
        self.damping_b = 1.0 / (1.0 + problem.epsilon / problem.rho_b)
        if f is None:
            start = torch.zeros_like(problem.a), torch.zeros_like(problem.b)
            _, f, softmin = sweep.both(*start, RowUpdate(self.damping_a))
        else:
            softmin = sweep.columns(f)
        self.look_every, self.steps = look_interval(problem.geometry), 0
        super().__init__(f, self.damping_b * softmin, relaxation)

    def step(self) -> Tensor:
        """One update of f, then of g; the residual of the old pair comes free with the first.

        After a relaxed step the soft minimum at the exact g is extrapolated from those of the last two steps, an
        estimate to first order.
        """
        problem = self.problem
        omega = self._omega()
        constant = optimal_translation(problem, self.f, self.g)
        moved_f, moved_g = self.f + constant, self.g - constant
        softmin, f, t = self.sweep.both(moved_f, self.g, RowUpdate(self.damping_a, constant, omega))
        residual = self._row_residual(self._at_exact_g(softmin))
        exact_g = self.damping_b * t
        g = exact_g if omega == 1.0 else (1.0 - omega) * moved_g + omega * exact_g
        change = (problem.a * (self.damping_a * (softmin + constant) - moved_f).square()).sum().sqrt()
        self.f, self.g, self.exact_g = f, g, exact_g
        self.last = omega, softmin + constant
        self.steps += 1
        if self.is_plain:
            return residual
        self.relaxation.observe(change)
        if omega != 1.0 and self.steps % self.look_every == 0 and not self._has_risen(t):
            self.g = exact_g
            self.relaxation.restart()
            self._forget()
        return residual

    def _at_exact_g(self, softmin: Tensor) -> Tensor:
        """The soft minimum at `exact_g`, from that at `g` and the one before: softmin is nearly affine in between."""
        if self.last is None or self.last[0] == 1.0:
            return softmin
        omega, before = self.last
        return (softmin + (omega - 1.0) * before) / omega

    def _row_residual(self, softmin: Tensor) -> Tensor:
        """The sources', of f with the exact g."""
        problem = self.problem
        return marginal_residual(problem.a, self.f, softmin, epsilon=problem.epsilon, rho=problem.rho_a)

    def _has_risen(self, t: Tensor) -> bool:
        """Whether the dual value is no lower than at the last look, to rounding; t is the soft minimum at f."""
        problem, f, g = self.problem, self.f.double(), self.g.double()
        a, b = problem.a.double(), problem.b.double()
        columns = torch.where(b > 0, b * ((self.g - t) / problem.epsilon).double().exp(), 0.0)
        parts = marginal_dual(a, f, problem.rho_a), marginal_dual(b, g, problem.rho_b), -problem.epsilon * columns.sum()
        before, self.dual = self.dual, float(sum(parts))
        slack = 8 * torch.finfo(self.f.dtype).eps * float(sum(part.abs() for part in parts))
        return math.isfinite(self.dual) and self.dual >= before - slack
