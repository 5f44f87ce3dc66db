"""The Wasserstein autoencoder: only the crowd of codes has to look like the prior."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice, check_positive
from isotherm.divergences import kernel_norm
from isotherm.models.model import AbstractModel, Batch
from isotherm.models.networks import Flat
from isotherm.models.sinkhorn_losses import SinkhornLoss

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # of the kernel, around the squared distance of two draws from the prior


class WAE(AbstractModel):
    """Wasserstein autoencoder, with one code for each observation.

        loss = mean_i lam/2 |x_i - A(e(x_i))|^2 + weight D(q_Z, p_Z),    q_Z the codes of the batch, p_Z = N(0, I)

    With D a hard constraint the first term is exact transport between the data and what the decoder makes of the prior:
    this is the gamma = 0 end of the family. D sees all codes at once, in latent space:

        "mmd"   |mean embedding of codes - of draws|^2, kernel sum_s C_s / (C_s + |z - z'|^2), C_s = 2 K s,
                s = .1, .2, .5, 1, 2, 5, 10 (each pair counts, also one with itself: never negative, biased by 1/n)
        "ot"    Sinkhorn's divergence with the cost |z - z'|^2 and the temperature epsilon, self terms between halves of
                the batch, see SinkhornLoss

    The paper's own code has lam = 0.1 (it multiplies the squared distance by 0.05), weight = 10 and K = 8 for MNIST,
    weight = 100 and K = 64 for CelebA; it leaves the pairs of a code with itself out of D.

    Args:
        shape: Of one observation.
        latent: K.
        widths: Hidden layers of the networks that are made here.
        lam: Price of misfit.
        weight: Price of codes that are not the prior's.
        penalty: D, "mmd" or "ot".
        epsilon: Temperature of "ot", in units of squared distance between codes.
        seed: Root of all randomness.
        encoder: x -> (n, K); a perceptron when left out.
        decoder: z -> (n, *shape); a perceptron when left out.

    Example:
        >>> model = WAE((2,), 1, widths=(8,))
        >>> sorted(model.step(torch.zeros(4, 2)))
        ['divergence', 'loss', 'misfit']

    References:
        [Tolstikhin2018], [Feydy2019], [Salimans2018]
    """

    def __init__(
        self,
        shape: Sequence[int],
        latent: int = 8,
        *,
        widths: Sequence[int] = (256, 256),
        lam: float = 1.0,
        weight: float = 10.0,
        penalty: str = "mmd",
        epsilon: float = 1.0,
        seed: int = 0,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__(shape, latent, seed)
        self.widths = tuple(widths)
        self.lam, self.weight = check_positive(lam, "lam"), check_positive(weight, "weight")
        self.penalty = check_choice(penalty, "penalty", ("mmd", "ot"))
        self.epsilon = check_positive(epsilon, "epsilon")
        start = self.streams["start"]
        self.encoder = encoder or Flat(self.shape, self.widths, (latent,), start)
        self.decoder = decoder or Flat((latent,), self.widths[::-1], self.shape, start)

    def step(self, batch: Batch, *, progress: float = 1.0, index: Tensor | None = None) -> dict[str, Tensor]:
        """See `AbstractModel.step`."""
        x = self.check_batch(batch)
        z = self.encoder(x).to(x.dtype)  # (n, K)
        misfit = 0.5 * self.lam * (x - self.decoder(z)).square().flatten(1).sum(1).mean()
        divergence = self.divergence(z, self.prior(len(x), self.streams["noise"]))
        loss = misfit + self.weight * divergence
        return {"loss": loss, "misfit": misfit.detach(), "divergence": divergence.detach()}

    def divergence(self, codes: Tensor, draws: Tensor) -> Tensor:
        """D between codes (n, K) and draws from the prior (m, K), a scalar; differentiable in both."""
        if self.penalty == "ot":
            return SinkhornLoss(loss="halves", epsilon=self.epsilon)(codes, draws)
        return 2.0 * kernel_norm(codes, draws, kernel=inverse_multiquadric)

    def decode(self, z: Tensor) -> Tensor:
        """See `AbstractModel.decode`."""
        return self.decoder(z)

    def encode(self, x: Tensor) -> Tensor:
        """e(x), shape (n, K)."""
        return self.encoder(self.check_batch(x))


def inverse_multiquadric(x: Tensor, y: Tensor) -> Tensor:
    """sum_s C_s / (C_s + |x - y|^2), C_s = 2 K s, shape (n, m), for codes (n, K) and (m, K).

    2 K is the mean squared distance of two draws from N(0, I).
    """
    square = (x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T).clamp(min=0.0)
    scales = [2.0 * x.shape[1] * scale for scale in SCALES]
    return torch.stack([scale / (scale + square) for scale in scales]).sum(0)
