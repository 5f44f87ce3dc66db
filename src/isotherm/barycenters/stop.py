"""When to stop looking for a barycenter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from isotherm.solution import Check
    from isotherm.solvers.stopping import Callback


class Stop(NamedTuple):
    """Tolerance and budget of an iteration, and who watches it.

    The error that the tolerance is asked of is told in `Barycenter.error`.
    """

    tolerance: float
    max_iterations: int
    callback: Callback | None

    def tell(self, check: Check) -> None:
        """Pass a look at the error on; an exception of the callback reaches the caller."""
        if self.callback is not None:
            self.callback(check)
