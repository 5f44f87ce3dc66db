"""The variational autoencoder: each observation pays for its own code."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isotherm._checks import check_count, check_positive
from isotherm.models.model import AbstractModel, Batch
from isotherm.models.networks import Flat


class VAE(AbstractModel):
    """Variational autoencoder, with a Gaussian of diagonal covariance as posterior.

        loss(x) = E_q(z|x)[lam/2 |x - A(z)|^2] + gamma KL(q(z|x) | N(0, I)),    q(z|x) = N(mu(x), diag sigma(x)^2)

    In units of gamma the negative evidence bound of a decoder with noise of variance gamma / lam, up to a constant; in
    units of lam/2 the beta-VAE. It is at least the free energy Psi_gamma(x) without a potential, and equal to it where q
    is the Boltzmann posterior. What pays is each observation, not the crowd of them: codes of different observations
    overlap, and reconstructions blur.

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the networks that are made here.
        lam: Price of misfit.
        gamma: Temperature. 1 is the unit noise of the textbook: far too much for pictures with values in [0, 1], whose posteriors then
            all are the prior.
        seed: Root of all randomness.
        encoder: x -> (n, 2 K), means and then logarithms of variances; a perceptron when left out.
        decoder: z -> (n, *shape); a perceptron when left out.

    Example:
        >>> model = VAE((2,), 1, widths=(8,))
        >>> sorted(model.step(torch.zeros(4, 2)))
        ['divergence', 'loss', 'misfit']

    References:
        [KingmaWelling2014], [Higgins2017]
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        lam: float = 1.0,
        gamma: float = 0.1,
        seed: int = 0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(shape, latent, seed)
        self.widths = tuple(widths)
        self.lam, self.gamma = check_positive(lam, "lam"), check_positive(gamma, "gamma")
        start = self.streams["start"]
        self.encoder = encoder or Flat(self.shape, self.widths, (2 * latent,), start)
        self.decoder = decoder or Flat((latent,), self.widths[::-1], self.shape, start)

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`."""
        x = self.check_batch(batch)
        mean, log_variance = self._posterior(x)
        z = mean + (0.5 * log_variance).exp() * self.prior(len(x), self.streams["noise"])
        misfit = 0.5 * self.lam * (x - self.decoder(z)).square().flatten(1).sum(1).mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(1).mean()
        loss = misfit + self.gamma * divergence
        return {"loss": loss, "misfit": misfit.detach(), "divergence": divergence.detach()}

    def decode(self, z: Tensor) -> Tensor:
        """See `AbstractModel.decode`."""
        return self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        """The posterior's mean, shape (n, K)."""
        return self.posterior_mean(x)

    def posterior_mean(self, x: Tensor) -> Tensor:
        """mu(x), shape (n, K)."""
        return self._posterior(self.check_batch(x))[0]

    def posterior_std(self, x: Tensor) -> Tensor:
        """sigma(x), shape (n, K)."""
        return (0.5 * self._posterior(self.check_batch(x))[1]).exp()

    @torch.no_grad()
    def posterior_sample(self, x: Tensor, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Codes from q(z|x), shape (n, count, K); from the model's own stream "posterior" without a generator."""
        check_count(count, "count")
        mean, log_variance = self._posterior(self.check_batch(x))
        noise = self.prior(len(x) * count, generator or self.streams["posterior"]).view(len(x), count, -1)
        return mean[:, None] + (0.5 * log_variance).exp()[:, None] * noise

    def _posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances, (n, K) each, in the precision of x."""
        mean, log_variance = self.encoder(x).to(x.dtype).chunk(2, dim=1)
        return mean, log_variance
