"""Can a family of answers be believed? Consistency with the data, spread where they are silent, coverage of the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.posterior.observation import hartley

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.applications.inverse.families import Families
    from isotherm.applications.inverse.masked_digits import MaskedImages

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """Numbers per Fourier coefficient (roots of mean squares), and shares of truths that lie in intervals.

    Attributes:
        residual: Of the decoder's images at measured frequencies, against the data, over all draws.
        noise: Of the measurement: no smaller residual has a meaning.
        spread_measured: Standard deviation within families of the decoder's images, at measured frequencies.
        spread_missing: At those that were not measured.
        error_missing: Of the family's mean against the truth, at frequencies that were not measured.
        error_zero: Of zero there, which is what the observation shows.
        decoded_coverage: Share of missing coefficients of the truth within intervals of the decoder's images; level to share.
        coverage: Within intervals of predicted images.
        pixel_coverage: Share of the truth's pixels within intervals of predicted images.
        width: Mean width of the intervals of `coverage` at 90 %.
    """

    residual: float
    noise: float
    spread_measured: float
    spread_missing: float
    error_missing: float
    error_zero: float
    decoded_coverage: dict[float, float]
    coverage: dict[float, float]
    pixel_coverage: dict[float, float]
    width: float


def judge(families: Families, data: MaskedImages) -> Judgement:
    """Compare families with the data and with the truth.

    Intervals are between equal quantiles at both ends of the family; take at least a hundred members.

    Args:
        families: Of each observation.
        data: Observations, and the truth.

    Returns:
        All numbers.
    """
    measured = data.mask
    missing = 1.0 - measured
    truth, seen = hartley(data.truth), hartley(data.y)
    decoded = _coefficients(families.decoded)
    predicted = _coefficients(families.predicted)
    lower, upper = _intervals(predicted, (0.9,))
    return Judgement(
        residual=_root(((decoded - seen[:, None]).square()).mean(1), measured),
        noise=data.noise,
        spread_measured=_root(decoded.var(1), measured),
        spread_missing=_root(decoded.var(1), missing),
        error_missing=_root((decoded.mean(1) - truth).square(), missing),
        error_zero=_root(truth.square(), missing),
        decoded_coverage=coverages(decoded, truth, missing),
        coverage=coverages(predicted, truth, missing),
        pixel_coverage=coverages(families.predicted, data.truth, data.truth.new_ones(data.truth.shape)),
        width=float(((upper[0] - lower[0]) * missing).sum() / missing.sum()),
    )


def coverages(family: Tensor, truth: Tensor, where: Tensor) -> dict[float, float]:
    """Share of truths between the quantiles (1 - level) / 2 and (1 + level) / 2 of their families.

    Args:
        family: Shape (n, count, ...).
        truth: Shape (n, ...).
        where: Weights of the shares, shape (n, ...).

    Returns:
        Level to share.

    Example:
        >>> import torch
        >>> draws = torch.linspace(0.0, 1.0, 1001).expand(1, 1001)[..., None]
        >>> coverages(draws, torch.tensor([[0.93]]), torch.ones(1, 1))[0.9]
        1.0
    """
    lower, upper = _intervals(family, LEVELS)  # (levels, n, ...)
    inside = ((truth >= lower) & (truth <= upper)).to(where.dtype)
    shares = (inside * where).flatten(1).sum(1) / where.sum()
    return dict(zip(LEVELS, shares.tolist(), strict=True))


def _intervals(family: Tensor, levels: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Lower and upper ends for each level, shape (levels, n, ...); sorted once."""
    level = torch.tensor(levels, dtype=family.dtype, device=family.device)
    ordered = family.sort(1).values
    return _quantiles(ordered, 0.5 - 0.5 * level), _quantiles(ordered, 0.5 + 0.5 * level)


def _quantiles(ordered: Tensor, shares: Tensor) -> Tensor:
    """Quantiles of sorted members, between the two next to each; shape (shares, n, ...)."""
    place = shares * (ordered.shape[1] - 1)
    below = place.floor().long().clamp(max=ordered.shape[1] - 2)
    part = (place - below).reshape(-1, *[1] * (ordered.ndim - 1))
    return torch.lerp(ordered[:, below].transpose(0, 1), ordered[:, below + 1].transpose(0, 1), part)


def _root(squares: Tensor, where: Tensor) -> float:
    return float(((squares * where).sum() / where.sum()).sqrt())


def _coefficients(images: Tensor) -> Tensor:
    return hartley(images.flatten(0, 1)).view_as(images)
