"""Products with the entropic plan in the compiled extension: the plan exists a cache block at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import bind, extension, plain, why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource

__all__ = ["plan_apply", "plan_cost", "why_not"]


def plan_apply(costs: CostSource, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_apply`."""
    out = torch.empty(costs.shape[0], values.shape[1], dtype=values.dtype)
    threads = torch.get_num_threads()
    extension.plan_apply(bind(costs), plain(p), plain(q), plain(values), epsilon, out, threads)
    return out


def plan_cost(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
    """See `isotherm.kernels.plan_cost`, where the costs that are paid are those that define the plan."""
    out = torch.empty(costs.shape[0], dtype=p.dtype)
    extension.plan_cost(bind(costs), plain(p), plain(q), epsilon, out, torch.get_num_threads())
    return out
