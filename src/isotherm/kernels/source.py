"""Where a kernel gets its costs from: anything that can produce a block of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import Tensor

BLOCK_ENTRIES = 1 << 18  # pairs per block: one float32 block and its temporary stay in a 2 MB second-level cache


class Shaped(Protocol):
    """Anything with N sources and M targets."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        ...


class CostSource(Shaped, Protocol):
    """Costs C_ij between N sources and M targets, produced a block of rows at a time."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating dtype of every block."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of every block."""
        ...

    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some sources to all targets, shape (n, M); may be a view, never written to."""
        ...


def row_blocks(source: Shaped) -> Iterator[slice]:
    """Slices of rows that cover the source in order, each of about `BLOCK_ENTRIES` pairs.

    Args:
        source: What to stream over, N x M.

    Yields:
        Consecutive slices of rows.

    Example:
        >>> import types
        >>> list(row_blocks(types.SimpleNamespace(shape=(3, 1 << 17))))
        [slice(0, 2, None), slice(2, 3, None)]
    """
    sources, targets = source.shape
    step = max(1, BLOCK_ENTRIES // max(targets, 1))
    for start in range(0, sources, step):
        yield slice(start, min(start + step, sources))
