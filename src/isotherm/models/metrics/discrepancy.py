"""Whether any smooth function has another mean on the one sample than on the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotherm._checks import check_positive
from isotherm.models.metrics.inputs import both_vectors, vectors


def imq_discrepancy(x: Any, y: Any, *, scale: float | None = None) -> float:
    """Squared maximum mean discrepancy of the inverse multiquadric kernel, without bias.

        mean_{i != i'} k(x_i, x_i') + mean_{j != j'} k(y_j, y_j') - 2 mean_ij k(x_i, y_j),   k(x, y) = s / (s + |x - y|^2)

    Its mean over samples of the same law is zero, so half of such values are negative. O((n + m)^2 d), memory O((n + m)^2).

    Args:
        x: Observations, shape (n, *shape), n at least 2.
        y: Others, shape (m, *shape), m at least 2.
        scale: s, in squared units of the observations. When left out, twice the median of |y_j - y_j'|^2: the real
            observations, y, set the scale, whatever the generated ones, x, are.

    Returns:
        Without unit.

    Raises:
        ValueError: Fewer than two on a side.

    Example:
        >>> round(imq_discrepancy([[0.0], [0.0]], [[1.0], [1.0]], scale=1.0), 6)
        1.0

    References:
        [Gretton2012, lemma 6]
    """
    first, second = both_vectors(x, y, minimum=2)
    s = 2.0 * median_square(second) if scale is None else check_positive(scale, "scale")

    def kernel(p: Tensor, q: Tensor) -> Tensor:
        return s / (s + torch.cdist(p, q).square())

    def within(p: Tensor) -> Tensor:
        return (kernel(p, p).sum() - len(p)) / (len(p) * (len(p) - 1))

    return float(within(first) + within(second) - 2.0 * kernel(first, second).mean())


def median_square(x: Any) -> float:
    """Median of |x_i - x_j|^2 over pairs of different observations.

    Args:
        x: Observations, shape (n, *shape), n at least 2, not all equal.

    Returns:
        In squared units of the observations.

    Raises:
        ValueError: Fewer than two, or more than half of all pairs equal.

    Example:
        >>> median_square([[0.0], [1.0], [3.0]])
        4.0
    """
    points = vectors(x, "x", minimum=2)
    found = float(torch.pdist(points).square().median())
    if found == 0.0:
        msg = "Pairs of observations must differ, most of them: got a median distance of 0. Give `scale`, or merge copies."
        raise ValueError(msg)
    return found
