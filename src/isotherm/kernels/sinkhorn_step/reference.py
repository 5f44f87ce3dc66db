"""One Sinkhorn iteration in plain torch: two exponentials per pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.softmin import reference as softmin_reference
from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.sinkhorn_step.update import RowUpdate


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def sinkhorn_step(
    costs: CostSource, f: Tensor, h: Tensor, log_a: Tensor, update: RowUpdate, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Update of the potentials of the sources, then of the targets; see `isotherm.kernels.sinkhorn_step`."""
    raw = softmin_reference.softmin(costs, h, epsilon=epsilon)
    updated = update(f, raw)
    p = updated + log_a
    total = torch.full((costs.shape[1],), -torch.inf, dtype=h.dtype, device=h.device)
    for rows in row_blocks(costs):
        scores = (p[rows, None] - costs.block(rows)) / epsilon  # (n, M)
        total = torch.logaddexp(total, scores.logsumexp(0))
    return raw, updated, -epsilon * total
