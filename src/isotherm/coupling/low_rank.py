"""A coupling of low rank: every pair goes through one of a few intermediate points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._arrays import Namespace
from isotherm.coupling.abstract import AbstractCoupling
from isotherm.coupling.sparse import SparseCoupling, sparsify
from isotherm.kernels import row_blocks


@dataclass(frozen=True, eq=False)
class LowRankCoupling(AbstractCoupling):
    """P = Q diag(1 / g) R', of rank r at most, never formed; memory O((N + M) r).

    Source i sends the share Q_ik / a_i of its mass through intermediate point k, which passes it on as R_jk / g_k.
    Products take time O((N + M) r), rows O(M r) each.

    Attributes:
        q: Q, coupling of the sources with the intermediate points, shape (N, r), non-negative.
        r: R, coupling of the targets with them, shape (M, r), non-negative.
        g: Masses of the intermediate points, shape (r,), positive: the column sums of Q and of R.
        source_points: Coordinates of the sources, shape (N, D), if known.

    Example:
        >>> half = torch.eye(2) / 2
        >>> LowRankCoupling(half, half, torch.full((2,), 0.5)).to_dense()
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])

    References:
        [Scetbon2021, section 3]
    """

    q: Tensor  # (N, r)
    r: Tensor  # (M, r)
    g: Tensor  # (r,)
    _namespace: Namespace = Namespace.TORCH
    source_points: Tensor | None = None
    _target_points: Tensor | None = None

    @property
    def rank(self) -> int:
        """Number of intermediate points, r."""
        return self.g.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.q.shape[0], self.r.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the factors."""
        return self.q.dtype

    @property
    def device(self) -> torch.device:
        """Device of the factors."""
        return self.q.device

    @property
    def namespace(self) -> Namespace:
        """Library that results are exported to."""
        return self._namespace

    @property
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, if known."""
        return self._target_points

    def transpose(self) -> LowRankCoupling:
        """The same coupling read from the targets to the sources."""
        return LowRankCoupling(self.r, self.q, self.g, self.namespace, self.target_points, self.source_points)

    def source_shares(self) -> Tensor:
        """Mass that each source should have, shape (N,)."""
        return self.row_mass()

    def plan_rows(self, rows: slice | Tensor) -> Tensor:
        """Some rows of the plan, shape (n, M)."""
        return (self.q[rows] / self.g) @ self.r.T

    def conditional_rows(self, rows: slice | Tensor) -> Tensor:
        """P(j | i), shape (n, M); NaN for a source without mass."""
        plan = self.plan_rows(rows)
        return plan / plan.sum(1, keepdim=True)

    def product(self, values: Tensor) -> Tensor:
        """P V, shape (N, K)."""
        return self.q @ ((self.r.T @ values) / self.g[:, None])

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean of V under P(j | i), shape (N, K); NaN for a source without mass."""
        return self.product(values) / self.row_mass()[:, None]

    def to_sparse(self, threshold: float = 1e-4) -> SparseCoupling:
        """Pairs with at least `threshold` of their source's mass; see `sparsify`."""
        return sparsify(self, threshold)

    def plan_entropy(self) -> Tensor:
        """H(P) by a pass over all pairs."""
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        for rows in row_blocks(self):
            plan = self.plan_rows(rows)
            total = total - torch.xlogy(plan, plan).sum(dtype=torch.float64)
        return total
