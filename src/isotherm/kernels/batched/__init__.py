"""Reductions of many problems at once, of any sizes, on points or stored matrices.

Read in this order: `batch` (how problems lie in memory), `front` (what the reductions are), `reference` (one problem after
the other), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .batch import Batch as Batch
from .front import batched_conditional_mean as batched_conditional_mean
from .front import batched_hard_min as batched_hard_min
from .front import batched_plan_apply as batched_plan_apply
from .front import batched_plan_cost as batched_plan_cost
from .front import batched_plan_grad as batched_plan_grad
from .front import batched_plan_hessian as batched_plan_hessian
from .front import batched_softmin as batched_softmin

__all__ = [
    "Batch",
    "batched_conditional_mean",
    "batched_hard_min",
    "batched_plan_apply",
    "batched_plan_cost",
    "batched_plan_grad",
    "batched_plan_hessian",
    "batched_softmin",
]
