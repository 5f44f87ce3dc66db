"""A bar that shows how far a solve is, and says how long the rest is predicted to take."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isotherm._optional import require
from isotherm.solvers.stopping import Callback, remaining_iterations

if TYPE_CHECKING:
    from isotherm.solution import Check


class Forecast:
    """A callback that predicts from the looks so far how long a solve still takes.

    The residual of alternation falls about geometrically; the time of an iteration is the mean of those seen.

    Args:
        tolerance: L1 error at which the solve ends.

    Example:
        >>> from isotherm.solution import Check
        >>> forecast = Forecast(1e-3)
        >>> for k in range(1, 5):
        ...     forecast(Check(k, 1.0, 0.1**(k / 4)))
        >>> round(forecast.iterations)
        8
    """

    def __init__(self, tolerance: float) -> None:
        self.tolerance = tolerance
        self.started = time.perf_counter()
        self.history: list[Check] = []

    def __call__(self, check: Check) -> None:
        """Note a look at the residual; a change of temperature starts the prediction anew."""
        if self.history and self.history[-1].epsilon != check.epsilon:
            self.history.clear()
        self.history.append(check)

    @property
    def iterations(self) -> float:
        """Predicted iterations until the tolerance is met; infinity while nothing can be said."""
        return remaining_iterations(self.history, self.tolerance) if self.history else math.inf

    @property
    def seconds(self) -> float:
        """Predicted seconds until the tolerance is met; infinity while nothing can be said."""
        if not self.history:
            return math.inf
        return self.iterations * (time.perf_counter() - self.started) / self.history[-1].iteration

    @property
    def share(self) -> float:
        """Part of the way that is done, in [0, 1]: iterations so far of all that are predicted."""
        if not self.history or math.isinf(self.iterations):
            return 0.0
        return self.history[-1].iteration / (self.history[-1].iteration + self.iterations)


@contextmanager
def progress_bar(tolerance: float, callback: Callback | None) -> Iterator[Callback]:
    """A bar on standard error while a solve runs, drawn on terminals only.

    Args:
        tolerance: L1 error at which the solve ends.
        callback: Called as well, after the bar.

    Yields:
        The callback to give to the solver.

    Raises:
        ImportError: rich is not installed.
    """
    rich_progress = require("rich.progress", extra="cli", why="show progress")
    console = require("rich.console", extra="cli", why="show progress").Console(stderr=True)
    forecast, best = Forecast(tolerance), 0.0
    columns = (
        rich_progress.TextColumn("solve"),
        rich_progress.BarColumn(bar_width=20),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TextColumn("{task.fields[note]}"),
    )
    with rich_progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("solve", total=1.0, note="")

        def listen(check: Check) -> None:
            nonlocal best
            forecast(check)
            best = max(best, forecast.share)
            bar.update(task, completed=best, note=_note(check, forecast))
            if callback is not None:
                callback(check)

        yield listen
        bar.update(task, completed=1.0)


def _note(check: Check, forecast: Forecast) -> str:
    rest = f", predicted {forecast.seconds:.2g} s more" if math.isfinite(forecast.seconds) else ""
    return f"iteration {check.iteration:,}, error {check.marginal_error:.1e}{rest}"
