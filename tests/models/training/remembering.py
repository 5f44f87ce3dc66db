"""A small model with everything that a resumed training could forget, and trainings of it: read by tests, run by them too."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from isotherm.models import AbstractModel, Streams, Training


class Critic(nn.Module):
    """A network with dropout, and a stream of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.streams = Streams(seed + 1)
        self.layer = nn.Linear(2, 1, bias=False)
        self.dropout = nn.Dropout(0.3)
        nn.init.uniform_(self.layer.weight, generator=self.streams["start"])

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(self.dropout(z + torch.randn(z.shape, generator=self.streams["jitter"])))


class Remembering(AbstractModel):
    """A decoder with a code per observation, kept in a buffer and moved by noisy steps; a critic at another pace."""

    def __init__(self, shape: tuple[int, ...] = (3,), latent: int = 2, *, rows: int = 23, seed: int = 0) -> None:
        super().__init__(shape, latent, seed)
        self.rows = rows
        self.decoder = nn.Linear(2, 3)
        for parameter in self.decoder.parameters():
            nn.init.uniform_(parameter, generator=self.streams["start"])
        self.critic = Critic(seed)
        self.register_buffer("codes", torch.zeros(rows, 2))
        self.seen: list[Tensor] = []

    def step(self, batch: Any, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        x = self.check_batch(batch)
        self.seen.append(index)
        z = 0.9 * self.codes[index] + 0.1 * self.prior(len(x), self.streams["noise"])
        self.codes[index] = z
        misfit = (x - self.decoder(z)).square().sum(1).mean()
        return {"loss": misfit + progress * self.critic(z).square().mean(), "misfit": misfit.detach()}

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        return [
            {"params": list(self.decoder.parameters()), "lr": learning_rate},
            {"params": list(self.critic.parameters()), "lr": 3.0 * learning_rate},
        ]


def observations() -> Tensor:
    return torch.randn(23, 3, generator=torch.Generator().manual_seed(7))


def train(
    folder: Path | None, *, steps: int = 20, resume: bool = False, killed_at: int = 0, **settings: Any
) -> Remembering:
    """Twenty steps, five rows at a time: epochs of four, so that the checkpoint at ten stands within one."""
    model = Remembering()
    training = Training(
        **{
            "steps": steps, "batch_size": 5, "learning_rate": 0.05, "schedule": "cosine", "warm_up": 3, "clip": 1.0,
            "ema": 0.9, "checkpoint_every": 10, "metrics_every": 1, "seed": 5, **settings,
        }
    )  # fmt: skip

    def kill(step: int, _: object) -> None:
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    training.run(model, observations(), folder=folder, resume=resume, callbacks=[kill])
    return model


if __name__ == "__main__":
    train(Path(sys.argv[1]), killed_at=int(sys.argv[2]))
