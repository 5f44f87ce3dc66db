"""Where each sample lies within the other, told by balls around neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from isotherm._checks import check_count
from isotherm.models.metrics.inputs import both_vectors, vectors

CHUNK = 1024  # rows whose distances are held at once


@dataclass(frozen=True, kw_only=True)
class Support:
    """Fidelity and variety, each on its own.

    Attributes:
        precision: Share of the generated that lie in a ball around a real one: what is made is plausible.
        recall: Share of the real that lie in a ball around a generated one: what is real is made. Noise raises it.
        density: How many balls of real ones a generated one lies in, over k; 1 on average for the law itself.
        coverage: Share of real ones whose ball holds a generated one. Noise does not raise it.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def support(generated: Any, real: Any, *, k: int = 5) -> Support:
    """Precision, recall, density and coverage.

        B(x_i) = ball around x_i up to its k-th neighbour in its own sample, borders included
        precision = mean_j [y_j in some B(x_i)]             recall   = mean_i [x_i in some B(y_j)]
        density   = mean_j #{i : y_j in B(x_i)} / k         coverage = mean_i [some y_j in B(x_i)]

    For generated y and real x. Time O((n + m)^2 d), memory O(1024 (n + m)).

    Args:
        generated: Shape (m, *shape), more than k.
        real: Shape (n, *shape), more than k.
        k: Neighbours that make a ball.

    Returns:
        Four numbers, at least 0; all but the density at most 1.

    Raises:
        ValueError: k or fewer on a side.

    Example:
        >>> support([[0.0], [1.0], [9.0]], [[0.0], [1.0], [2.0]], k=1)  # 9 is implausible, 2 is missed but nearly made
        Support(precision=0.666..., recall=1.0, density=1.666..., coverage=1.0)

    References:
        [Kynkaanniemi2019, eq. 1-2], [Naeem2020, eq. 3-4]
    """
    check_count(k, "k")
    y, x = both_vectors(generated, real, minimum=k + 1)
    x_radii, y_radii = (nearest_distances(points, k=k) for points in (x, y))
    plausible, reached = list[Tensor](), torch.zeros(len(x), dtype=torch.bool, device=x.device)
    found = torch.zeros_like(reached)
    for rows, radii in zip(y.split(CHUNK), y_radii.split(CHUNK), strict=True):
        distances = _distances(rows, x)  # (chunk, n)
        inside = distances <= x_radii
        plausible.append(inside.sum(1))
        reached |= inside.any(0)
        found |= (distances <= radii[:, None]).any(0)
    counts = torch.cat(plausible).double()
    return Support(
        precision=float((counts > 0).double().mean()),
        recall=float(found.double().mean()),
        density=float(counts.mean() / k),
        coverage=float(reached.double().mean()),
    )


def nearest_distances(x: Any, y: Any = None, *, k: int = 1) -> Tensor:
    """Distance of each observation to its k-th nearest among others.

    Args:
        x: Shape (n, *shape).
        y: Others, shape (m, *shape), m at least k; when left out, x itself without the observation in question.
        k: Which neighbour.

    Returns:
        Shape (n,), float64, units of the observations.

    Raises:
        ValueError: Fewer than k others.

    Example:
        >>> nearest_distances([[0.0], [1.0], [3.0]])
        tensor([1., 1., 2.], dtype=torch.float64)
    """
    check_count(k, "k")
    if y is None:
        x = others = vectors(x, "x", minimum=k + 1)
    else:
        x, others = both_vectors(x, y)
        vectors(others, "y", minimum=k)
    smallest = list[Tensor]()
    for first in range(0, len(x), CHUNK):
        distances = _distances(x[first : first + CHUNK], others)
        if y is None:
            rows = torch.arange(len(distances), device=x.device)
            distances[rows, first + rows] = torch.inf  # itself, not its copies
        smallest.append(distances.kthvalue(k, dim=1).values)
    return torch.cat(smallest)


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """From differences: equal observations are at distance zero exactly."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
