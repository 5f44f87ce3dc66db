"""Curvature of the semi-dual in plain torch, without forming the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.plan_apply.reference import plan_block
from isotherm.kernels.plan_hessian.products import column_means
from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def plan_hessian(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """(diag(r) V - P diag(1 / c) P' V) / epsilon; see `isotherm.kernels.plan_hessian`."""
    both = torch.cat([torch.ones_like(p)[:, None], values], dim=1)  # (N, 1 + K)
    sums = torch.zeros(costs.shape[1], both.shape[1], dtype=both.dtype, device=both.device)
    for rows in row_blocks(costs):
        sums = sums + plan_block(costs, p, q, rows, epsilon=epsilon).T @ both[rows]
    means = column_means(sums)
    out = torch.empty_like(values)
    for rows in row_blocks(costs):
        plan = plan_block(costs, p, q, rows, epsilon=epsilon)  # (n, M)
        out[rows] = plan.sum(1, keepdim=True) * values[rows] - plan @ means
    return out / epsilon
