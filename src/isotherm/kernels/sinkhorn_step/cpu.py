"""One Sinkhorn iteration in the compiled extension: one exponential per pair serves both updates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind, extension, handed, plain, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.sinkhorn_step.update import RowUpdate
    from isotherm.kernels.source import CostSource

__all__ = ["sinkhorn_step", "why_not"]


def sinkhorn_step(
    costs: CostSource, f: Tensor, h: Tensor, log_a: Tensor, update: RowUpdate, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """See `isotherm.kernels.sinkhorn_step`."""
    sources, targets = costs.shape
    raw, updated, g = (torch.empty(size, dtype=h.dtype) for size in (sources, sources, targets))
    settings = (epsilon, update.damping, float(update.shift), update.relaxation)
    given = (plain(h), plain(f), plain(update.guess(f)), plain(log_a))
    extension.sinkhorn_step(bind(costs), *given, *settings, *map(handed, (raw, updated, g)), torch.get_num_threads())
    return raw, updated, g
