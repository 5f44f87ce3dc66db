"""Softmin in the compiled extension: one pass, nothing of size N x M."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind, extension, plain, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["softmin", "why_not"]


def softmin(costs: CostSource, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.softmin`."""
    out = torch.empty(costs.shape[0], dtype=h.dtype)
    shift = None if guess is None else plain(guess)
    extension.softmin(bind(costs), plain(h), shift, epsilon, out, torch.get_num_threads())
    return out
