"""Log-sum along one axis in the compiled extension: tiles of a matrix product, nothing copied or transposed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.axes import why_not
from isotherm.kernels.compiled import extension, plain

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["axis_log_sum", "why_not"]


def axis_log_sum(h: Tensor, costs: Tensor, *, epsilon: float, weights: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.axis_log_sum`."""
    out = torch.empty(h.shape[0], costs.shape[0], h.shape[2], dtype=h.dtype)
    factors = None if weights is None else plain(weights)
    extension.axis_log_sum(plain(h), plain(costs), factors, epsilon, out, torch.get_num_threads())
    return out
