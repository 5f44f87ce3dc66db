"""Two processes that train one model: run by torchrun; each writes down what it has at the end."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isotherm.models import AbstractModel, Training
from isotherm.models.networks import linear


class Regression(AbstractModel):
    """A loss without noise, the mean over observations: two halves of a batch are as good as the whole."""

    def __init__(self, shape: tuple[int, ...] = (3,), *, seed: int = 0) -> None:
        super().__init__(shape, 2, seed)
        self.decoder = linear(2, 3, self.streams["start"])
        self.unused = nn.Linear(1, 1)  # has no derivative in any step, which must not stop anyone
        self.register_buffer("memory", torch.zeros(24, 2))
        self.seen: list[Tensor] = []
        self.noise: list[Tensor] = []

    def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        self.seen.append(index)
        self.noise.append(self.prior(len(batch), self.streams["noise"]))
        self.memory[index] += 1.0
        return {"loss": (self.decoder(batch[:, :2]) - batch).square().sum(1).mean()}

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


def train(folder: Path | None, *, steps: int = 12, resume: bool = False) -> dict[str, Any]:
    """What one process has after a training: weights, last derivatives, rows, noise, memory."""
    x, model = torch.randn(24, 3, generator=torch.Generator().manual_seed(1)), Regression()
    Training(steps=steps, batch_size=8, learning_rate=0.05, checkpoint_every=6).run(
        model, x, folder=folder, resume=resume
    )
    return {
        "weights": [parameter.detach() for parameter in model.decoder.parameters()],
        "derivatives": [parameter.grad for parameter in model.decoder.parameters()],
        "rows": torch.cat(model.seen),
        "noise": torch.cat(model.noise),
        "memory": model.memory,
    }


if __name__ == "__main__":
    out = Path(sys.argv[1])
    first = train(out / "run")
    again = train(out / "run", steps=18, resume=True)
    torch.save({"first": first, "again": again}, out / f"process{os.environ['RANK']}.pt")
