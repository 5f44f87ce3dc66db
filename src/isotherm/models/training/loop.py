"""The training loop: batches in a seeded order, one optimiser, a mean of past weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._checks import check_count, check_positive
from isotherm.models.streams import Streams

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel, Batch


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a model is trained.

    Attributes:
        steps: Batches in all.
        batch_size: Observations in each; all of them where there are fewer.
        learning_rate: Of Adam.
        seed: Root of the order of the data.

    Raises:
        ValueError: A setting is out of range.
    """

    steps: int = 2000
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        check_count(self.steps, "steps")
        check_count(self.batch_size, "batch_size")
        check_positive(self.learning_rate, "learning_rate")

    def run(
        self, model: AbstractModel, data: Batch, *, callback: Callable[[int, dict[str, Tensor]], None] | None = None
    ) -> None:
        """Take all steps.

        Args:
            model: Trained in place.
            data: Observations, shape (n, *shape), or a tuple that begins with them.
            callback: Called after each step with its number and what `step` gave.
        """
        model.check_batch(data)
        parts = (data,) if isinstance(data, Tensor) else data
        optimiser = torch.optim.Adam(model.parameter_groups(self.learning_rate))
        batches = self._batches(len(parts[0]), Streams(self.seed)["data"])
        for step in range(self.steps):
            index = next(batches)
            taken = tuple(part[index] for part in parts)
            found = model.step(taken[0] if isinstance(data, Tensor) else taken, progress=step / self.steps, index=index)
            optimiser.zero_grad(set_to_none=True)
            found["loss"].backward()
            optimiser.step()
            if callback is not None:
                callback(step + 1, found)

    def _batches(self, size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Rows of the data, every row once before any comes again; shape (batch_size,)."""
        while True:
            order = torch.randperm(size, generator=generator)
            for first in range(0, max(size - self.batch_size, 0) + 1, self.batch_size):
                yield order[first : first + self.batch_size]
