"""Costs between the nodes of two grids that are sums over axes, and how a reduction over them goes axis by axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from isotherm.kernels.axis_log_sum import axis_log_sum

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class GridCosts:
    """C_ij = sum_d C^d between node i_d and node j_d of axis d, a `CostSource`; nodes in C order, the last axis fastest.

    Attributes:
        matrices: C^d for each axis, shapes (n_d, m_d), finite, units of cost.
    """

    matrices: tuple[Tensor, ...]

    @property
    def source_sizes(self) -> torch.Size:
        """Nodes along each axis of the source grid."""
        return torch.Size(matrix.shape[0] for matrix in self.matrices)

    @property
    def target_sizes(self) -> torch.Size:
        """Nodes along each axis of the target grid."""
        return torch.Size(matrix.shape[1] for matrix in self.matrices)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.source_sizes.numel(), self.target_sizes.numel()

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the costs."""
        return self.matrices[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the costs."""
        return self.matrices[0].device

    def transpose(self) -> GridCosts:
        """Sources and targets swapped."""
        return GridCosts(tuple(matrix.T for matrix in self.matrices))

    def to(self, dtype: torch.dtype) -> GridCosts:
        """The same numbers in another precision."""
        return GridCosts(tuple(matrix.to(dtype) for matrix in self.matrices))

    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some nodes to all nodes, shape (n, M)."""
        chosen = torch.arange(self.shape[0], device=self.device)[rows]
        total = torch.zeros(chosen.shape[0], 1, dtype=self.dtype, device=self.device)  # (n, 1)
        for index, costs in zip(torch.unravel_index(chosen, self.source_sizes), self.matrices, strict=True):
            total = (total[:, :, None] + costs[index][:, None, :]).flatten(1)  # (n, m_1 ... m_d)
        return total

    def softmin(self, h: Tensor, *, epsilon: float) -> Tensor:
        """-epsilon log sum_j exp((h_j - C_ij) / epsilon), shape (N,); time O(N sum_d m_d) where both grids are alike."""
        return -self.reduce(h[None], lambda lines, d: axis_log_sum(lines, self.matrices[d], epsilon=epsilon))[0]

    def reduce(self, h: Tensor, along: Callable[[Tensor, int], Tensor]) -> Tensor:
        """Reduce one axis of each of K images after the other.

        Args:
            h: Images, shape (K, M).
            along: From lines, shape (outer, m_d, inner), and the number d of the axis to (outer, n_d, inner).

        Returns:
            Shape (K, N).
        """
        images, inner = h.shape
        outer = images
        for d, costs in enumerate(self.matrices):
            n, m = costs.shape
            inner //= m
            h = along(h.reshape(outer, m, inner), d)
            outer *= n
        return h.reshape(images, self.shape[0])
