"""Hard c-transform in plain torch: the zero-temperature limit of the softmin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def hard_min(costs: CostSource, h: Tensor) -> Tensor:
    """Minimum over the targets of cost minus potential.

        f_i = min_j C_ij - h_j

    Definition and arguments: `isotherm.kernels.hard_min`.
    """
    out = torch.empty(costs.shape[0], dtype=h.dtype, device=h.device)
    for rows in row_blocks(costs):
        out[rows] = (costs.block(rows) - h).amin(-1) if h.numel() else torch.inf
    return out
