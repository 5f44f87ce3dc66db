"""Hard c-transform in plain torch: the zero-temperature limit of the softmin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def hard_min(costs: CostSource, h: Tensor) -> Tensor:
    """Minimum over the targets of cost minus potential.

        f_i = min_j C_ij - h_j

    The pair (f, h) then satisfies f_i + h_j <= C_ij: a feasible point of the Kantorovich dual, hence a lower bound
    on the exact transport cost. Time O(N M D); memory O(N + M).

    Args:
        costs: Supplies C_ij, shape (N, M), in units of cost.
        h: Potential of the targets, shape (M,); -inf removes a target from the minimum.

    Returns:
        Shape (N,), units of cost; +inf where no target is left.

    References:
        [PeyreCuturi2019, eq. 5.3]
    """
    out = torch.empty(costs.shape[0], dtype=h.dtype, device=h.device)
    for rows in row_blocks(costs):
        out[rows] = (costs.block(rows) - h).amin(-1) if h.numel() else torch.inf
    return out
