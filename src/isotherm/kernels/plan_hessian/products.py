"""Curvature of the semi-dual from two products with the plan, whoever makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import Formula


class PlanProduct(Protocol):
    """`isotherm.kernels.plan_apply` on one backend."""

    def __call__(self, costs: Formula, p: Tensor, q: Tensor, values: Tensor, /, *, epsilon: float) -> Tensor:
        """P V, shape (N, K)."""
        ...


def from_products(
    apply: PlanProduct, formula: Formula, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float
) -> Tensor:
    """(diag(r) V - P diag(1 / c) P' V) / epsilon, with r and c from the same two products; shape (N, K)."""
    both = torch.cat([torch.ones_like(p)[:, None], values], dim=1)  # (N, 1 + K)
    means = column_means(apply(formula.transpose(), q, p, both, epsilon=epsilon))
    columns = torch.cat([torch.ones_like(q)[:, None], means], dim=1)  # (M, 1 + K)
    sums = apply(formula, p, q, columns, epsilon=epsilon)
    return (sums[:, :1] * values - sums[:, 1:]) / epsilon


def column_means(sums: Tensor) -> Tensor:
    """From c and P' V, side by side, to P' V / c, shape (M, K); zero where a column has no mass."""
    mass = sums[:, :1]
    return torch.where(mass > 0, sums[:, 1:] / torch.where(mass > 0, mass, 1.0), 0.0)
