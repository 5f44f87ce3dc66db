"""The training loop: settings, steps, and what is kept so that a training can be taken up again."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_count, check_positive
from isotherm.models.training.checkpoints import Checkpoints
from isotherm.models.training.guard import explain
from isotherm.models.training.interrupts import noted_interrupts
from isotherm.models.training.metrics import Metrics
from isotherm.models.training.processes import device_of, join
from isotherm.models.training.randomness import go_on, own_global_state, randomness, set_apart
from isotherm.models.training.schedule import SCHEDULES
from isotherm.models.training.state import PRECISIONS, State

if TYPE_CHECKING:
    from pathlib import Path

    from isotherm.models.model import AbstractModel, Batch

Callback = Callable[[int, dict[str, Tensor]], None]


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Attributes:
        steps: Batches in all.
        batch_size: Observations in each, over all processes; all of them where there are fewer.
        learning_rate: Of Adam.
        schedule: "constant", or "cosine" for a rate that falls to zero.
        warm_up: Steps in which the rate rises from zero.
        clip: Longest gradient, over all parameters; None for any length.
        ema: Decay of an exponential mean of past weights, which then is what the model ends with, in [0, 1); 0 for none.
        precision: Of the networks: "float32" (that of the weights, rather), "bfloat16", "float16". Transport stays in
            float32 or better.
        compile: Whether networks go through torch.compile.
        device: "cpu", "cuda"; that of the model when left out.
        checkpoint_every: Steps between two checkpoints, which are also what a failed training goes back to.
        keep_last: Checkpoints kept, besides the best.
        metrics_every: Steps between two lines of metrics.jsonl.
        seed: Root of the order of the data, and of dropout.

    Raises:
        ValueError: A setting is out of range.

    Example:
        >>> from isotherm.models import VAE
        >>> model, losses = VAE((2,), 1, widths=(8,)), []
        >>> keep = lambda step, numbers: losses.append(float(numbers["loss"]))
        >>> Training(steps=30, learning_rate=0.01).run(model, torch.ones(16, 2), callbacks=[keep])
        >>> len(losses), losses[-1] < losses[0]
        (30, True)
    """

    steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warm_up: int = 0
    clip: float | None = None
    ema: float = 0.0
    precision: str = "float32"
    compile: bool = False
    device: str | None = None
    checkpoint_every: int = 500
    keep_last: int = 2
    metrics_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "checkpoint_every", "keep_last", "metrics_every"):
            check_count(getattr(self, name), name)
        for name in ("warm_up", "seed"):
            check_count(getattr(self, name), name, minimum=0)
        check_positive(self.learning_rate, "learning_rate")
        check_choice(self.schedule, "schedule", SCHEDULES)
        check_choice(self.precision, "precision", PRECISIONS)
        if self.clip is not None:
            check_positive(self.clip, "clip")
        if not 0.0 <= self.ema < 1.0:
            msg = f"`ema` must be a decay in [0, 1): got {self.ema}. 0.999 averages about a thousand steps, 0 none."
            raise ValueError(msg)
        if self.schedule == "cosine" and self.warm_up >= self.steps:
            msg = f"`warm_up` must end before the training does: got {self.warm_up} of {self.steps} steps. Take fewer."
            raise ValueError(msg)

    def run(
        self,
        model: AbstractModel,
        data: Batch,
        *,
        folder: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        resume: bool = False,
        validate: Callable[[AbstractModel], float] | None = None,
    ) -> None:
        """Take all steps.

        On a CPU a training that was killed and resumed ends with the same bits as one that was not. Started by `torchrun`,
        each process takes its part of every batch, and derivatives are means over all.

        Args:
            model: Trained in place.
            data: Observations, shape (n, *shape), or a tuple that begins with them.
            folder: Where to keep checkpoints, weights (model.safetensors, config.json) and metrics.jsonl; nothing is
                written without one.
            callbacks: Called after each step with its number and what `step` gave, with learning_rate and gradient_norm;
                in the first process.
            resume: Go on from the last checkpoint in `folder`, or from the start where there is none yet.
            validate: What the best checkpoint has least of; the smoothed loss when left out.

        Raises:
            ValueError: Observations of another shape, or other data or processes than those resumed.
            FileExistsError: `folder` has checkpoints, and `resume` is not asked for.
            FloatingPointError: A loss or a gradient is not finite; the model is back at its last good weights.
            KeyboardInterrupt: Ctrl-C, after the step under way was kept in `folder`.
        """
        model.check_batch(data)
        device = device_of(self.device, model)
        model.to(device).train()
        interrupts = nullcontext(lambda: False) if folder is None else noted_interrupts()
        processes = join(device)
        with (
            own_global_state(self.seed, processes.rank, device),
            interrupts as is_stopping,
        ):
            set_apart(model, processes.rank)
            state = State(self, model, data, processes)
            checkpoints = None if folder is None else Checkpoints(folder, self.keep_last)
            run = Run(state, checkpoints, validate)
            run.begin(resume=resume)
            with run.metrics() as metrics:
                run.take_steps([*metrics, *(callbacks if processes.rank == 0 else ())], is_stopping)
            if state.average is not None:
                state.average.swap()
        model.eval()


