"""What every geometry can do: reductions over all pairs, in memory O(N + M)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm import kernels

if TYPE_CHECKING:
    from isotherm._arrays import Namespace


class AbstractGeometry(ABC):
    """Costs C_ij between N sources and M targets, as an operator.

    A geometry knows no weights and no temperature. Reductions run over the targets and return one number per
    source; use `transpose()` for the other side.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Floating dtype of the costs: float32 or float64."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Device of the costs."""

    @property
    @abstractmethod
    def namespace(self) -> Namespace:
        """Library of the arrays it was made from; results are exported to it."""

    @property
    @abstractmethod
    def source_points(self) -> Tensor | None:
        """Coordinates of the sources, shape (N, D), or None where only costs are known."""

    @property
    @abstractmethod
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, shape (M, D), or None where only costs are known."""

    @property
    @abstractmethod
    def coordinate_scale(self) -> float:
        """Largest |x|^2 that enters the cost's arithmetic; its rounding limits how small epsilon can be."""

    @abstractmethod
    def transpose(self) -> AbstractGeometry:
        """The same costs with sources and targets swapped."""

    @abstractmethod
    def detach(self) -> AbstractGeometry:
        """The same costs outside every autograd graph."""

    @abstractmethod
    def double(self) -> AbstractGeometry:
        """The same costs in float64."""

    @abstractmethod
    def for_iteration(self) -> AbstractGeometry:
        """A geometry with the same costs, prepared for many passes; may hold one block of cached costs."""

    @abstractmethod
    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some sources to all targets, shape (n, M)."""

    @abstractmethod
    def formula(self) -> kernels.Formula | None:
        """What the costs are, for kernels that compute them by themselves; None where they have no such kernel."""

    @abstractmethod
    def softmin(self, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
        """-epsilon log sum_j exp((h_j - C_ij) / epsilon), shape (N,); see `isotherm.kernels.softmin`."""

    @abstractmethod
    def hard_min(self, h: Tensor) -> Tensor:
        """min_j C_ij - h_j, shape (N,); see `isotherm.kernels.hard_min`."""

    @abstractmethod
    def plan_apply(self, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
        """sum_j exp((p_i + q_j - C_ij) / epsilon) V_jk, shape (N, K); see `isotherm.kernels.plan_apply`."""

    def plan_marginals(self, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
        """Row sums, shape (N,), and column sums, shape (M,), of the plan; see `isotherm.kernels.plan_marginals`."""
        rows = self.for_iteration().plan_apply(p, q, torch.ones_like(q)[:, None], epsilon=epsilon)
        columns = self.transpose().for_iteration().plan_apply(q, p, torch.ones_like(p)[:, None], epsilon=epsilon)
        return rows[:, 0], columns[:, 0]

    @abstractmethod
    def plan_cost(self, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
        """sum_j P_ij C_ij with the ground cost C, shape (N,); see `isotherm.kernels.plan_cost`."""

    @abstractmethod
    def conditional_mean(self, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
        """Mean of V under P(j | i), shape (N, K); see `isotherm.kernels.conditional_mean`."""

    @abstractmethod
    def product_cost(self, a: Tensor, b: Tensor) -> Tensor:
        """sum_ij a_i C_ij b_j, a scalar: the cost of the independent coupling."""

    @abstractmethod
    def product_square_deviation(self, a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
        """sum_ij a_i (C_ij - centre)^2 b_j, a scalar."""

    @abstractmethod
    def cost_range(self) -> tuple[float, float]:
        """Smallest and largest C_ij, or bounds that enclose them."""

    def skipped_mass(self, f: Tensor, g: Tensor, a: Tensor, b: Tensor, *, epsilon: float) -> Tensor:
        """Upper bound on the mass of a plan on pairs that the reductions leave out; zero where they meet all pairs.

            sum over pairs left out of a_i b_j exp((f_i + g_j - C_ij) / epsilon)

        Args:
            f: Potential of the sources, shape (N,), finite, units of cost.
            g: Potential of the targets, shape (M,).
            a: Weights of the sources, shape (N,).
            b: Weights of the targets, shape (M,).
            epsilon: Temperature > 0, units of cost.

        Returns:
            A float64 scalar.
        """
        return torch.zeros((), dtype=torch.float64, device=self.device)

    @abstractmethod
    def extend(self, x_new: Tensor) -> AbstractGeometry:
        """The costs from new sources, shape (K, D), to the same targets; a TypeError where only costs are known."""


class AbstractPairwise(AbstractGeometry):
    """A geometry whose reductions stream over blocks of rows of the cost."""

    def softmin(self, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
        """See `isotherm.kernels.softmin`."""
        return kernels.softmin(self, h, epsilon=epsilon, guess=guess)

    def hard_min(self, h: Tensor) -> Tensor:
        """See `isotherm.kernels.hard_min`."""
        return kernels.hard_min(self, h)

    def plan_apply(self, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
        """See `isotherm.kernels.plan_apply`."""
        return kernels.plan_apply(self, p, q, values, epsilon=epsilon)

    def plan_marginals(self, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
        """See `isotherm.kernels.plan_marginals`."""
        return kernels.plan_marginals(self.for_iteration(), p, q, epsilon=epsilon)

    def conditional_mean(self, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
        """See `isotherm.kernels.conditional_mean`."""
        return kernels.conditional_mean(self, h, values, epsilon=epsilon)

    def cost_range(self) -> tuple[float, float]:
        """Smallest and largest C_ij; time O(N M D)."""
        low, high = torch.inf, -torch.inf
        for rows in kernels.row_blocks(self):
            least, greatest = torch.aminmax(self.block(rows))
            low, high = min(low, float(least)), max(high, float(greatest))
        return low, high


def refuse_new_points(geometry: AbstractGeometry) -> TypeError:
    """The error for geometries that cannot tell the cost of a point they were not given."""
    known = "a cost matrix" if geometry.target_points is None else "a reference coupling, known on its points only"
    msg = (
        f"New points can be mapped only where the cost is a function of points: got a problem with {known}. "
        f"Solve it as PointCloud(x, y, cost=...) without a reference."
    )
    return TypeError(msg)
