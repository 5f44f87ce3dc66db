"""What the reductions along one axis of a tensor share: their costs, and how plain torch goes line by line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from isotherm.kernels import compiled
from isotherm.kernels.source import BLOCK_ENTRIES, Formula

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class AxisCosts:
    """Costs between the nodes of one axis, as `CostSource`.

    Attributes:
        matrix: C, shape (n, m), units of cost.
    """

    matrix: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Number of source and of target nodes."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the costs."""
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        """Device of the costs."""
        return self.matrix.device

    def formula(self) -> Formula:
        """The stored matrix."""
        return Formula("stored", self.matrix)

    def block(self, rows: slice | Tensor) -> Tensor:
        """Rows of the matrix."""
        return self.matrix[rows]


def why_not(costs: AxisCosts, *tensors: Tensor | None) -> list[str]:
    """Reasons against the compiled kernels along an axis; they record no derivative."""
    return compiled.why_not(costs, *tensors)


def by_lines(h: Tensor, costs: Tensor, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    """Reduce the middle axis of a tensor, some lines at a time.

    Args:
        h: Shape (outer, m, inner).
        costs: Shape (n, m); says how large a block of lines may be.
        reduce: From lines, shape (R, m), to (R, n).

    Returns:
        Shape (outer, n, inner).
    """
    outer, m, inner = h.shape
    lines = h.movedim(1, 2).reshape(-1, m)  # (outer inner, m)
    if lines.shape[0] == 0:
        return h.new_empty(outer, costs.shape[0], inner)
    blocks = lines.split(max(1, BLOCK_ENTRIES // costs.numel()))
    return torch.cat([reduce(block) for block in blocks]).reshape(outer, inner, -1).movedim(2, 1)
