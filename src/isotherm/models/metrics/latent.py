"""What posteriors look like, measured on draws from them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_finite

POINT = 1e-6  # variance below which there is one answer, in units of the prior's


@dataclass(frozen=True, kw_only=True)
class PosteriorForm:
    """Posteriors in three numbers, means over observations.

    Attributes:
        spread: Standard deviation of a cause's coordinate given the observation, root mean square; 1 is the prior's.
        correlation: Absolute correlation of two coordinates given the observation, mean over pairs; about
            0.8 / sqrt(count) from draws of independent ones. NaN in one dimension.
        excess_kurtosis: Of the coordinate along the widest direction of each posterior; 0 for Gaussians, -2 for two
            equal lumps, positive for heavy tails. Biased towards 0 where draws are few.
    """

    spread: float
    correlation: float
    excess_kurtosis: float

    @property
    def name(self) -> str:
        """In a word."""
        return "a point" if self.spread**2 < POINT else "a family"


def posterior_form(draws: Tensor) -> PosteriorForm:
    """Measure posteriors on draws.

    Args:
        draws: Causes, shape (n, count, K), count at least 2: some for each of n observations.

    Returns:
        Spread, correlation, kurtosis; for points, whose variance is 0, the last two are NaN.

    Raises:
        ValueError: Another shape, or numbers that are not finite.

    Example:
        >>> draws = torch.randn(20, 500, 2, generator=torch.Generator().manual_seed(0))
        >>> found = posterior_form(draws)
        >>> round(found.spread, 1), round(found.correlation, 1)
        (1.0, 0.0)
    """
    if draws.ndim != 3 or draws.shape[1] < 2:
        msg = f"`draws` must have shape (observations, draws, K) with two draws or more: got {tuple(draws.shape)}. Draw more."
        raise ValueError(msg)
    check_finite(draws, "draws")
    z = draws.detach().double()
    z = z - z.mean(1, keepdim=True)
    covariance = z.mT @ z / (z.shape[1] - 1)  # (n, K, K)
    variance = covariance.diagonal(dim1=1, dim2=2)
    spread = float(variance.mean().sqrt())
    if spread**2 < POINT:
        return PosteriorForm(spread=spread, correlation=torch.nan, excess_kurtosis=torch.nan)
    scale = variance.clamp_min(torch.finfo(z.dtype).tiny).sqrt()
    correlation = covariance / (scale[:, :, None] * scale[:, None, :])
    rows, columns = torch.triu_indices(z.shape[2], z.shape[2], offset=1)
    widest = torch.linalg.eigh(covariance).eigenvectors[:, :, -1]  # (n, K)
    along = (z @ widest[:, :, None])[:, :, 0]
    second = along.square().mean(1)
    kurtosis = along.pow(4).mean(1)[second > 0] / second[second > 0].square() - 3.0
    return PosteriorForm(
        spread=spread,
        correlation=float(correlation[:, rows, columns].abs().mean()),
        excess_kurtosis=float(kurtosis.mean()),
    )
