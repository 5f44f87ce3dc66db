"""Softmin in plain torch: the definition every faster version is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.source import CostSource, row_blocks

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
    """Smoothed minimum of cost minus potential over the targets.

        f_i = -epsilon * log sum_j exp((h_j - C_ij) / epsilon)

    Definition and arguments: `isotherm.kernels.softmin`.
    """
    del guess  # the maximum of each row is found anyway
    out = torch.empty(costs.shape[0], dtype=h.dtype, device=h.device)
    for rows in row_blocks(costs):
        scores = (h - costs.block(rows)).div_(epsilon)  # (n, M)
        out[rows] = -epsilon * log_sum_exp(scores)
    return out


def log_sum_exp(scores: Tensor) -> Tensor:
    """Row-wise log sum exp that owns its argument (overwritten), shape (n, M) to (n,).

    Terms more than 80 below the row's maximum are raised to it: they change the sum by less than M e^-80, and
    exponentials that underflow are an order of magnitude slower than the rest on CPUs.
    """
    if scores.shape[-1] == 0:
        return torch.full(scores.shape[:-1], -torch.inf, dtype=scores.dtype, device=scores.device)
    top = scores.detach().amax(-1)  # its derivative cancels
    shift = torch.where(top.isfinite(), top, torch.zeros_like(top))
    sums = scores.sub_(shift[..., None]).clamp_(min=-80.0).exp_().sum(-1)
    return torch.where(top == -torch.inf, top, sums.log_() + shift)
