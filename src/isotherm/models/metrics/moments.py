"""How far means and covariances are apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotherm.models.metrics.inputs import both_vectors


def frechet_distance(x: Any, y: Any) -> float:
    """Fréchet distance between Gaussians of the same means and covariances as two samples: W2 of these, squared.

        |m_x - m_y|^2 + tr(S_x + S_y - 2 (S_x^(1/2) S_y S_x^(1/2))^(1/2))

    The number that is called FID where the space is a certain network's; it is not called so here. All else about the
    laws goes unseen: a single Gaussian with the moments of the data is perfect. The root's trace is the sum of the roots
    of the eigenvalues of a symmetric, positive product, which exists at any rank. O((n + m) d^2 + d^3).

    Args:
        x: Observations or features, shape (n, *shape), n at least 2.
        y: Others, shape (m, *shape), m at least 2.

    Returns:
        In squared units of the observations.

    Raises:
        ValueError: Fewer than two on a side.

    Example:
        >>> frechet_distance([[-1.0], [1.0]], [[1.0], [5.0]])  # means 3 apart, deviations sqrt(2) and sqrt(8)
        11.0

    References:
        [DowsonLandau1982], [Heusel2017]
    """
    first, second = both_vectors(x, y, minimum=2)
    first_covariance, second_covariance = _covariance(first), _covariance(second)
    root = _square_root(first_covariance)
    shared = torch.linalg.eigvalsh(root @ second_covariance @ root).clamp_min(0.0).sqrt().sum()
    means = (first.mean(0) - second.mean(0)).square().sum()
    return max(float(means + first_covariance.trace() + second_covariance.trace() - 2.0 * shared), 0.0)


def _covariance(x: Tensor) -> Tensor:
    centred = x - x.mean(0)
    return centred.T @ centred / (len(x) - 1)


def _square_root(matrix: Tensor) -> Tensor:
    """Of a symmetric, positive matrix of any rank."""
    values, axes = torch.linalg.eigh(matrix)
    return (axes * values.clamp_min(0.0).sqrt()) @ axes.T
