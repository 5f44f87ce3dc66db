"""Means under the rows of the plan in the compiled extension: a softmin, then a product with the plan it normalises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind, extension, plain, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["conditional_mean", "why_not"]


def conditional_mean(costs: CostSource, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.conditional_mean`.

    The rows' own sums are the last column of the product, so the rounding of the softmin cancels.
    """
    bound, threads, h = bind(costs), torch.get_num_threads(), plain(h)
    f = torch.empty(costs.shape[0], dtype=h.dtype)
    extension.softmin(bound, h, None, epsilon, f, threads)
    columns = torch.cat([plain(values), values.new_ones(values.shape[0], 1)], dim=1)  # (M, K + 1)
    out = torch.empty(costs.shape[0], columns.shape[1], dtype=h.dtype)
    extension.plan_apply(bound, f, h, columns, epsilon, out, threads)
    return out[:, :-1] / out[:, -1:]
