"""Sinkhorn in scaling form: two matrix-vector products an iteration, for temperatures where nothing underflows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._checks import check_dense_fits
from isotherm.solvers.abstract import AbstractSinkhorn
from isotherm.solvers.relaxation import AbstractSweep, Alternation, check_relaxation
from isotherm.solvers.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from isotherm.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Scaling(AbstractSinkhorn):
    """Alternating normalisation of the Gibbs kernel.

        K = exp(-C / epsilon),    u <- a / (K v),    v <- b / (K' u),    P = diag(u) K diag(v)

    Two matrix-vector products an iteration where it is safe: range(C) / epsilon below `limit` keeps the kernel and every product within the
    dtype's range. Stores K, N x M numbers. Where it is not safe the answer may be a status of `non_finite`; `Auto`
    asks `why_not` first.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates of both scalings.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.
        relaxation: Factor by which updates are lengthened, as in `LogSinkhorn`; the powers of u and v relax.

    Raises:
        ValueError: A setting is not positive, or the relaxation is 2 or more.
        MemoryError: In `run`, if K does not fit.

    Example:
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), epsilon=1.0)
        >>> Scaling().run(problem).coupling.to_dense()
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]])

    References:
        [Cuturi2013, algorithm 1]
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None
    relaxation: float | None = None

    def __post_init__(self) -> None:
        self.rule()
        check_relaxation(self.relaxation)

    def why_not(self, problem: Problem, cost_range: tuple[float, float]) -> list[str]:
        """Reasons why the kernel or a product could leave the dtype's range; empty when provably safe.

        Args:
            problem: What would be solved.
            cost_range: Smallest and largest cost, as `geometry.cost_range()` gives them.

        Returns:
            At most one reason, in words.
        """
        if problem.reference is not None:
            return ["a general reference may contain zeros, which have no bound on their potentials"]
        low, high = cost_range
        dtype = problem.geometry.dtype
        # A constant in the cost is free in balanced problems only.
        spread = (high - low if problem.is_balanced else max(abs(low), abs(high))) / problem.epsilon
        # Scalings lie within exp(+-spread) of each other, products within twice that; a tenth of the range is margin.
        limit = 0.45 * -math.log(torch.finfo(dtype).tiny)
        if spread > limit:
            return [
                f"range(C) / epsilon = {spread:.3g} exceeds {limit:.3g}: exp(-C / epsilon) could underflow in {dtype}"
            ]
        return []

    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> Alternation:
        """Begin iterating."""
        f = None if potentials is None else potentials[0]
        return Alternation(problem, ScalingSweep(problem), f, self.relaxation)


class ScalingSweep(AbstractSweep):
    """Soft minima by products with the stored Gibbs kernel."""

    def __init__(self, problem: Problem) -> None:
        geometry = problem.tilted_geometry
        check_dense_fits(*geometry.shape, geometry.dtype, geometry.device, "The kernel of Scaling()")
        self.problem = problem
        costs = geometry.block(slice(None))
        # Balanced potentials absorb a constant cost, which keeps the kernel's largest entry at one.
        self.shift = float(costs.min()) if problem.is_balanced else 0.0
        self.kernel = ((self.shift - costs) / problem.epsilon).exp_()  # (N, M)

    def rows(self, g: Tensor) -> Tensor:
        """See `AbstractSweep.rows`."""
        return self._softmin(self.kernel, self.problem.b, g)

    def columns(self, f: Tensor) -> Tensor:
        """See `AbstractSweep.columns`."""
        return self._softmin(self.kernel.T, self.problem.a, f)

    def _softmin(self, kernel: Tensor, weights: Tensor, potential: Tensor) -> Tensor:
        """-epsilon log of a product; the largest scaling is taken out, points without mass stay below it."""
        epsilon, largest = self.problem.epsilon, torch.where(weights > 0, potential, -torch.inf).max()
        sums = kernel @ (weights * ((potential - largest) / epsilon).clamp(max=0.0).exp())
        return self.shift - largest - epsilon * sums.log()
