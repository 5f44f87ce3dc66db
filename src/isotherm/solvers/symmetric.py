"""A cloud against itself: one potential serves both sides, one pass an iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.geometry import BlockSparse, CostMatrix, Grid, PointCloud
from isotherm.geometry.costs import CallableCost
from isotherm.kernels import symmetric_softmin
from isotherm.solvers.abstract import AbstractSinkhorn
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, AbstractIteration, marginal_residual

if TYPE_CHECKING:
    from isotherm.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Symmetric(AbstractSinkhorn):
    """The mean of a potential and its soft minimum, for problems that stay the same when sides are swapped.

        f <- (f + s) / 2,    s_i = -epsilon log sum_j a_j exp((f_j - C_ij) / epsilon) / (1 + epsilon / rho),    g = f

    The self terms of the Sinkhorn divergence. Alternation does not see the symmetry and converges at the rate of two
    different clouds; here every mode of the error at least halves. One pass an iteration over half the pairs, since the other half is the
    same; time O(N^2 D / 2), memory O(N).

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.

    Raises:
        ValueError: A setting is not positive; in `run`, the problem is not symmetric.

    Example:
        >>> from isotherm.geometry import PointCloud
        >>> from isotherm.problem import Problem
        >>> cloud = PointCloud([[0.0], [1.0]], [[0.0], [1.0]])
        >>> Symmetric().run(Problem(cloud, epsilon=1.0)).coupling.to_dense()
        array([[0.36552929, 0.13447071],
               [0.13447071, 0.36552929]])

    References:
        [Feydy2019, section 3.3]
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None

    def __post_init__(self) -> None:
        self.rule()

    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> SymmetricIteration:
        """Begin iterating."""
        obstacles = why_not_symmetric(problem)
        if obstacles:
            msg = f"Symmetric() needs the same points, weights and prices on both sides: {obstacles[0]}. Use Auto()."
            raise ValueError(msg)
        return SymmetricIteration(problem, potentials)


def why_not_symmetric(problem: Problem) -> list[str]:
    """Reasons why swapping sides changes a problem; empty when it does not.

    Args:
        problem: What would be solved. Points and weights are compared, time O(N D); a stored cost O(N^2).

    Returns:
        At most one reason, in words.
    """
    if problem.geometry.shape[0] != problem.geometry.shape[1]:
        return ["the sides differ in size"]
    if problem.rho_a != problem.rho_b or not torch.equal(problem.a, problem.b):
        return ["the sides differ in their weights or prices"]
    if problem.reference is not None:
        return ["there is a reference coupling"]
    geometry = problem.geometry
    match (
        geometry.base if isinstance(geometry, BlockSparse) else geometry
    ):  # one potential lists as many pairs either way
        case PointCloud(x=x, y=y, cost=cost) if not isinstance(cost, CallableCost):
            is_same = x is y or torch.equal(x, y)
        case CostMatrix(matrix=matrix):
            is_same = torch.equal(matrix, matrix.T)
        case Grid(axes=axes, target_axes=others):
            is_same = all(one is two or torch.equal(one, two) for one, two in zip(axes, others, strict=True))
        case _:
            is_same = False
    return [] if is_same else ["the costs are not known to be symmetric"]


class SymmetricIteration(AbstractIteration):
    """The potential f of both sides, before its last averaging."""

    def __init__(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> None:
        self.problem = problem
        self.costs = problem.geometry.for_iteration()
        self.log_a = problem.log_weights[0]
        self.damping = 1.0 / (1.0 + problem.epsilon / problem.rho_a)
        if potentials is None:
            self.f = 0.5 * self.damping * self._softmin(torch.zeros_like(problem.a))
        else:
            self.f = 0.5 * (potentials[0] + potentials[1])  # the gauge in which both sides are one

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, f), shapes (N,) and (N,)."""
        return self.f, self.f

    def step(self) -> Tensor:
        """One averaging; the residual, of either side, is that before it."""
        problem, softmin = self.problem, self._softmin(self.f)
        residual = marginal_residual(problem.a, self.f, softmin, epsilon=problem.epsilon, rho=problem.rho_a)
        # Without mass there is no row to keep: the potential is the soft minimum itself.
        self.f = torch.where(problem.a > 0, 0.5 * (self.f + self.damping * softmin), self.damping * softmin)
        return residual

    def _softmin(self, f: Tensor) -> Tensor:
        """The soft minimum for f, at a fixed point f / damping."""
        h, epsilon = f + self.log_a, self.problem.epsilon
        if isinstance(self.costs, Grid):  # axis by axis
            return self.costs.softmin(h, epsilon=epsilon)
        return symmetric_softmin(self.costs, h, epsilon=epsilon, guess=f / self.damping)