class Run:
    """One training under way, and what is kept of it.

    Args:
        state: Everything that changes from step to step.
        checkpoints: Where to keep it; None for in memory alone.
        validate: What the best checkpoint has least of; None for the smoothed loss.
    """

    def __init__(
        self, state: State, checkpoints: Checkpoints | None, validate: Callable[[AbstractModel], float] | None
    ) -> None:
        self.state, self.checkpoints, self.validate = state, checkpoints, validate
        self.best: dict[str, Any] = {"step": 0, "value": math.inf}
        self.good: dict[str, Any] = {}  # the last state known to be finite

    def begin(self, *, resume: bool) -> None:
        """Go to the last checkpoint, where there is one.

        Args:
            resume: Whether that is wanted.

        Raises:
            FileExistsError: There is one, and it is not.
        """
        kept = self.checkpoints.read() if self.checkpoints is not None else None
        if self.checkpoints is not None and kept is not None:
            if not resume:
                msg = f"A new training needs a folder without checkpoints: {self.checkpoints.folder} has some. Resume that training, or choose another folder."
                raise FileExistsError(msg)
            self.state.load_state_dict(kept)
            self.best = kept["best"]
        self.good = copy.deepcopy(self.state.state_dict())  # all processes have read before one writes

    @contextmanager
    def metrics(self) -> Iterator[list[Callback]]:
        """The callback that writes metrics.jsonl, where this process is to write."""
        if self.checkpoints is None or self.state.processes.rank:
            yield []
            return
        state, training = self.state, self.state.training
        before, began = state.seconds, time.perf_counter()
        lines = Metrics(self.checkpoints.run / "metrics.jsonl", step=state.step)

        def write(step: int, numbers: dict[str, Tensor]) -> None:
            state.seconds = before + time.perf_counter() - began
            if step % training.metrics_every == 0 or step == training.steps:
                lines.write({"step": step, "seconds": round(state.seconds, 3), **numbers})

        try:
            yield [write]
        finally:
            lines.close()

    def take_steps(self, callbacks: Sequence[Callback], is_stopping: Callable[[], bool]) -> None:
        """All steps that are left.

        Args:
            callbacks: Called after each.
            is_stopping: Whether to end after the step under way.

        Raises:
            FloatingPointError: A loss or a gradient is not finite.
            KeyboardInterrupt: It was to end.
        """
        state, training = self.state, self.state.training
        while state.step < training.steps:
            found = state.differentiate()
            is_due = (state.step + 1) % training.checkpoint_every == 0 or state.step + 1 == training.steps
            is_looked_at = is_due or state.device.type == "cpu" or (state.step + 1) % training.metrics_every == 0
            failure = state.failure(found) if is_looked_at else ""
            is_failing, is_last = state.processes.any(bool(failure), is_stopping())
            if is_failing:
                self.go_back(failure or "the loss of another process")
            state.move(found)
            for callback in callbacks:
                callback(state.step, found)
            if is_due or is_last:
                self.keep()
            if is_last and state.step < training.steps:
                assert self.checkpoints is not None  # without them an interrupt is not waited for
                msg = f"training was interrupted, and kept at step {state.step} in {self.checkpoints.run}"
                raise KeyboardInterrupt(msg)

    def keep(self) -> None:
        """Keep the state of now: in memory, and in a checkpoint if there is a folder; every process has to."""
        state = self.state
        kept = copy.deepcopy(state.state_dict())
        if state.processes.rank == 0:
            with nullcontext() if state.average is None else state.average.in_place():
                value = float(state.smoothed) if self.validate is None else self.judged(self.validate)
                if value < self.best["value"]:
                    self.best = {"step": state.step, "value": value}
                if self.checkpoints is not None:
                    self.checkpoints.write({**kept, "best": self.best}, state.model)
        self.good = kept

    def judged(self, validate: Callable[[AbstractModel], float]) -> float:
        """What a validation says of the model now; what it draws is drawn beside the training."""
        model, device = self.state.model, self.state.device
        before = randomness(model, device)
        model.eval()
        try:
            return float(validate(model))
        finally:
            model.train()
            go_on(model, device, before)

    def go_back(self, failure: str) -> NoReturn:
        """Return to the last state known to be finite, and say why.

        Args:
            failure: Which number was not finite.

        Raises:
            FloatingPointError: Always.
        """
        state, failed = self.state, self.state.step + 1
        state.load_state_dict(self.good)
        if state.average is not None:
            state.average.swap()
        batch = state.batch(torch.arange(min(state.order.size, 1024)))
        x = batch if isinstance(batch, Tensor) else batch[0]
        rate = state.training.learning_rate
        raise FloatingPointError(
            explain(state.model, x, step=failed, back=state.step, learning_rate=rate, failure=failure)
        )
