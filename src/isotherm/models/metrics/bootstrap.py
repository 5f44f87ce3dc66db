"""How sure a mean is, told by drawing anew from what was measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isotherm._arrays import to_tensor
from isotherm._checks import check_count, check_finite


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A statistic and where it may lie.

    Attributes:
        value: Of all that was measured.
        low: Lower end.
        high: Upper end.
        level: Share of intervals made like this that hold the true value, for many measurements.
    """

    value: float
    low: float
    high: float
    level: float


def bootstrap_interval(
    values: Any,
    *,
    statistic: Callable[[Tensor], Tensor] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    generator: torch.Generator,
) -> Interval:
    """Percentile interval of a statistic of independent measurements.

    Draws as many measurements as there are, with replacement, again and again, and takes the middle part of what the
    statistic becomes. Draw anew what is independent: observations for a mean over observations, runs for a mean over
    runs. Not for distances between samples, which copies of observations change by themselves.

    Args:
        values: Measurements, shape (n,).
        statistic: From resamples, shape (resamples, n), to values (resamples,); the mean when left out.
        level: Between 0 and 1.
        resamples: How many.
        generator: Source of randomness, on the CPU.

    Returns:
        Value, ends and level, in units of the statistic.

    Raises:
        ValueError: No measurements, NaN among them, or a level out of range.

    Example:
        >>> found = bootstrap_interval([0.0, 1.0] * 50, generator=torch.Generator().manual_seed(0))
        >>> found.value, found.low < 0.45, found.high > 0.55
        (0.5, True, True)

    References:
        [EfronTibshirani1993, chapter 13]
    """
    measured = to_tensor(values, "values").detach().cpu().double()
    if measured.ndim != 1 or len(measured) == 0:
        msg = f"`values` must have shape (n,) with n at least 1: got {tuple(measured.shape)}. Pass one number per measurement."
        raise ValueError(msg)
    check_finite(measured, "values")
    if not 0.0 < level < 1.0:
        msg = f"`level` must lie between 0 and 1: got {level}. 0.95 is usual."
        raise ValueError(msg)
    statistic = statistic or _mean
    drawn = torch.randint(len(measured), (check_count(resamples, "resamples"), len(measured)), generator=generator)
    found = statistic(measured[drawn])
    ends = found.quantile(torch.tensor([0.5 * (1.0 - level), 0.5 * (1.0 + level)], dtype=torch.float64))
    return Interval(value=float(statistic(measured[None])[0]), low=float(ends[0]), high=float(ends[1]), level=level)


def _mean(values: Tensor) -> Tensor:
    return values.mean(1)
