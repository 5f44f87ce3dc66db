"""The adversarial autoencoder: a discriminator tells codes from draws of the prior, and the encoder fools it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from isotherm._checks import check_positive
from isotherm.models.model import AbstractModel, Batch
from isotherm.models.networks import Flat, held_still


class AAE(AbstractModel):
    """Adversarial autoencoder, with one code for each observation.

        encoder, decoder:  min  E[lam/2 |x - A(e(x))|^2] + weight E_q[softplus(-d(z))],      z = e(x) ~ q_Z
        discriminator:     min  E_p[softplus(-d(z))] + E_q[softplus(d(z))] + flatness/2 E_p[|grad d(z)|^2],    p_Z = N(0, I)

    The last term keeps the two from chasing each other; it vanishes when codes are the prior's. Without it the best discriminator's logit is log p_Z / q_Z. Sinkhorn's update of a latent potential adds gamma times this to it:
    an adversarial autoencoder takes one half of a Sinkhorn step where EVIA takes many. Both sums are one loss here. Each
    network is held still in the other's terms, and the discriminator goes at its own pace.

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the networks that are made here.
        lam: Price of misfit.
        weight: Price of codes that are told from the prior's.
        flatness: Price of a discriminator that is steep where draws from the prior are; 0 for none.
        pace: Learning rate of the discriminator, as a multiple of the others'.
        seed: Root of all randomness.
        encoder: x -> (n, K); a perceptron when left out.
        decoder: z -> (n, *shape); a perceptron when left out.
        discriminator: z -> (n, 1), the logit of coming from the prior; a perceptron when left out.

    Example:
        >>> model = AAE((2,), 1, widths=(8,))
        >>> sorted(model.step(torch.zeros(4, 2)))
        ['discrimination', 'fooling', 'loss', 'misfit']

    References:
        [Makhzani2016], [Tolstikhin2018], [Mescheder2018]
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        lam: float = 1.0,
        weight: float = 0.2,
        flatness: float = 5.0,
        pace: float = 2.0,
        seed: int = 0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        discriminator: nn.Module | None = None,
    ) -> None:
        super().__init__(shape, latent, seed)
        self.widths = tuple(widths)
        self.lam, self.weight = check_positive(lam, "lam"), check_positive(weight, "weight")
        self.flatness = flatness if flatness == 0 else check_positive(flatness, "flatness")
        self.pace = check_positive(pace, "pace")
        start = self.streams["start"]
        self.encoder = encoder or Flat(self.shape, self.widths, (latent,), start)
        self.decoder = decoder or Flat((latent,), self.widths[::-1], self.shape, start)
        self.discriminator = discriminator or Flat((latent,), self.widths, (1,), start)

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`. `discrimination` is 2 log 2 where the discriminator knows nothing."""
        x = self.check_batch(batch)
        z = self.encoder(x).to(x.dtype)  # (n, K)
        misfit = 0.5 * self.lam * (x - self.decoder(z)).square().flatten(1).sum(1).mean()
        fooling = softplus(-held_still(self.discriminator, z).to(x.dtype)).mean()
        draws = self.prior(len(x), self.streams["noise"])
        of_draws, of_codes = self.discriminator(torch.cat([draws, z.detach()])).to(x.dtype).chunk(2)
        discrimination = softplus(-of_draws).mean() + softplus(of_codes).mean()
        loss = misfit + self.weight * fooling + discrimination
        if self.flatness:
            loss = loss + 0.5 * self.flatness * self._steepness(draws)
        numbers = {"misfit": misfit, "fooling": fooling, "discrimination": discrimination}
        return {"loss": loss, **{name: value.detach() for name, value in numbers.items()}}

    def log_ratio(self, z: Tensor) -> Tensor:
        """log p_Z / q_Z at codes (n, K), as the discriminator has learnt it; shape (n,), differentiable."""
        return self.discriminator(z)[:, 0]

    def _steepness(self, z: Tensor) -> Tensor:
        """Mean squared slope of the logit, differentiable in the discriminator's parameters."""
        with torch.enable_grad():  # also where only the loss is looked at
            z = z.detach().requires_grad_()
            logit = self.discriminator.forward(z)  # never compiled: what torch.compile makes has no second derivative
            slope = torch.autograd.grad(logit.sum(), z, create_graph=True)[0]
        return slope.square().sum(1).mean()

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Encoder and decoder; and the discriminator at its own pace."""
        slow = [*self.encoder.parameters(), *self.decoder.parameters()]
        fast = list(self.discriminator.parameters())
        return [{"params": slow, "lr": learning_rate}, {"params": fast, "lr": self.pace * learning_rate}]

    def decode(self, z: Tensor) -> Tensor:
        """See `AbstractModel.decode`."""
        return self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        """e(x), shape (n, K)."""
        return self.encoder(self.check_batch(x))
