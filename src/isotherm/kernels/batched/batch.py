"""Many problems of different sizes, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import Formula

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """B independent problems, each with sources and targets of its own, or none on a side.

    What belongs to the sources (potentials, results) lies one problem after the other, N in all; what belongs to the
    targets likewise, M in all.

    Attributes:
        formulas: The costs of each problem, N_b x M_b: points, of any number of coordinates, or a stored matrix; all of
            one dtype, on one device, without patterns.

    Raises:
        TypeError: Something is no `Formula`, or dtypes or devices differ.
        ValueError: There is no problem, or a list of pairs.

    Example:
        >>> points = Formula("euclidean", torch.zeros(3, 2), torch.ones(5, 2))
        >>> batch = Batch((points, Formula("stored", torch.zeros(1, 4))))
        >>> batch.shape, batch.source_starts, batch.target_starts
        ((4, 9), (0, 3, 4), (0, 5, 9))
    """

    formulas: tuple[Formula, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "formulas", tuple(self.formulas))
        for formula in self.formulas:
            _check(formula, self.formulas[0])
        if not self.formulas:
            msg = "A batch needs a problem: got none. Leave the call out where there is nothing to reduce."
            raise ValueError(msg)

    @classmethod
    def of_equal_sizes(
        cls, kind: str, x: Tensor, y: Tensor | None = None, *, scale: float = 1.0, offset: float = 0.0
    ) -> Batch:
        """A batch of problems of one size, cut from tensors.

        Args:
            kind: As in `Formula`.
            x: Sources, shape (B, N, D); the matrices, shape (B, N, M), where they are stored.
            y: Targets, shape (B, M, D); None where the matrices are stored.
            scale: Factor of all costs.
            offset: What is added to all costs.

        Returns:
            The batch; it shares the memory of the tensors.

        Raises:
            ValueError: The tensors have not three dimensions, or not as many problems.

        Example:
            >>> Batch.of_equal_sizes("dot", torch.zeros(7, 3, 2), torch.zeros(7, 4, 2)).shape
            (21, 28)
        """
        shapes = [tuple(side.shape) for side in (x, y) if side is not None]
        if any(len(shape) != 3 for shape in shapes) or len({shape[0] for shape in shapes}) > 1:
            msg = (
                f"`x` and `y` must have shapes (problems, points, coordinates): got {' and '.join(map(str, shapes))}. "
                f"Make a tuple of formulas where sizes differ."
            )
            raise ValueError(msg)
        targets = [None] * len(x) if y is None else y.unbind()
        return cls(tuple(Formula(kind, *sides, scale, offset) for sides in zip(x.unbind(), targets, strict=True)))  # pyright: ignore[reportArgumentType]

    @cached_property
    def source_starts(self) -> tuple[int, ...]:
        """First source of each problem, then N: B + 1 numbers."""
        return tuple(accumulate((formula.shape[0] for formula in self.formulas), initial=0))

    @cached_property
    def target_starts(self) -> tuple[int, ...]:
        """First target of each problem, then M: B + 1 numbers."""
        return tuple(accumulate((formula.shape[1] for formula in self.formulas), initial=0))

    def __len__(self) -> int:
        """Number of problems, B."""
        return len(self.formulas)

    @property
    def shape(self) -> tuple[int, int]:
        """Sources and targets of all problems together, (N, M)."""
        return self.source_starts[-1], self.target_starts[-1]

    @property
    def tensors(self) -> list[Tensor]:
        """What the costs are made of."""
        return [tensor for formula in self.formulas for tensor in formula.tensors]

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """Which sources and which targets belong to each problem."""
        for rows, columns in zip(pairwise(self.source_starts), pairwise(self.target_starts), strict=True):
            yield slice(*rows), slice(*columns)

    def joined(self) -> Formula | None:
        """Points of all problems one after the other, where all have one kind of cost and number of coordinates."""
        first = self.formulas[0]
        kinds = {(one.kind, one.x.shape[1:], one.scale, one.offset) for one in self.formulas}
        if first.y is None or len(kinds) > 1:
            return None
        x, y = (torch.cat(sides) for sides in zip(*(one.tensors for one in self.formulas), strict=True))
        return Formula(first.kind, x, y, first.scale, first.offset)


def _check(formula: Formula, first: Formula) -> None:
    """Refuse what cannot stand beside the first problem of a batch."""
    if not isinstance(formula, Formula):
        msg = f"A batch holds formulas: got {type(formula).__name__}. Take geometry.formula(), or Formula('stored', C)."
        raise TypeError(msg)
    if formula.pattern is not None:
        msg = "A batch meets all pairs of each problem: got a list of pairs. Reduce that problem by itself."
        raise ValueError(msg)
    kinds = {(tensor.dtype, tensor.device) for tensor in (*formula.tensors, first.x)}
    if len(kinds) > 1:
        told = " and ".join(sorted(f"{dtype} on {device}" for dtype, device in kinds))
        msg = f"The problems of a batch must have one dtype and device: got {told}. Convert some, or make two batches."
        raise TypeError(msg)
