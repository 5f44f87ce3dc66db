"""Who is compared. Each module has `settings(task, tolerance) -> list[str]`, best guess first, `versions()`, and
`solve(task, setting, tolerance) -> Answer`; a setting that cannot run raises and becomes a failure in the table. One whose
kernels count their work has `count_work()`, a context manager.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

NAMES = ("isotherm", "torch", "pot", "ott", "geomloss")


@dataclass(frozen=True, eq=False)
class Answer:
    """What a solver returned.

    Attributes:
        f: Potential of the sources against a ⊗ b, shape (N,), units of cost.
        g: Potential of the targets, shape (M,).
        iterations: Updates of both potentials; None where the library does not tell.
        claims: Whether the library said that it converged; None where it has no such notion.
        note: What else it said, such as the method it chose.
    """

    f: Tensor
    g: Tensor
    iterations: int | None
    claims: bool | None = None
    note: str = ""
