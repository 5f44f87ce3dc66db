"""The mean of past weights, which samples better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Average:
    """An exponential mean of a model's parameters; buffers are no weights and stay as they are.

        mean <- d mean + (1 - d) weights,    d = min(decay, (1 + k) / (10 + k)) in step k

    The early d forgets the initial weights, which a constant one would keep for 1 / (1 - decay) steps.

    Args:
        model: Whose parameters; the mean starts at their present values.
        decay: In (0, 1).

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> average = Average(layer, 0.999)
        >>> with torch.no_grad(): _ = layer.bias.add_(10.0)
        >>> average.update(0)
        >>> before = layer.bias.item()
        >>> with average.in_place(): round(before - layer.bias.item(), 5)  # a tenth of the old weights
        1.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self._parameters = dict(model.named_parameters())
        self._means = {name: each.detach().clone() for name, each in self._parameters.items()}

    def update(self, step: int) -> None:
        """Take the present weights in.

        Args:
            step: Steps done before this one.
        """
        keep = min(self.decay, (1.0 + step) / (10.0 + step))
        get_ema_multi_avg_fn(keep)(list(self._means.values()), list(self._parameters.values()), step)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the weights of the model and their mean."""
        for name, parameter in self._parameters.items():
            weights = parameter.detach().clone()
            parameter.copy_(self._means[name])
            self._means[name].copy_(weights)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model has the mean weights within the block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def state_dict(self) -> dict[str, Tensor]:
        """The mean of each parameter, by name."""
        return self._means

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on where `state_dict` was taken.

        Args:
            state: What `state_dict` gave.
        """
        for name, mean in self._means.items():
            mean.copy_(state[name])
