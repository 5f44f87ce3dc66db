"""A coupling with exact marginals: a scaled plan plus a rank-one repair."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.coupling.abstract import AbstractCoupling
from isotherm.coupling.sparse import SparseCoupling, sparsify
from isotherm.kernels import row_blocks

if TYPE_CHECKING:
    from isotherm._arrays import Namespace


@dataclass(frozen=True, eq=False)
class RoundedCoupling(AbstractCoupling):
    """P = A + missing_a missing_b' / mass, lazy; memory O(N + M).

    Attributes:
        scaled: The coupling A, whose marginals nowhere exceed the weights.
        missing_a: What A lacks of the source weights, shape (N,), non-negative.
        missing_b: What A lacks of the target weights, shape (M,), non-negative, of the same total.
    """

    scaled: AbstractCoupling
    missing_a: Tensor
    missing_b: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.scaled.shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the scaled part."""
        return self.scaled.dtype

    @property
    def device(self) -> torch.device:
        """Device of the scaled part."""
        return self.scaled.device

    @property
    def namespace(self) -> Namespace:
        """Library of the problem's data."""
        return self.scaled.namespace

    @property
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, if known."""
        return self.scaled.target_points

    @property
    def _share_b(self) -> Tensor:
        """missing_b scaled to mass one, or zeros when nothing is missing; shape (M,)."""
        return self.missing_b / self.missing_b.sum().clamp(min=torch.finfo(self.dtype).tiny)

    def transpose(self) -> RoundedCoupling:
        """The same coupling read from the targets to the sources."""
        return RoundedCoupling(self.scaled.transpose(), self.missing_b, self.missing_a)

    def source_shares(self) -> Tensor:
        """Mass that each source should have, shape (N,)."""
        return self.row_mass()

    def plan_rows(self, rows: slice | Tensor) -> Tensor:
        """Some rows of the plan, shape (n, M)."""
        return self.scaled.plan_rows(rows) + self.missing_a[rows, None] * self._share_b

    def conditional_rows(self, rows: slice | Tensor) -> Tensor:
        """P(j | i), shape (n, M); NaN for a source without mass."""
        plan = self.plan_rows(rows)
        return plan / plan.sum(1, keepdim=True)

    def product(self, values: Tensor) -> Tensor:
        """P V, shape (N, K)."""
        return self.scaled.product(values) + self.missing_a[:, None] * (self._share_b @ values)

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
