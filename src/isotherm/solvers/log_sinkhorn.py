"""Sinkhorn in the log domain: slower per pass than scaling, right at every temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from isotherm.kernels import RowUpdate, is_fused, sinkhorn_step
from isotherm.solvers.abstract import AbstractSinkhorn
from isotherm.solvers.blocks import BlockedAlternation, block_costs
from isotherm.solvers.relaxation import AbstractAlternation, AbstractSweep, Alternation, check_relaxation
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, AbstractIteration

if TYPE_CHECKING:
    from isotherm.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LogSinkhorn(AbstractSinkhorn):
    """Alternating updates of the potentials by soft minima.

        f_i <- -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon) / (1 + epsilon / rho_a),   then g likewise

    In unbalanced problems the best constant is moved between f and g before each update. Each update is lengthened by
    a factor that is found from the observed rate (`relaxation`): the number of iterations grows like cost / epsilon
    without it, like its square root with it. Time O(N M D) per iteration, memory O(N + M) for point clouds. Not
    differentiated.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates of both potentials.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.
        relaxation: Factor by which updates are lengthened, in (0, 2): None finds it on the way and falls back to 1 where
            the dual value drops; 1 is Sinkhorn's iteration.

    Raises:
        ValueError: A setting is not positive, or the relaxation is 2 or more.

    Example:
        >>> import torch
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), epsilon=1.0)
        >>> LogSinkhorn().run(problem).coupling.to_dense()
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]])

    References:
        [SinkhornKnopp1967], [PeyreCuturi2019, section 4.4], [Thibault2021], [Lehmann2022]
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None
    relaxation: float | None = None

    def __post_init__(self) -> None:
        self.rule()
        check_relaxation(self.relaxation)

    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> AbstractIteration:
        """Begin iterating; in blocks of sweeps where the problem is small."""
        return alternation(problem, None if potentials is None else potentials[0], self.relaxation)


def alternation(problem: Problem, f: Tensor | None, relaxation: float | None) -> AbstractAlternation:
    """The alternation in the log domain: in blocks of sweeps where the problem is small.

    Args:
        problem: What is solved.
        f: Potential of the sources to start from, shape (N,), or None for that of g = 0.
        relaxation: The factor omega; None to find it on the way, 1 for Sinkhorn's iteration.

    Returns:
        The iteration, not yet begun.
    """
    if (costs := block_costs(problem)) is not None:
        return BlockedAlternation(problem, costs, f, relaxation)
    return Alternation(problem, LogSweep(problem), f, relaxation)


class LogSweep(AbstractSweep):
    """Soft minima over costs that are computed or read pass by pass; one exponential per pair where that is compiled."""

    def __init__(self, problem: Problem) -> None:
        self.epsilon = problem.epsilon
        self.costs = problem.tilted_geometry.for_iteration()
        self.transposed = problem.tilted_geometry.transpose().for_iteration()
        self.log_a, self.log_b = problem.log_weights

    def rows(self, g: Tensor) -> Tensor:
        """See `AbstractSweep.rows`."""
        return self.costs.softmin(g + self.log_b, epsilon=self.epsilon)

    def columns(self, f: Tensor) -> Tensor:
        """See `AbstractSweep.columns`."""
        return self.transposed.softmin(f + self.log_a, epsilon=self.epsilon)

    def both(self, f: Tensor, g: Tensor, update: RowUpdate) -> tuple[Tensor, Tensor, Tensor]:
        """See `AbstractSweep.both`."""
        h = g + self.log_b
        if is_fused(self.costs, f, h):
            return sinkhorn_step(self.costs, f, h, self.log_a, update, epsilon=self.epsilon)
        return super().both(f, g, update)
