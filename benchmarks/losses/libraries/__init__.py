"""Who is compared. Each module has `settings(task, tolerance) -> list[str]`, best guess first, `versions()`, and
`solve(task, setting, tolerance) -> Step`; a setting that cannot run raises and becomes a failure in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

NAMES = ("isotherm", "torch", "pot", "ott", "geomloss")
Potentials = tuple[Tensor, Tensor]  # f (N,) and g (M,) against a ⊗ b, units of cost


@dataclass(frozen=True, eq=False)
class Step:
    """What a library returned.

    Attributes:
        gradient: By x, shape (B, N, D).
        transports: Gives, outside the clock, the potentials of each member: across, of x to itself, of y to itself. None
            where the library does not tell.
        iterations: None: three transports have three numbers.
        claims: Whether the library said that all converged; None where it has no such notion.
        note: What else it said.
    """

    gradient: Tensor
    transports: Callable[[], list[tuple[Potentials, Potentials, Potentials]]] | None
    iterations: int | None = None
    claims: bool | None = None
    note: str = ""
