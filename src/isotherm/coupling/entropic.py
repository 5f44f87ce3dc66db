"""The entropic plan as an operator, from its potentials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm import kernels
from isotherm._arrays import ArrayLike, Namespace, to_tensor
from isotherm._checks import check_points
from isotherm.coupling.abstract import AbstractCoupling
from isotherm.coupling.rounded import RoundedCoupling
from isotherm.coupling.rounding import make_feasible
from isotherm.coupling.sparse import SparseCoupling, sparsify

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry
    from isotherm.problem import Problem


@dataclass(frozen=True, eq=False)
class EntropicCoupling(AbstractCoupling):
    """P_ij = kappa_ij exp((f_i + g_j - C_ij) / epsilon), never stored; memory O(N + M).

    Attributes:
        problem: Costs, weights and temperature.
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,), units of cost.

    Example:
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), epsilon=1e4)
        >>> EntropicCoupling(problem, torch.zeros(2), torch.zeros(2)).to_dense()
        tensor([[0.2500, 0.2500],
                [0.2500, 0.2500]])
    """

    problem: Problem
    f: Tensor
    g: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.problem.geometry.shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the potentials."""
        return self.f.dtype

    @property
    def device(self) -> torch.device:
        """Device of the potentials."""
        return self.f.device

    @property
    def namespace(self) -> Namespace:
        """Library of the problem's data."""
        return self.problem.geometry.namespace

    @property
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, if known."""
        return self.problem.geometry.target_points

    @cached_property
    def _geometry(self) -> AbstractGeometry:
        return self.problem.tilted_geometry

    @property
    def _weighted(self) -> tuple[Tensor, Tensor]:
        """f + epsilon log a and g + epsilon log b."""
        log_a, log_b = self.problem.log_weights
        return self.f + log_a, self.g + log_b

    def transpose(self) -> EntropicCoupling:
        """The same coupling read from the targets to the sources."""
        return EntropicCoupling(self.problem.transpose(), self.g, self.f)

    def source_shares(self) -> Tensor:
        """Mass that each source should have, shape (N,)."""
        return self.problem.a if math.isinf(self.problem.rho_a) else self.row_mass()

    def plan_rows(self, rows: slice | Tensor) -> Tensor:
        """Some rows of the plan, shape (n, M)."""
        p, q = self._weighted
        return kernels.plan_block(self._geometry, p, q, rows, epsilon=self.problem.epsilon)

    def conditional_rows(self, rows: slice | Tensor) -> Tensor:
        """P(j | i), shape (n, M); defined by the potential of the targets, so also where the source has no mass."""
        return kernels.conditional_block(self._geometry, self._weighted[1], rows, epsilon=self.problem.epsilon)

    def product(self, values: Tensor) -> Tensor:
        """P V, shape (N, K)."""
        return self._geometry.for_iteration().plan_apply(*self._weighted, values, epsilon=self.problem.epsilon)

    def masses(self) -> tuple[Tensor, Tensor]:
        """Row and column sums, one pass for both."""
        return self._geometry.plan_marginals(*self._weighted, epsilon=self.problem.epsilon)

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean of V under P(j | i), shape (N, K)."""
        return self._geometry.for_iteration().conditional_mean(self._weighted[1], values, epsilon=self.problem.epsilon)

    def map(self, x_new: ArrayLike, values: ArrayLike | None = None) -> Any:
        """Barycentric map at points that need not be in the source cloud.

            T(x) = sum_j b_j exp((g_j - c(x, y_j)) / epsilon) y_j / sum_j b_j exp((g_j - c(x, y_j)) / epsilon)

        Agrees with `barycentric_map` at the sources, for any weights. Time O(K M D), memory O(K + M).

        Args:
            x_new: New sources, shape (K, D) or, in one dimension, (K,).
            values: What to average, shape (M,) or (M, L); the targets' coordinates when left out.

        Returns:
            Shape (K, L), or (K,) for a vector of values.

        Raises:
            TypeError: The problem was given as a cost matrix or with a reference coupling.
            ValueError: Wrong number of features, or not finite.

        References:
            [PooladianNilesWeed2021, eq. 4]
        """
        geometry = self._extended(x_new)
        tensor = self._target_values(values)
        columns = tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
        out = geometry.conditional_mean(self._weighted[1], columns, epsilon=self.problem.epsilon)
        return self.namespace.export(out.reshape(geometry.shape[0], *tensor.shape[1:]))

    def potential(self, x_new: ArrayLike) -> Any:
        """Potential f at new points, -epsilon log sum_j b_j exp((g_j - c(x, y_j)) / epsilon), damped if unbalanced.

        Args:
            x_new: New sources, shape (K, D).

        Returns:
            Shape (K,), units of cost.
        """
        problem = self.problem
        f = self._extended(x_new).softmin(self._weighted[1], epsilon=problem.epsilon)
        return self.namespace.export(f / (1.0 + problem.epsilon / problem.rho_a))

    def _extended(self, x_new: ArrayLike) -> AbstractGeometry:
        points = to_tensor(x_new, "x_new", dtype=self.dtype, device=self.device)
        return self._geometry.extend(check_points(points, "x_new"))

    def round(self) -> RoundedCoupling:
        """A coupling whose balanced marginals are exact to rounding, within 2 x the L1 marginal error of this one.

        Returns:
            A lazy coupling: this plan after one soft c-transform, with columns scaled down, plus a rank-one term. With
            a reference coupling that term may put a little mass on pairs that the reference forbids.

        References:
            [Altschuler2017, algorithm 2]
        """
        plan = make_feasible(self.problem, self.g)
        return RoundedCoupling(EntropicCoupling(self.problem, plan.f, plan.g), plan.missing_a, plan.missing_b)

    def to_sparse(self, threshold: float = 1e-4) -> SparseCoupling:
        """Pairs with at least `threshold` of their source's mass; see `sparsify`."""
        return sparsify(self, threshold)

    def plan_entropy(self) -> Tensor:
        """H(P) from marginals and transport cost: log P is affine in f, g, C and the logarithm of the reference.

        -sum P log P = -<P, log kappa> - (<r, f> + <c, g> - <C, P>) / epsilon
        """
        problem, epsilon = self.problem, self.problem.epsilon
        p, q = (weighted.double() for weighted in self._weighted)
        row, column = (mass.double() for mass in self.masses())
        exponent = _dot(row, p) + _dot(column, q)
        if problem.reference is None:
            return (self.transport_cost().double() - exponent) / epsilon
        plan_log = torch.zeros((), dtype=torch.float64, device=self.device)
        for rows in kernels.row_blocks(self):
            plan = self.plan_rows(rows)
            plan_log = plan_log + torch.xlogy(plan, plan).sum(dtype=torch.float64)
        return -plan_log

    def transport_cost(self) -> Tensor:
        """<C, P> with the ground cost, a scalar tensor."""
        return self._geometry.plan_cost(*self._weighted, epsilon=self.problem.epsilon).sum(dtype=torch.float64)


def _dot(weights: Tensor, values: Tensor) -> Tensor:
    return (weights * torch.where(weights > 0, values, 0.0)).sum()
