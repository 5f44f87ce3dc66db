"""What both kinds of EVIA have in common: settings, networks, a critic, and the posterior that these make."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice, check_finite, check_positive
from isotherm.models.critics import Critic, NoCritic, cooled
from isotherm.models.model import AbstractModel, Batch
from isotherm.models.networks import Flat, perceptron
from isotherm.posterior import AbstractObservation, Direct, FourierMask, GaussianReference, Posterior, Reweighted

OBSERVATIONS: dict[str, AbstractObservation] = {"direct": Direct(), "fourier_mask": FourierMask()}


class AbstractBoltzmann(AbstractModel):
    """A decoder A whose posteriors are q*(z|x) ∝ kappa(z|x) exp((w(z) - c(x, z)) / gamma), and an encoder for their means.

    Final classes make the critic and say how draws from q* are had. Arguments are those of `EVIA`.
    """

    potential: Critic

    def __init__(
        self,
        shape: Sequence[int],
        latent: int,
        seed: int,
        *,
        widths: Sequence[int],
        prices: tuple[float, float],  # lam, gamma
        gamma_start: float | None,
        paces: tuple[float, float],  # of w and of the discriminator
        reference: str,
        beta: float,
        observe: str | AbstractObservation,
        encoder: nn.Module | None,
        decoder: nn.Module | None,
    ) -> None:
        super().__init__(shape, latent, seed)
        self.widths = tuple(widths)
        self.lam, self.gamma = check_positive(prices[0], "lam"), check_positive(prices[1], "gamma")
        self.gamma_start = None if gamma_start is None else check_positive(gamma_start, "gamma_start")
        self.critic_rate = check_positive(paces[0], "critic_rate")
        self.discriminator_rate = check_positive(paces[1], "discriminator_rate")
        self.beta = check_positive(beta, "beta")
        self.reference = check_choice(reference, "reference", ("prior", "encoder"))
        self.observe = observe
        if isinstance(observe, str):
            observe = OBSERVATIONS[check_choice(observe, "observe", OBSERVATIONS)]
        self.observation = observe
        start = self.streams["start"]
        self.encoder = encoder or Flat(observe.packed_shape(self.shape), self.widths, (latent,), start)
        self.decoder = decoder or Flat((latent,), self.widths[::-1], self.shape, start)

    @property
    def critic_network(self) -> nn.Module | None:
        """w, where it is a network."""
        return getattr(self.potential, "network", None)

    @property
    def discriminator(self) -> nn.Module | None:
        """What tells causes of the prior from those of the posteriors, where there is such a network."""
        return getattr(self.potential, "discriminator", None)

    def scalar_network(self) -> nn.Sequential:
        """A perceptron (n, K) -> (n, 1), for critics; it grows linearly, so that posteriors stay normalisable."""
        return perceptron(self.latent, self.widths, 1, self.streams["start critic"])

    def check_batch(self, batch: Batch) -> Tensor:
        """The observations of a batch, packed, of the right shape and all numbers."""
        x, expected = self.observation.pack(batch), self.observation.packed_shape(self.shape)
        if tuple(x.shape[1:]) != expected:
            msg = f"Observations must have shape (n, {', '.join(map(str, expected))}): got {tuple(x.shape)}. Reshape them, or make the model for theirs."
            raise ValueError(msg)
        check_finite(x, "x")
        return x

    def temperature(self, progress: float) -> float:
        """gamma at this share of the training, see `gamma_start`."""
        return cooled(self.gamma_start, self.gamma, progress)

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """See `AbstractModel.parameter_groups`; the critic's networks at their own pace, w's below a discriminator's."""
        others = [*self.encoder.parameters(), *self.decoder.parameters()]
        groups = [{"params": others, "lr": learning_rate}]
        for network, pace in ((self.critic_network, self.critic_rate), (self.discriminator, self.discriminator_rate)):
            if network is not None:
                groups.append({"params": list(network.parameters()), "lr": pace * learning_rate})
        return groups

    def decode(self, z: Tensor) -> Tensor:
        """See `AbstractModel.decode`; in the dtype of z, also under autocast."""
        return self.decoder(z).to(z.dtype)

    def encode(self, x: Batch) -> Tensor:
        """e(x), which was taught the posterior's mean, shape (n, K)."""
        return self.encoder(self.observation.pack(x))

    # Posteriors ----------------------------------------------------------------------------------------

    def posterior(self) -> Posterior:
        """q*(z|x) of this decoder, reference and critic, at temperature gamma; for packed observations."""
        critic = None if isinstance(self.potential, NoCritic) else self.potential
        return self.boltzmann(self.gamma, critic)

    def boltzmann(self, gamma: float, critic: nn.Module | None) -> Posterior:
        """The posterior at a temperature, with a critic that is a function of z, or none.

        Args:
            gamma: Temperature.
            critic: w.

        Returns:
            For packed observations.
        """
        zero = torch.zeros(self.latent).to(next(self.parameters()))
        around = GaussianReference(zero) if self.reference == "prior" else GaussianReference(self.encoder, self.beta)
        return Posterior(self.decode, around, critic, self.lam, gamma, self.observation)

    @abstractmethod
    def posterior_sample(self, x: Batch, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Causes drawn from q*(z|x), shape (n, count, K)."""

    @abstractmethod
    def posterior_mean(self, x: Batch, *, generator: torch.Generator | None = None) -> Tensor:
        """T*(x), shape (n, K)."""

    @abstractmethod
    def posterior_std(self, x: Batch, *, generator: torch.Generator | None = None) -> Tensor:
        """Standard deviation of each component of the cause, shape (n, K)."""


def weigh(z: Tensor, utilities: Tensor, gamma: float) -> Reweighted:
    """Weights softmax_m(G_im / gamma) of candidates that are drawn from kappa.

    Args:
        z: Shape (M, K) or (n, M, K).
        utilities: G, shape (n, M).
        gamma: Temperature.

    Returns:
        Weights and free energies.
    """
    log_mass = (utilities / gamma).logsumexp(1)
    weights = (utilities / gamma - log_mass[:, None]).exp()
    return Reweighted(z=z, weights=weights, free_energy=gamma * (math.log(utilities.shape[1]) - log_mass))
