"""Which pairs a reduction meets: cells of sources against cells of targets."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

CELL = 64  # points of a cell; the compiled kernels take multiples of 32


@dataclass(frozen=True, eq=False)
class BlockPattern:
    """A list of pairs of cells; a reduction leaves out every other pair, as if its cost were +inf.

    Points are numbered in an order of their own on each side, and each `CELL` of them in turn are a cell.

    Attributes:
        row_order: Sources in that order, a permutation, shape (N,), int64.
        column_order: Targets in that order, shape (M,), int64.
        starts: Where each source cell's part of `blocks` begins, and where the last ends, int64.
        blocks: Target cells that each source cell meets, rising within a part, int32.
        column_starts: As `starts`, for the target cells.
        column_blocks: As `blocks`, the same pairs seen from the target cells.

    Example:
        >>> one = torch.zeros(1, dtype=torch.int32)
        >>> pattern = BlockPattern.from_list(torch.arange(3), torch.arange(5), torch.tensor([0, 1]), one)
        >>> pattern.density
        1.0
    """

    row_order: Tensor
    column_order: Tensor
    starts: Tensor
    blocks: Tensor
    column_starts: Tensor
    column_blocks: Tensor

    @staticmethod
    def from_list(row_order: Tensor, column_order: Tensor, starts: Tensor, blocks: Tensor) -> BlockPattern:
        """A pattern from the list of the source cells alone.

        Args:
            row_order: Sources in the order of their cells, shape (N,), int64.
            column_order: Targets in the order of their cells, shape (M,), int64.
            starts: Where each source cell's part begins, int64.
            blocks: Target cells, rising within a part, int32.

        Returns:
            The pattern, with the list of the target cells beside it.
        """
        rows = torch.repeat_interleave(torch.arange(len(starts) - 1, dtype=torch.int32), starts.diff())
        cells = -(-len(column_order) // CELL)
        column_starts = torch.zeros(cells + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(blocks, minlength=cells), 0, out=column_starts[1:])
        by_column = rows[torch.argsort(blocks, stable=True)]
        return BlockPattern(row_order, column_order, starts, blocks, column_starts, by_column)

    @cached_property
    def is_symmetric(self) -> bool:
        """Whether both sides are the same points, and every pair of cells is listed both ways."""
        pairs = (
            (self.row_order, self.column_order),
            (self.starts, self.column_starts),
            (self.blocks, self.column_blocks),
        )
        return all(torch.equal(one, other) for one, other in pairs)

    @property
    def tensors(self) -> list[Tensor]:
        """Its parts, in the order of the fields."""
        return [
            self.row_order,
            self.column_order,
            self.starts,
            self.blocks,
            self.column_starts,
            self.column_blocks,
        ]

    @property
    def density(self) -> float:
        """Share of all pairs of cells that are met."""
        cells = (len(self.starts) - 1) * (len(self.column_starts) - 1)
        return len(self.blocks) / cells if cells else 0.0

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(tensor.nbytes for tensor in self.tensors)

    def transpose(self) -> BlockPattern:
        """Sources and targets swapped."""
        rows, columns, starts, blocks, column_starts, column_blocks = self.tensors
        return BlockPattern(columns, rows, column_starts, column_blocks, starts, blocks)

    def meets(self, rows: slice | Tensor) -> Tensor:
        """Whether some sources meet each target, shape (n, M), boolean; for the plain definition of a reduction."""
        cell_of = [torch.empty_like(order) for order in (self.row_order, self.column_order)]
        for cells, order in zip(cell_of, (self.row_order, self.column_order), strict=True):
            cells[order] = torch.arange(len(order)) // CELL
        wanted = cell_of[0][rows]
        table = torch.zeros(len(wanted), len(self.column_starts), dtype=torch.bool)  # (n, cells)
        for k, cell in enumerate(wanted.tolist()):
            table[k, self.blocks[self.starts[cell] : self.starts[cell + 1]].long()] = True
        return table[:, cell_of[1]]
