"""Where a kernel gets its costs from: a formula it may compute by itself, or else blocks of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch

from isotherm.kernels.pairs import distances, squared_distances
from isotherm.kernels.pattern import BlockPattern

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor


BLOCK_ENTRIES = 1 << 18  # pairs per block: one float32 block and its temporary stay in a 2 MB second-level cache


class Shaped(Protocol):
    """Anything with N sources and M targets."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        ...


@dataclass(frozen=True, eq=False)
class Formula:
    """Costs that a fused kernel computes itself, C_ij = scale * base_ij + offset; also a `CostSource` by itself.

    Attributes:
        kind: Which base: |x_i - y_j|^2, |x_i - y_j|, x_i . y_j, or the entry x_ij of a stored matrix.
        x: Sources, shape (N, D), centred where the cost allows it; the matrix, shape (N, M), where it is stored.
        y: Targets, shape (M, D); None where the matrix is stored.
        scale: Factor, any sign.
        offset: What is added to every cost.
        pattern: Which pairs are met, between points; the cost of every other is +inf. None for all.

    Example:
        >>> import torch
        >>> Formula("sqeuclidean", torch.zeros(1, 1), torch.tensor([[1.0], [2.0]]), scale=0.5).block(slice(None))
        tensor([[0.5000, 2.0000]])
    """

    kind: Literal["sqeuclidean", "euclidean", "dot", "stored"]
    x: Tensor
    y: Tensor | None = None
    scale: float = 1.0
    offset: float = 0.0
    pattern: BlockPattern | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What the costs are made of."""
        return (self.x,) if self.y is None else (self.x, self.y)

    @property
    def settings(self) -> tuple[str, float, float, list[Tensor]]:
        """What is never differentiated: kind, scale, offset, and the parts of the pattern; see `formula_from`."""
        return self.kind, self.scale, self.offset, [] if self.pattern is None else self.pattern.tensors

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.x.shape[0], self.x.shape[1] if self.y is None else self.y.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the points, or of the matrix."""
        return self.x.dtype

    @property
    def device(self) -> torch.device:
        """Device of the points, or of the matrix."""
        return self.x.device

    def formula(self) -> Formula:
        """Itself."""
        return self

    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some sources to all targets, shape (n, M), in plain torch."""
        base = self.x[rows]
        if self.y is not None:
            match self.kind:
                case "sqeuclidean":
                    base = squared_distances(base, self.y)
                case "euclidean":
                    base = distances(base, self.y)
                case _:
                    base = base @ self.y.T
        if self.scale != 1.0:
            base = self.scale * base
        base = base if self.offset == 0.0 else base + self.offset
        return base if self.pattern is None else torch.where(self.pattern.meets(rows), base, torch.inf)

    def to(self, dtype: torch.dtype) -> Formula:
        """The same numbers in another precision."""
        return replace(self, x=self.x.to(dtype), y=None if self.y is None else self.y.to(dtype))

    def transpose(self) -> Formula:
        """The same costs with sources and targets swapped."""
        if self.y is None:
            return Formula(self.kind, self.x.T, None, self.scale, self.offset)
        pattern = None if self.pattern is None else self.pattern.transpose()
        return Formula(self.kind, self.y, self.x, self.scale, self.offset, pattern)


def formula_from(
    x: Tensor, y: Tensor | None, kind: Any, scale: float, offset: float, pattern: Sequence[Tensor]
) -> Formula:
    """The formula of some points and the `settings` of another, as the operators of torch take it apart."""
    return Formula(kind, x, y, scale, offset, BlockPattern(*pattern) if pattern else None)


def no_gradients(settings: Sequence[Any]) -> list[Any]:
    """What an operator of torch returns as the derivative by the `settings` of a formula."""
    return [[None] * len(setting) if isinstance(setting, list) else None for setting in settings]


class CostSource(Shaped, Protocol):
    """Costs C_ij between N sources and M targets, produced a block of rows at a time.

    A source that also has a method `formula() -> Formula | None` can be reduced by fused kernels.
    """

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


def formula_of(source: CostSource) -> Formula | None:
    """What the costs are, where the source has a method `formula` that says so; None sends reductions through `block`."""
    method = getattr(source, "formula", None)
    return None if method is None else method()


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
