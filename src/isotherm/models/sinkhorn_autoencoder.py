"""The Sinkhorn autoencoder: codes are carried to the prior by transport, on whatever space it lives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from isotherm._checks import check_choice, check_positive
from isotherm.models.model import AbstractModel, Batch
from isotherm.models.networks import Flat
from isotherm.models.sinkhorn_losses import SinkhornLoss


class SinkhornAutoencoder(AbstractModel):
    """Sinkhorn autoencoder, with one code for each observation.

        loss = mean_i lam/2 |x_i - A(e(x_i))|^2 + weight D(q_Z, p_Z),    D from SinkhornLoss, cost |z - z'|^2

    Patrini et al. bound the transport between data and model by the misfit plus L times the transport between codes and
    prior, L the decoder's Lipschitz constant: weight stands for it. They define D as the debiased divergence and train
    with the sharp value of few iterations. Its plan is blurred, and codes are pulled towards the middle of the prior: by
    epsilon^2 / (16 S) of their variance S in one dimension, "raw" by epsilon / 2, and in many dimensions by far more,
    because a batch shows few points of a law. That shrinks codes under "debiased" too. "halves" compares different
    points everywhere and leaves the variance where it belongs, at 1, in 64 dimensions too.

    The paper has epsilon = 10 for a Gaussian prior, 0.1 on the sphere, and weight 100 beside a whole squared distance
    (lam = 2).

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the networks that are made here.
        lam: Price of misfit.
        weight: Price of codes that are not the prior's.
        divergence: D, "halves", "debiased", "sharp" or "raw".
        epsilon: Temperature, in units of squared distance between codes.
        space: Where codes and prior live: "normal", N(0, I); or "sphere", uniform on the unit sphere of K - 1 dimensions,
            onto which codes are projected.
        seed: Root of all randomness.
        encoder: x -> (n, K); a perceptron when left out.
        decoder: z -> (n, *shape); a perceptron when left out.

    Example:
        >>> model = SinkhornAutoencoder((2,), 3, widths=(8,), space="sphere", epsilon=0.1)
        >>> model.encode(torch.zeros(1, 2)).norm(dim=1).detach().round(decimals=4)
        tensor([1.])

    References:
        [Patrini2020], [Feydy2019], [Salimans2018]
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        lam: float = 1.0,
        weight: float = 5.0,
        divergence: str = "halves",
        epsilon: float = 2.0,
        space: str = "normal",
        seed: int = 0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(shape, latent, seed)
        self.widths = tuple(widths)
        self.lam, self.weight = check_positive(lam, "lam"), check_positive(weight, "weight")
        self.divergence = check_choice(divergence, "divergence", ("halves", "debiased", "sharp", "raw"))
        self.epsilon = check_positive(epsilon, "epsilon")
        self.space = check_choice(space, "space", ("normal", "sphere"))
        start = self.streams["start"]
        self.encoder = encoder or Flat(self.shape, self.widths, (latent,), start)
        self.decoder = decoder or Flat((latent,), self.widths[::-1], self.shape, start)

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`. `variance` is that of a coordinate of the codes, in the mean."""
        x = self.check_batch(batch)
        z = self.encode(x)  # (n, K)
        misfit = 0.5 * self.lam * (x - self.decoder(z)).square().flatten(1).sum(1).mean()
        divergence = SinkhornLoss(loss=self.divergence, epsilon=self.epsilon)(
            z, self.prior(len(x), self.streams["noise"])
        )
        loss = misfit + self.weight * divergence
        variance = z.detach().var(0, correction=0).mean()
        return {"loss": loss, "misfit": misfit.detach(), "divergence": divergence.detach(), "variance": variance}

    def prior(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from N(0, I) or from the sphere, shape (count, K)."""
        return self._placed(super().prior(count, generator))

    def decode(self, z: Tensor) -> Tensor:
        """See `AbstractModel.decode`."""
        return self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        """e(x), shape (n, K)."""
        return self._placed(self.encoder(self.check_batch(x)).to(x.dtype))

    def _placed(self, z: Tensor) -> Tensor:
        return normalize(z, dim=1) if self.space == "sphere" else z
