"""The Sinkhorn generator: noise in, data out, and transport between the two clouds as the only teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice, check_count
from isotherm.models.model import AbstractModel, Batch
from isotherm.models.networks import Flat, held_still
from isotherm.models.sinkhorn_losses import SinkhornLoss


class SinkhornGenerator(AbstractModel):
    """A decoder trained by transport between what it makes of noise and the data; there is no encoder.

        loss = D(A(z_1), ..., A(z_m); x_1, ..., x_n),    cost |phi(A(z)) - phi(x)|^2

    D is one of five, see `SinkhornLoss`. "raw" and "sharp" ask for too little spread, and so does "debiased" (and
    "unrolled", the paper's loss) of small batches in many dimensions: what is made are means of observations, closer
    to the data in the mean than the data are to each other. "halves" asks for the law itself, at any batch size. Time O((m^2 + m n + n^2) D) per
    iteration.

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the decoder that is made here.
        loss: "debiased", "halves", "raw", "sharp" or "unrolled".
        epsilon: Temperature.
        epsilon_unit: What it is measured in: "mean", the mean cost between the two clouds, or "cost", units of cost.
        iterations: Of "unrolled".
        made: Points made in each step, m; as many as there are in the batch when left out.
        noise: "normal", N(0, I); or "ball", uniform in the unit ball.
        seed: Root of all randomness.
        decoder: z -> (n, *shape); a perceptron when left out.
        features: phi, in which distances are taken: x -> (n, ...), not trained; the observations themselves when left out.

    Example:
        >>> model = SinkhornGenerator((2,), 1, widths=(8,))
        >>> sorted(model.step(torch.zeros(4, 2)))
        ['loss']

    References:
        [Genevay2018], [Feydy2019], [Salimans2018]
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        loss: str = "debiased",
        epsilon: float = 0.25,
        epsilon_unit: str = "mean",
        iterations: int = 20,
        made: int | None = None,
        noise: str = "normal",
        seed: int = 0,
        decoder: nn.Module | None = None,
        features: nn.Module | None = None,
    ) -> None:
        super().__init__(shape, latent, seed)
        self.widths = tuple(widths)
        self.loss, self.epsilon, self.epsilon_unit, self.iterations = loss, epsilon, epsilon_unit, iterations
        self.divergence = SinkhornLoss(loss=loss, epsilon=epsilon, epsilon_unit=epsilon_unit, iterations=iterations)
        self.made = None if made is None else check_count(made, "made")
        self.noise = check_choice(noise, "noise", ("normal", "ball"))
        self.decoder = decoder or Flat((latent,), self.widths, self.shape, self.streams["start"])
        self.features = features

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`."""
        x = self.check_batch(batch)
        y = self.decoder(self.prior(self.made or len(x), self.streams["noise"])).to(x.dtype)
        return {"loss": self.divergence(self._seen(y), self._seen(x))}

    def prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws of the noise, shape (count, K)."""
        z = super().prior(count, generator)
        if self.noise == "normal":
            return z
        radius = torch.rand(count, 1, generator=generator, dtype=z.dtype, device=generator.device).to(z.device)
        return z / z.norm(dim=1, keepdim=True) * radius ** (1.0 / self.latent)

    def decode(self, z: Tensor) -> Tensor:
        """See `AbstractModel.decode`."""
        return self.decoder(z)

    def _seen(self, x: Tensor) -> Tensor:
        """phi, flat, shape (n, F)."""
        return (x if self.features is None else held_still(self.features, x).to(x.dtype)).flatten(1)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The decoder alone."""
        return [{"params": list(self.decoder.parameters()), "lr": learning_rate}]
