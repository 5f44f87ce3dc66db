"""A coupling with few pairs: exact plans, or entropic ones without their tails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, namespace_of, to_tensor
from isotherm._checks import check_matrix, check_positive
from isotherm._optional import require
from isotherm.coupling.abstract import AbstractCoupling
from isotherm.kernels import row_blocks
from isotherm.objective import entropy

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class SparseCoupling(AbstractCoupling):
    """Pairs (i, j) with their masses; every other pair has none.

    Attributes:
        sources: Index i of each pair, shape (K,).
        targets: Index j of each pair, shape (K,).
        pair_mass: P_ij of each pair, shape (K,), non-negative. Pairs are unique.
        source_points: Coordinates of the sources, shape (N, D), if known.

    Example:
        >>> SparseCoupling.from_matrix(torch.eye(2) / 2).apply(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
    """

    sources: Tensor
    targets: Tensor
    pair_mass: Tensor
    _shape: tuple[int, int]
    _namespace: Namespace = Namespace.TORCH
    source_points: Tensor | None = None
    _target_points: Tensor | None = None

    @classmethod
    def from_matrix(cls, plan: ArrayLike) -> SparseCoupling:
        """The pairs with mass of a dense plan, shape (N, M), NumPy or torch; masses must not be negative."""
        matrix = check_matrix(to_tensor(plan, "plan"), "plan")
        if (matrix < 0).any():
            msg = f"`plan` must be non-negative: got {float(matrix.min()):.4g}. It holds masses of pairs."
            raise ValueError(msg)
        i, j = matrix.nonzero(as_tuple=True)
        return cls(i, j, matrix[i, j], (matrix.shape[0], matrix.shape[1]), namespace_of(plan))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self._shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the masses."""
        return self.pair_mass.dtype

    @property
    def device(self) -> torch.device:
        """Device of the masses."""
        return self.pair_mass.device

    @property
    def namespace(self) -> Namespace:
        """Library that results are exported to."""
        return self._namespace

    @property
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, if known."""
        return self._target_points

    @property
    def rows(self) -> Any:
        """Index i of each pair, shape (K,), in the user's library."""
        return self.namespace.export(self.sources)

    @property
    def cols(self) -> Any:
        """Index j of each pair, shape (K,), in the user's library."""
        return self.namespace.export(self.targets)

    @property
    def mass(self) -> Any:
        """P_ij of each pair, shape (K,), in the user's library."""
        return self.namespace.export(self.pair_mass)

    def to_scipy(self) -> csr_array:
        """The plan as a `scipy.sparse.csr_array` of shape (N, M)."""
        sparse = require("scipy.sparse", extra="exact", why="hold a sparse matrix")
        indices = (self.sources.cpu().numpy(), self.targets.cpu().numpy())
        return sparse.csr_array((self.pair_mass.detach().cpu().numpy(), indices), shape=self.shape)

    def to_torch(self) -> Tensor:
        """The plan as a sparse COO tensor of shape (N, M)."""
        indices = torch.stack([self.sources, self.targets])
        return torch.sparse_coo_tensor(indices, self.pair_mass, self.shape, check_invariants=True).coalesce()

    def transpose(self) -> SparseCoupling:
        """The same coupling read from the targets to the sources."""
        shape = (self.shape[1], self.shape[0])
        return SparseCoupling(
            self.targets, self.sources, self.pair_mass, shape, self.namespace, self.target_points, self.source_points
        )

    def source_shares(self) -> Tensor:
        """Mass that each source should have, shape (N,)."""
        return self.row_mass()

    def plan_rows(self, rows: slice | Tensor) -> Tensor:
        """Some rows of the plan, shape (n, M)."""
        wanted = torch.arange(self.shape[0], device=self.device)[rows]  # (n,)
        unique, inverse = wanted.unique(return_inverse=True)
        slot = torch.full((self.shape[0],), -1, dtype=torch.long, device=self.device)
        slot[unique] = torch.arange(unique.shape[0], device=self.device)
        kept = slot[self.sources] >= 0
        plan = torch.zeros(unique.shape[0], self.shape[1], dtype=self.dtype, device=self.device)
        plan[slot[self.sources[kept]], self.targets[kept]] = self.pair_mass[kept]
        return plan[inverse]

    def conditional_rows(self, rows: slice | Tensor) -> Tensor:
        """P(j | i), shape (n, M); NaN for a source without mass."""
        plan = self.plan_rows(rows)
        return plan / plan.sum(1, keepdim=True)

    def product(self, values: Tensor) -> Tensor:
        """P V, shape (N, K)."""
        out = torch.zeros(self.shape[0], values.shape[1], dtype=self.dtype, device=self.device)
        return out.index_add_(0, self.sources, self.pair_mass[:, None] * values[self.targets])

    def row_mean(self, values: Tensor) -> Tensor:
        """Mean of V under P(j | i), shape (N, K); NaN for a source without mass."""
        return self.product(values) / self.row_mass()[:, None]

    def to_sparse(self, threshold: float = 1e-4) -> SparseCoupling:
        """Pairs with at least `threshold` of their source's mass; see `sparsify`."""
        return sparsify(self, threshold)

    def plan_entropy(self) -> Tensor:
        """H(P) over the pairs."""
        return entropy(self.pair_mass.double())


def sparsify(coupling: AbstractCoupling, threshold: float) -> SparseCoupling:
    """The pairs that carry at least a share of their source's mass.

    Args:
        coupling: Any coupling.
        threshold: A pair is kept when P_ij >= threshold * sum_k P_ik; 0 keeps every pair with mass.

    Returns:
        What was dropped is not redistributed: compare the marginals with those of the coupling.

    Raises:
        ValueError: The threshold is negative or not a number.
    """
    if threshold != 0:
        check_positive(threshold, "threshold")
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in row_blocks(coupling):
        plan = coupling.plan_rows(rows)  # (n, M)
        i, j = ((plan >= threshold * plan.sum(1, keepdim=True)) & (plan > 0)).nonzero(as_tuple=True)
        found.append((i + rows.start, j, plan[i, j]))
    i, j, mass = (torch.cat(parts) for parts in zip(*found, strict=True))
    points = coupling.transpose().target_points, coupling.target_points
    return SparseCoupling(i, j, mass, coupling.shape, coupling.namespace, *points)
