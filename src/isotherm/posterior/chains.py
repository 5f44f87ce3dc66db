"""Chains of causes, and whether they can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class Chains:
    """Draws of Markov chains, some for each observation.

    Attributes:
        draws: Shape (S, C, n, K): S kept steps of C chains for each of n observations.
        energies: (potential energy U at the draws), shape (S, C, n), without unit.
        acceptance: Share of proposals that were taken, shape (C, n); one where none is ever refused.
    """

    draws: Tensor  # (S, C, n, K)
    energies: Tensor  # (S, C, n)
    acceptance: Tensor  # (C, n)

    @property
    def last(self) -> Tensor:
        """Where the chains stand, shape (C, n, K): pass it as `start` to go on."""
        return self.draws[-1]

    @property
    def mean(self) -> Tensor:
        """Shape (n, K)."""
        return self.draws.mean((0, 1))

    @property
    def covariance(self) -> Tensor:
        """Of the cause given x_i, shape (n, K, K)."""
        away = self.draws - self.mean
        return torch.einsum("scnk,scnl->nkl", away, away) / (self.draws.shape[0] * self.draws.shape[1] - 1)

    @property
    def r_hat(self) -> Tensor:
        """Split R-hat, shape (n, K): spread of all halves of chains over spread within them; trust it below 1.01.

        References:
            [GelmanBDA2013, equation 11.4]
        """
        halves = split(self.draws)
        within = halves.var(0).mean(0)
        between = halves.mean(0).var(0)  # of the means, so without the factor S
        steps = halves.shape[0]
        return (((steps - 1) / steps * within + between) / within).sqrt()

    @property
    def effective_size(self) -> Tensor:
        """As many independent draws would give means as exact as these, shape (n, K).

            C S / (1 + 2 sum_t rho_t)

        with autocorrelations rho of split chains, summed in pairs as long as these are positive and fall.

        References:
            [Geyer1992], [GelmanBDA2013, section 11.5]
        """
        halves = split(self.draws)
        steps, chains = halves.shape[:2]
        away = halves - halves.mean(0)
        power = torch.fft.rfft(away, n=2 * steps, dim=0).abs().square()
        products = torch.fft.irfft(power, n=2 * steps, dim=0)[:steps].mean(1) / steps  # (S, n, K)
        within = halves.var(0).mean(0)
        pooled = (steps - 1) / steps * within + halves.mean(0).var(0)
        rho = 1.0 - (within - products * steps / (steps - 1)) / pooled
        rho[0] = 1.0
        pairs = rho[: steps - steps % 2].unflatten(0, (-1, 2)).sum(1)
        pairs = (pairs.cummin(0).values * (pairs > 0).cumprod(0)).sum(0)
        return chains * steps / (2.0 * pairs - 1.0).clamp(min=1.0 / (chains * steps))


def split(draws: Tensor) -> Tensor:
    """Both halves of every chain, (S // 2, 2 C, n, K)."""
    half = draws.shape[0] // 2
    if half < 4:
        msg = (
            f"Chains must have at least 8 kept draws to be judged: got {draws.shape[0]}. Take more steps, or thin less."
        )
        raise ValueError(msg)
    return torch.cat([draws[:half], draws[-half:]], dim=1)
