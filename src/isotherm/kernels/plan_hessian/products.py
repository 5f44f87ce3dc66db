"""Curvature of the semi-dual from two products with the plan, whoever makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def from_products(forward: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """diag(r) V - P diag(1 / c) P' V, with r and c from the same two products, U -> P U and V -> P' V; shape (N, K)."""
    means = column_means(back(torch.cat([torch.ones_like(values[:, :1]), values], dim=1)))  # (M, K)
    sums = forward(torch.cat([torch.ones_like(means[:, :1]), means], dim=1))  # (N, 1 + K)
    return sums[:, :1] * values - sums[:, 1:]


def column_means(sums: Tensor) -> Tensor:
    """From c and P' V, side by side, to P' V / c, shape (M, K); zero where a column has no mass."""
    mass = sums[:, :1]
    return torch.where(mass > 0, sums[:, 1:] / torch.where(mass > 0, mass, 1.0), 0.0)
