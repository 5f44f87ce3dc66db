"""What all models have in common: settings that can be written down, fit, encode, decode, sample, and a step for any loop."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from isotherm._checks import check_count, check_finite
from isotherm.models.streams import Streams
from isotherm.models.training.loop import Training

Batch = Tensor | tuple[Tensor, ...]  # the observations, with whatever else comes along with each


class AbstractModel(nn.Module, ABC):
    """A law of data made from noise: a prior N(0, I) in K dimensions, and a decoder A.

    Final classes say how decoder, encoder and critic are trained. They keep every argument of their constructor under its
    own name, so that `settings` can be written down and the model made anew from it. The price of misfit is the same
    everywhere, c(x, z) = lam/2 |x - A(z)|^2, and so is the temperature gamma.

    Args:
        shape: Of one observation, without the batch.
        latent: K.
        seed: Root of all randomness: initial weights, and what `step` draws.
    """

    def __init__(self, shape: Sequence[int], latent: int, seed: int) -> None:
        super().__init__()
        self.shape = tuple(check_count(size, "shape") for size in shape)
        self.latent = check_count(latent, "latent")
        self.seed = seed
        self.streams = Streams(seed)

    # What a final class says ---------------------------------------------------------------------------

    @abstractmethod
    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """The loss of a batch, for any training loop; changes no parameter.

        Args:
            batch: Observations, shape (n, *shape); with a model that takes more, a tuple that begins with them.
            progress: Share of the training that is done, for what is scheduled.
            index: Which rows of the data these are, shape (n,), for models that remember something about each.

        Returns:
            "loss", a scalar whose derivatives move every parameter in the direction that it should go, adversaries
            included; and numbers worth looking at, detached.
        """

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """A(z), shape (n, *shape), for causes (n, K); differentiable."""

    def encode(self, x: Tensor) -> Tensor:
        """The cause of each observation that the model puts first, shape (n, K)."""
        msg = (
            f"{type(self).__name__} has no encoder: it only generates. Take VAE, WAE, AAE, SinkhornAutoencoder or EVIA."
        )
        raise TypeError(msg)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Groups for an optimiser; critics may go at a pace of their own."""
        return [{"params": list(self.parameters()), "lr": learning_rate}]

    # What all can do -----------------------------------------------------------------------------------

    def forward(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """`step`, so that wrappers of modules such as DistributedDataParallel find it."""
        return self.step(batch, progress=progress, index=index)

    def fit(self, x: Batch, training: Training | None = None, **settings: Any) -> Self:
        """Train on observations, in memory.

        Args:
            x: Observations, shape (n, *shape), or a tuple that begins with them; tensors.
            training: All settings at once.
            **settings: Or one by one, as those of `Training`: steps, batch_size, learning_rate, ...

        Returns:
            This model.

        Raises:
            ValueError: Observations of another shape, or that are no numbers.
        """
        if training is not None and settings:
            msg = (
                f"`training` or single settings, not both: got {', '.join(settings)} as well. Put them into `training`."
            )
            raise ValueError(msg)
        (training or Training(**settings)).run(self, x)
        return self

    @torch.no_grad()
    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """New observations: the decoder's values at draws from the prior.

        Args:
            count: How many.
            generator: Source of randomness; the model's own stream "sample" when left out.

        Returns:
            Shape (count, *shape).
        """
        check_count(count, "count")
        return self.decode(self.prior(count, generator or self.streams["sample"]))

    def reconstruct(self, x: Tensor) -> Tensor:
        """A(encode(x)), shape (n, *shape)."""
        return self.decode(self.encode(x))

    def prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from N(0, I), shape (count, K), on the model's device."""
        like = next(self.parameters())
        noise = torch.randn(count, self.latent, generator=generator, dtype=like.dtype, device=generator.device)
        return noise.to(like.device)

    def settings(self) -> dict[str, Any]:
        """Arguments of the constructor that are plain values: numbers, names, sizes."""
        names = list(inspect.signature(type(self)).parameters)
        return {name: value for name in names if not isinstance(value := getattr(self, name), nn.Module)}

    def extra_repr(self) -> str:
        """The settings."""
        return ", ".join(f"{name}={value}" for name, value in self.settings().items())

    def check_batch(self, batch: Batch) -> Tensor:
        """The observations of a batch, of the right shape and all numbers."""
        x = batch if isinstance(batch, Tensor) else batch[0]
        if tuple(x.shape[1:]) != self.shape:
            msg = f"Observations must have shape (n, {', '.join(map(str, self.shape))}): got {tuple(x.shape)}. Reshape them, or make the model for theirs."
            raise ValueError(msg)
        check_finite(x, "x")
        return x
