"""Candidates and their weights: what a posterior is, as far as so many candidates can tell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_count


class EffectiveSizeWarning(UserWarning):
    """Few candidates carry all weight: means are noisy, and spreads too small."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Reweighted:
    """q*(z | x_i) as weights on candidates.

    Attributes:
        z: Candidates, shape (M, K) where all observations share them, else (n, M, K).
        weights: Shape (n, M); rows sum to one.
        free_energy: Psi(x_i), shape (n,), units of utility.
    """

    z: Tensor  # (M, K) or (n, M, K)
    weights: Tensor  # (n, M)
    free_energy: Tensor  # (n,)

    @property
    def mean(self) -> Tensor:
        """Soft barycentre T*(x_i) = sum_m weight_im z_m, shape (n, K)."""
        return self.average(self.z)

    def average(self, values: Tensor) -> Tensor:
        """Mean of a function of the cause, given at the candidates, (M, ...) or (n, M, ...); shape (n, ...)."""
        if self.z.ndim == 2:
            return torch.tensordot(self.weights, values, dims=1)
        return (self.weights.reshape(*self.weights.shape, *[1] * (values.ndim - 2)) * values).sum(1)

    @property
    def covariance(self) -> Tensor:
        """Of the cause given x_i, shape (n, K, K)."""
        away = self.z - self.mean[:, None]  # (n, M, K)
        return torch.einsum("nm,nmk,nml->nkl", self.weights, away, away)

    @property
    def spread(self) -> Tensor:
        """Trace of the covariance, shape (n,)."""
        away = (self.z - self.mean[:, None]).square().sum(-1)
        return (self.weights * away).sum(1)

    @property
    def effective_size(self) -> Tensor:
        """1 / sum_m weight_im^2: how many candidates the posterior of x_i really rests on; shape (n,)."""
        return 1.0 / self.weights.square().sum(1)

    def mutual_information(self) -> float:
        """Between observation and cause, in nats: 0 where the posterior is the same for all observations.

            mean_i sum_m weight_im log(weight_im / mean_j weight_jm)

        Returns:
            At most log n.

        Raises:
            ValueError: Observations do not share their candidates.
        """
        if self.z.ndim != 2:
            msg = "Mutual information needs the same candidates for all observations: got candidates of each. Use a reference that does not depend on x, and proposal='reference'."
            raise ValueError(msg)
        share = self.weights / self.weights.mean(0)
        return float(torch.special.xlogy(self.weights, share).nansum(1).mean())

    def sample(self, count: int, *, generator: torch.Generator | None = None) -> Tensor:
        """Draw causes of each observation by weight, with replacement.

        Args:
            count: Draws for each observation.
            generator: Source of randomness; a freshly seeded one when left out.

        Returns:
            Shape (n, count, K).
        """
        generator = seeded(generator)
        weights = self.weights.to(generator.device)
        chosen = torch.multinomial(weights, check_count(count, "count"), replacement=True, generator=generator)
        chosen = chosen.to(self.z.device)  # (n, count)
        if self.z.ndim == 2:
            return self.z[chosen]
        return self.z.gather(1, chosen[..., None].expand(*chosen.shape, self.z.shape[-1]))


def seeded(generator: torch.Generator | None) -> torch.Generator:
    """The generator, or a fresh one; the global state is never touched."""
    if generator is None:
        generator = torch.Generator()
        generator.seed()
    return generator
