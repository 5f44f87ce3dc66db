"""Large clouds in many dimensions: a sample of the points finds where to start, and what would be slow from there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._checks import check_count
from isotherm.kernels import RowUpdate
from isotherm.solvers.abstract import AbstractSinkhorn
from isotherm.solvers.anderson import Anderson
from isotherm.solvers.initial import extended_potentials
from isotherm.solvers.log_sinkhorn import LogSinkhorn, LogSweep, alternation
from isotherm.solvers.sample import LEAST, Sample, sample_of, why_not_sampled
from isotherm.solvers.slow_modes import Modes, slow_modes
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, AbstractIteration, marginal_residual

if TYPE_CHECKING:
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers.relaxation import AbstractAlternation

SHARE = 8  # a sample holds one point in so many
MANY_FEATURES = 64  # beyond which the points next to a point are about as far as others
MEMORY = 6  # steps that are mixed
SAMPLED = 1e-3  # tolerance between the sample, which is less like the whole than that
LONG = 200  # iterations there, beyond which the steps are too many and too small to be mixed
SLOW = 12  # iterations that the sample took, from which on its slow modes are looked for
CLOSE = 0.3  # first residual up to which the sample is like the whole
RISE = 2.0  # of the residual, after which steps are no longer mixed with those before
STRIKES = 3  # such rises, after which over-relaxed alternation goes on
PATIENCE = 10  # steps without a smaller residual, after which it does as well


@dataclass(frozen=True, kw_only=True)
class TwoLevel(AbstractSinkhorn):
    """Start from the solution between some of the points; correct the modes that were slow there; mix the steps.

        s = t(g) - g + sum_k lambda_k / (1 - lambda_k) phi_k <phi_k, t(g) - g>_b

    where t(g) is one alternation, a plain step of Sinkhorn, and phi_k, lambda_k are the slow modes of alternation near
    the solution, such as mass that passes from cluster to cluster. They are found in the sample's plan P as singular
    vectors of D_a^(-1/2) P D_b^(-1/2), carried to all points by the plan's conditional means, and their rates measured on
    other points. Steps are mixed with the last few by Anderson's method, which takes care of what is left; where the
    residual rises the mixing begins anew, and where that does not help over-relaxed alternation goes on.

    Made for clouds of many points above four dimensions, where every pass is long and no pair can be left out: a few
    passes are left of dozens. Without points, with few, or with more than 64 features, only the mixing is left; where the
    sample is hard to solve, alternation. Time O(N M D) per iteration, memory O(N + M) for point clouds beside the
    sample's plan. Not differentiated.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates of both potentials.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.
        most: Points of the sample at most, on each side; an eighth of them if that is less.

    Raises:
        ValueError: A setting is not positive.

    Example:
        >>> import torch
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), epsilon=1.0)
        >>> TwoLevel().run(problem).coupling.to_dense()
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]])

    References:
        [WalkerNi2011], [WilliamsSeeger2001]
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None
    most: int = 4096

    def __post_init__(self) -> None:
        self.rule()
        check_count(self.most, "most")

    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> AbstractIteration:
        """Solve between the sample, where no potentials are given; alternate where that is long."""
        sides = int((problem.a > 0).sum()), int((problem.b > 0).sum())
        if (
            potentials is not None
            or why_not_sampled(problem)
            or min(sides) < 2 * SHARE * LEAST
            or has_many_features(problem)
        ):
            zeros = torch.zeros_like(problem.a), torch.zeros_like(problem.b)
            return TwoLevelIteration(problem, potentials or zeros, None)
        sample = sample_of(problem, share=SHARE, most=self.most)
        small = LogSinkhorn(tolerance=SAMPLED, max_iterations=LONG).run(sample.problem)
        if not small.status.is_converged:
            return alternation(problem, None, None)
        potentials = extended_potentials(small, problem.geometry)
        return TwoLevelIteration(problem, potentials, (sample, small))


