"""Progress while a command works, on standard error so that output can be piped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from torch import Tensor

from isotherm._status import Outcome
from isotherm.solution import Check, Solution


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Bars that are drawn on a terminal and nowhere else."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<23}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield progress


class Task:
    """One bar: a share that is done, from 0 to 1, and a note beside it."""

    def __init__(self, progress: Progress, description: str) -> None:
        self.progress = progress
        self.task: TaskID = progress.add_task(description, total=1.0, note="")

    def show(self, share: float, note: str = "") -> None:
        """Move the bar.

        Args:
            share: Part that is done, in [0, 1].
            note: What to say beside it.
        """
        self.progress.update(self.task, completed=share, note=note)

    def done(self, note: str = "") -> None:
        """Fill the bar."""
        self.show(1.0, note)


class SolveTask:
    """A bar that follows the residual of a solve, or of one solve after another: a solver's callback.

    The residual falls about geometrically, so progress is the share of its logarithm's way to the tolerance.

    Args:
        task: The bar.
        tolerance: L1 error at which a solve ends.
        epsilons: Temperatures in units of cost, hot to cold, each with an equal part of the bar.
    """

    def __init__(self, task: Task, *, tolerance: float, epsilons: Sequence[float]) -> None:
        self.task = task
        self.tolerance = tolerance
        self.epsilons = list(epsilons)
        self.level = 0
        self.first: float | None = None
        self.share = 0.0

    def __call__(self, check: Check) -> None:
        """Move the bar.

        Args:
            check: The latest look at the residual.
        """
        if check.epsilon in self.epsilons[self.level + 1 :]:
            self.level, self.first, self.share = self.epsilons.index(check.epsilon), None, 0.0
        error = check.marginal_error
        if check.epsilon == self.epsilons[self.level] and 0 < error < math.inf:
            self.first = max(error, self.first or error)
            way = math.log(self.first / self.tolerance)
            self.share = max(
                self.share, 1.0 - math.log(max(error, self.tolerance) / self.tolerance) / way if way > 0 else 1.0
            )
        note = f"iteration {check.iteration:,}, error {error:.1e}"
        self.task.show((self.level + self.share) / len(self.epsilons), note)

    def finish(self, solutions: Sequence[Solution], note: str) -> None:
        """Fill the bar.

        Args:
            solutions: What came of the solves.
            note: What to say beside it.

        Raises:
            KeyboardInterrupt: One of them was interrupted: the person at the keyboard wants the command to end.
        """
        if any(solution.status.outcome is Outcome.INTERRUPTED for solution in solutions):
            raise KeyboardInterrupt
        self.task.done(note)


class TrainingTask:
    """A bar that follows a training and shows its losses: a callback of `Training.run`.

    Args:
        task: The bar.
        steps: Of the whole training.
    """

    def __init__(self, task: Task, *, steps: int) -> None:
        self.task, self.steps = task, steps

    def __call__(self, step: int, numbers: dict[str, Tensor]) -> None:
        """Move the bar; where none is drawn, no number is asked for, which would wait for a GPU.

        Args:
            step: Steps done.
            numbers: Of the last one.
        """
        if not self.task.progress.disable and (step % 10 == 0 or step == self.steps):
            shown = [name for name in numbers if name not in ("learning_rate", "gradient_norm")][:4]
            told = ", ".join(f"{name} {float(numbers[name]):.4g}" for name in shown)
            self.task.show(step / self.steps, f"step {step:,}, {told}")
