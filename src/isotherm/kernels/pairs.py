"""Costs between points in plain torch, with the derivatives that stay finite where points coincide."""

from __future__ import annotations

import torch
from torch import Tensor

MAX_DIFFERENCE_DIMENSION = 8  # up to here costs come from differences: no cancellation at small epsilon


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, shape (n, m): from differences in low dimension, from inner products above it."""
    if x.shape[1] <= MAX_DIFFERENCE_DIMENSION:
        total = (x[:, 0, None] - y[:, 0]).square()  # (n, m)
        for d in range(1, x.shape[1]):
            total = total + (x[:, d, None] - y[:, d]).square()
        return total
    norms = x.square().sum(1)[:, None] + y.square().sum(1)  # (n, m)
    return torch.addmm(norms, x, y.T, alpha=-2.0).clamp(min=0.0)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|, shape (n, m): from differences in every dimension, its derivative zero where points coincide."""
    if x.shape[1] <= MAX_DIFFERENCE_DIMENSION:
        return safe_power(squared_distances(x, y), 0.5)
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


def safe_power(base: Tensor, exponent: float) -> Tensor:
    """base ** exponent whose derivative at zero is zero instead of infinite or NaN."""
    positive = base > 0
    return torch.where(positive, torch.where(positive, base, 1.0).pow(exponent), 0.0)