def has_many_features(problem: Problem) -> bool:
    """Whether points have so many features that neighbours are far, and a sample tells little of the rest."""
    points = problem.geometry.source_points
    return points is not None and points.shape[1] > MANY_FEATURES


class TwoLevelIteration(AbstractIteration):
    """The potential of the targets; f always makes the source marginal exact for it.

    Args:
        problem: What is solved.
        potentials: Where to start, shapes (N,) and (M,).
        coarse: The sample and its solution, if there is one.
    """

    def __init__(
        self, problem: Problem, potentials: tuple[Tensor, Tensor], coarse: tuple[Sample, Solution] | None
    ) -> None:
        self.problem, self.sweep, self.coarse = problem, LogSweep(problem), coarse
        self.damping_a = 1.0 / (1.0 + problem.epsilon / problem.rho_a)
        self.damping_b = 1.0 / (1.0 + problem.epsilon / problem.rho_b)
        self.f, self.g = potentials
        self.exact_g, self.best = self.g, potentials
        self.last = self.least = math.inf
        self.mixing, self.strikes, self.idle = Anderson(MEMORY, problem.b), 0, 0
        self.modes: Modes | None = None
        self.alternation: AbstractAlternation | None = None  # what goes on where mixing does not

    def describe(self, solver: str) -> str:
        """See `AbstractIteration.describe`."""
        size = " without a sample"
        if self.coarse is not None:
            size = f" from a sample of {' x '.join(map(str, self.coarse[1].coupling.shape))} points"
        modes = f", {self.modes.count} slow modes" if self.modes else ""
        later = f", then {self.alternation.describe('LogSinkhorn')}" if self.alternation else ""
        return solver + size + modes + later

    @property
    def is_relaxed(self) -> bool:
        """Whether alternation goes on, and relaxed."""
        return self.alternation is not None and self.alternation.is_relaxed

    def settle(self, *, forever: bool = False) -> None:
        """See `AbstractIteration.settle`."""
        if self.alternation is not None:
            self.alternation.settle(forever=forever)

    def resume(self) -> None:
        """See `AbstractIteration.resume`."""
        if self.alternation is not None:
            self.alternation.resume()

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g), shapes (N,) and (M,), the target marginal exact."""
        return (self.f, self.exact_g) if self.alternation is None else self.alternation.potentials()

    def step(self) -> Tensor:
        """One pass for both potentials; the residual is the targets', of the pair before the last update."""
        if self.alternation is not None:
            return self.alternation.step()
        problem = self.problem
        _, self.f, t = self.sweep.both(self.f, self.g, RowUpdate(self.damping_a))
        self.exact_g = self.damping_b * t
        residual = marginal_residual(problem.b, self.g, t, epsilon=problem.epsilon, rho=problem.rho_b)
        if self.coarse is not None and math.isinf(self.last) and residual < CLOSE and self.coarse[1].iterations >= SLOW:
            self.modes = slow_modes(problem, *self.coarse, potentials=self.potentials())
        if self._has_risen(float(residual)):
            self.mixing.forget()
            self.f, self.exact_g = self.best
            if self.strikes == STRIKES or self.idle == PATIENCE:
                self.alternation = alternation(problem, self.f, None)
            self.g = self.exact_g
            return residual
        step = self.exact_g - self.g
        if problem.is_balanced:  # the constant is free
            step = step - (problem.b @ step) / problem.b.sum()
        if self.modes is not None:
            step = self.modes.lengthened(step, problem.b)
        self.g = self.mixing.next(self.g, step)
        return residual

    def _has_risen(self, residual: float) -> bool:
        """Whether the residual is no use to go on from; keeps the pair of the least one."""
        if residual < self.least:
            self.least, self.best, self.idle = residual, (self.f, self.exact_g), 0
        else:
            self.idle += 1
        has_risen = not residual <= RISE * self.last or self.idle == PATIENCE
        self.strikes += has_risen
        self.last = self.least if has_risen else residual
        return has_risen
