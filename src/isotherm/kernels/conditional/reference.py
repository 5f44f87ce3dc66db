"""Rows of the entropic plan normalised to probabilities, in plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def conditional_block(costs: CostSource, h: Tensor, rows: slice | Tensor, *, epsilon: float) -> Tensor:
    """Conditional law of the target given some sources, P(j | i), shape (n, M).

        P(j | i) = exp((h_j - C_ij) / epsilon) / sum_k exp((h_k - C_ik) / epsilon)

    The source's own potential cancels, so the law is defined for points that the solver never saw.

    Args:
        costs: Supplies C_ij, shape (N, M), units of cost.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,); -inf marks no mass.
        rows: Which sources.
        epsilon: Temperature > 0, units of cost.

    Returns:
        Rows that sum to one.
    """
    return torch.softmax((h - costs.block(rows)).div_(epsilon), dim=-1)


def conditional_mean(costs: CostSource, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Mean of some values of the targets under P(j | i): the barycentric map.

        T_ik = sum_j P(j | i) V_jk

    Definition and arguments: `isotherm.kernels.conditional_mean`.
    """
    out = torch.empty(costs.shape[0], values.shape[1], dtype=values.dtype, device=values.device)
    if not h.numel():
        return out.fill_(torch.nan)
    for rows in row_blocks(costs):
        scores = (h - costs.block(rows)).div_(epsilon)  # (n, M)
        top = scores.detach().amax(-1, keepdim=True)  # its derivative cancels
        weights = scores.sub_(top).clamp_(min=-80.0).exp_() * (h > -torch.inf)
        out[rows] = (weights @ values) / weights.sum(-1, keepdim=True)
    return out
