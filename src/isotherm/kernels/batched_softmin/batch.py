"""Many problems of different sizes, their points one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from isotherm.kernels.source import Formula

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, eq=False)
class Batch:
    """B independent problems with one kind of cost; problem b has sources and targets of its own, or none.

    Attributes:
        formula: The cost, between the sources of all problems, shape (N, D), and their targets, shape (M, D).
        source_starts: First source of each problem, then N: B + 1 numbers from 0 that never fall.
        target_starts: First target of each problem, then M: B + 1 numbers from 0 that never fall.

    Raises:
        TypeError: The costs are a stored matrix.
        ValueError: The starts do not cover the points.

    Example:
        >>> import torch
        >>> batch = Batch(Formula("euclidean", torch.zeros(3, 2), torch.ones(5, 2)), (0, 1, 3), (0, 4, 5))
        >>> [problem.shape for problem in batch.problems()]
        [(1, 4), (2, 1)]
    """

    formula: Formula
    source_starts: tuple[int, ...]
    target_starts: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.formula.y is None:
            msg = "A batch needs points: got a stored matrix. Reduce each matrix by itself."
            raise TypeError(msg)
        if len(self.source_starts) != len(self.target_starts):
            msg = (
                f"`source_starts` and `target_starts` must tell of as many problems: got {len(self.source_starts)} and "
                f"{len(self.target_starts)} numbers. Repeat a start for a problem without points."
            )
            raise ValueError(msg)
        for name, starts, end in zip(
            ("source_starts", "target_starts"),
            (self.source_starts, self.target_starts),
            self.formula.shape,
            strict=True,
        ):
            if not starts or starts[0] != 0 or starts[-1] != end or any(a > b for a, b in pairwise(starts)):
                msg = f"`{name}` must rise from 0 to {end}: got {starts}. Give the first point of each problem, then {end}."
                raise ValueError(msg)

    def __len__(self) -> int:
        """Number of problems, B."""
        return len(self.source_starts) - 1

    def slices(self) -> Iterator[tuple[slice, slice]]:
        """Which sources and which targets belong to each problem."""
        for rows, columns in zip(pairwise(self.source_starts), pairwise(self.target_starts), strict=True):
            yield slice(*rows), slice(*columns)

    def problems(self) -> Iterator[Formula]:
        """The costs of each problem by itself, views of the points."""
        x, y = self.formula.tensors
        for rows, columns in self.slices():
            yield Formula(self.formula.kind, x[rows], y[columns], self.formula.scale, self.formula.offset)
