"""Sinkhorn in the log domain: slower per pass than scaling, right at every temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.kernels import RowUpdate, is_fused, sinkhorn_step
from isotherm.solvers.abstract import AbstractSinkhorn
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, AbstractIteration
from isotherm.solvers.translation import optimal_translation

if TYPE_CHECKING:
    from isotherm.problem import Problem


@dataclass(frozen=True, kw_only=True)
class LogSinkhorn(AbstractSinkhorn):
    """Alternating updates of the potentials by soft minima.

        f_i <- -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon) / (1 + epsilon / rho_a),   then g likewise

    In unbalanced problems the best constant is moved between f and g before each update. Linear convergence; the number of iterations grows like cost / epsilon. Time O(N M D) per iteration, memory
    O(N + M) for point clouds. Not differentiated.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates of both potentials.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.

    Raises:
        ValueError: A setting is not positive.

    Example:
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), epsilon=1.0)
        >>> LogSinkhorn().run(problem).coupling.to_dense()
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]])

    References:
        [SinkhornKnopp1967], [PeyreCuturi2019, section 4.4]
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None

    def __post_init__(self) -> None:
        self.rule()

    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> LogIteration:
        """Begin iterating."""
        return LogIteration(problem, potentials)


class LogIteration(AbstractIteration):
    """Potentials (f, g) with the target marginal exact."""

    def __init__(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> None:
        self.problem = problem
        self.rows = problem.tilted_geometry.for_iteration()
        self.columns = problem.tilted_geometry.transpose().for_iteration()
        self.log_a, self.log_b = problem.log_weights
        self.damping_a = 1.0 / (1.0 + problem.epsilon / problem.rho_a)
        self.damping_b = 1.0 / (1.0 + problem.epsilon / problem.rho_b)
        if potentials is None:
            self.f = self.damping_a * self._row_softmin(torch.zeros_like(problem.b))
        else:
            self.f = potentials[0]
        self.g = self.damping_b * self._column_softmin(self.f)

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g), shapes (N,) and (M,)."""
        return self.f, self.g

    def step(self) -> Tensor:
        """One update of f, then of g; the residual of the old pair comes free with the first."""
        problem, h = self.problem, self.g + self.log_b
        update = RowUpdate(self.damping_a, optimal_translation(problem, self.f, self.g))
        if is_fused(self.rows, self.f, h):
            f, f_next, g = sinkhorn_step(self.rows, self.f, h, self.log_a, update, epsilon=problem.epsilon)
        else:
            f = self.rows.softmin(h, epsilon=problem.epsilon)
            f_next = update(self.f, f)
            g = self._column_softmin(f_next)
        residual = self._row_residual(f)  # f is undamped: the log of the row marginal is (f_old - f) / epsilon
        self.f, self.g = f_next, self.damping_b * g
        return residual

    def _row_softmin(self, g: Tensor) -> Tensor:
        return self.rows.softmin(g + self.log_b, epsilon=self.problem.epsilon)

    def _column_softmin(self, f: Tensor) -> Tensor:
        return self.columns.softmin(f + self.log_a, epsilon=self.problem.epsilon)

    def _row_residual(self, f_new: Tensor) -> Tensor:
        """sum_i |r_i - w_i| / sum_i w_i, with r_i = a_i exp((f_i - f_new_i) / epsilon), w_i = a_i exp(-f_i / rho_a)."""
        row = ((self.f - f_new) / self.problem.epsilon).exp()
        wanted = (-self.f / self.problem.rho_a).exp()
        missed = torch.where(self.problem.a > 0, self.problem.a * (row - wanted), 0.0).abs().sum()
        return missed / (self.problem.a * wanted).sum()
