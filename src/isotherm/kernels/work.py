"""What reductions cost in numbers that no machine changes: pairs met, exponentials taken."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isotherm.kernels.compiled import extension

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Work:
    """Work of the compiled kernels, counted while they ran.

    Attributes:
        pairs: Pairs of points, or of nodes along an axis, that were met: once where exponentials are taken, once more for
            each sweep over kept ones. Spare lanes of vectors count.
        exponentials: Those taken for the pairs.
    """

    pairs: int = 0
    exponentials: int = 0


@contextmanager
def count_work() -> Iterator[Work]:
    """Count what the compiled kernels of this process do inside a `with` block, on all of its threads.

    Kernels count as they go, which costs nothing that can be measured. Plain torch and Triton are not counted.

    Yields:
        Zeros, which become the counts when the block ends.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Formula, softmin
        >>> with count_work() as work:
        ...     _ = softmin(Formula("stored", torch.zeros(8, 64)), torch.zeros(64), epsilon=1.0)
        >>> work
        Work(pairs=512, exponentials=512)
    """
    work, (pairs, exponentials) = Work(), _so_far()
    try:
        yield work
    finally:
        now = _so_far()
        work.pairs, work.exponentials = now[0] - pairs, now[1] - exponentials


def _so_far() -> tuple[int, int]:
    return (0, 0) if extension is None else extension.work_so_far()
