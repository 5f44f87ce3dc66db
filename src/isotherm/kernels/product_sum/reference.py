"""Sums of the cost under the independent coupling, in plain torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def product_sum(costs: CostSource, a: Tensor, b: Tensor, *, centre: Tensor | None = None) -> Tensor:
    """Cost, or its squared deviation from a centre, summed under a ⊗ b.

        sum_ij a_i t(C_ij) b_j,    t(C) = C  or  (C - centre)^2

    Definition and arguments: `isotherm.kernels.product_sum`.
    """
    total = torch.zeros((), dtype=a.dtype, device=a.device)
    for rows in row_blocks(costs):
        block = costs.block(rows)
        terms = block if centre is None else (block - centre).square()
        terms = torch.where((a[rows] > 0)[:, None] & (b > 0), terms, 0.0)  # (n, M)
        total = total + a[rows] @ (terms @ b)
    return total
