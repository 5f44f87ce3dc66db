"""Products with the entropic plan in plain torch, without forming the plan."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def plan_block(costs: CostSource, p: Tensor, q: Tensor, rows: slice | Tensor, *, epsilon: float) -> Tensor:
    """Rows of the plan, P_ij = exp((p_i + q_j - C_ij) / epsilon), shape (n, M).

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost.
        p: Weighted potential of the sources, f + epsilon log a, shape (N,); -inf marks no mass.
        q: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        rows: Which sources.
        epsilon: Temperature > 0, units of cost.

    Returns:
        A fresh tensor, exactly zero where a side has no mass.
    """
    return (p[rows, None] + q - costs.block(rows)).div_(epsilon).exp_()  # (n, M)


def plan_apply(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Product of the entropic plan with some vectors.

        (P V)_ik = sum_j exp((p_i + q_j - C_ij) / epsilon) V_jk

    Definition and arguments: `isotherm.kernels.plan_apply`.
    """
    kept = values * (q > -torch.inf)[:, None]  # (M, K)
    out = torch.empty(costs.shape[0], values.shape[1], dtype=values.dtype, device=values.device)
    for rows in row_blocks(costs):
        out[rows] = _positive_plan_block(costs, p, q, rows, epsilon) @ kept
    return out * (p > -torch.inf)[:, None]


def plan_cost(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float, paid: CostSource | None = None) -> Tensor:
    """Cost paid by each source under the entropic plan, sum_j P_ij C_ij; see `isotherm.kernels.plan_cost`."""
    paid = costs if paid is None else paid
    kept = (q > -torch.inf).to(p.dtype)  # (M,)
    out = torch.empty(costs.shape[0], dtype=p.dtype, device=p.device)
    for rows in row_blocks(costs):
        plan = _positive_plan_block(costs, p, q, rows, epsilon)
        out[rows] = (plan * paid.block(rows)) @ kept
    return torch.where(p > -torch.inf, out, torch.zeros_like(out))


def plan_marginals(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Row sums and column sums of the entropic plan; see `isotherm.kernels.plan_marginals`."""
    has_row, has_column = ((potential > -torch.inf).to(p.dtype) for potential in (p, q))
    row, column = torch.empty_like(p), torch.zeros_like(q)
    for rows in row_blocks(costs):
        plan = _positive_plan_block(costs, p, q, rows, epsilon)
        row[rows] = plan @ has_column
        column = column + has_row[rows] @ plan
    return row * has_row, column * has_column


def _positive_plan_block(costs: CostSource, p: Tensor, q: Tensor, rows: slice, epsilon: float) -> Tensor:
    """Rows of the plan for sums: entries that would underflow are raised to the smallest normal number.

    Underflowing exponentials are an order of magnitude slower on CPUs, and the change is far below rounding. The
    callers put back the exact zeros of points without mass.
    """
    floor = 0.95 * math.log(torch.finfo(p.dtype).tiny)
    return (p[rows, None] + q - costs.block(rows)).div_(epsilon).clamp_(min=floor).exp_()  # (n, M)
