"""Largest difference along one axis in the compiled extension."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.axes import why_not
from isotherm.kernels.compiled import extension, plain

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["axis_max", "why_not"]


def axis_max(h: Tensor, costs: Tensor) -> Tensor:
    """See `isotherm.kernels.axis_max`."""
    out = torch.empty(h.shape[0], costs.shape[0], h.shape[2], dtype=h.dtype)
    extension.axis_max(plain(h), plain(costs), out, torch.get_num_threads())
    return out
