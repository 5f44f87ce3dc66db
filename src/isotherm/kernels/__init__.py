"""Reductions over all pairs, or a list of them: tensors in, tensors out, nothing known of problems or solvers.

Read in this order: `pairs` and `source` (where costs come from), `pattern` and `cells` (which pairs are met), `softmin`,
`symmetric_softmin`, `hard_min`, `plan_apply`, `conditional`, `product_sum`, `sinkhorn_step`, `sinkhorn_sweeps`, `plan_grad`, `plan_hessian`,
`batched` (many problems at once), `axis_log_sum`, `axis_max` and `grid` (grids); each folder holds one reduction: its `reference`,
the definition in plain torch, and `cpu`, fused. `ops` makes operators of torch of the passes that are differentiated.
`dispatch` chooses between them; `compiled` is the way to the extension, whose sources are in csrc/ (read kernels.cpp,
pass.h, then one reduction).
"""

from .axis_log_sum import axis_log_sum as axis_log_sum
from .axis_max import axis_max as axis_max
from .batched import Batch as Batch
from .batched import batched_conditional_mean as batched_conditional_mean
from .batched import batched_hard_min as batched_hard_min
from .batched import batched_plan_apply as batched_plan_apply
from .batched import batched_plan_cost as batched_plan_cost
from .batched import batched_plan_grad as batched_plan_grad
from .batched import batched_plan_hessian as batched_plan_hessian
from .batched import batched_softmin as batched_softmin
from .cells import GROUP as GROUP
from .cells import Cells as Cells
from .cells import select_cells as select_cells
from .cells import skipped_scores as skipped_scores
from .cells import sort_into_cells as sort_into_cells
from .conditional import conditional_block as conditional_block
from .conditional import conditional_mean as conditional_mean
from .dispatch import backends as backends
from .dispatch import use as use
from .grid import GridCosts as GridCosts
from .hard_min import hard_min as hard_min
from .pattern import CELL as CELL
from .pattern import BlockPattern as BlockPattern
from .plan_apply import plan_apply as plan_apply
from .plan_apply import plan_block as plan_block
from .plan_apply import plan_cost as plan_cost
from .plan_apply import plan_marginals as plan_marginals
from .plan_grad import plan_grad as plan_grad
from .plan_grad import plan_grad_by_sources as plan_grad_by_sources
from .plan_hessian import plan_hessian as plan_hessian
from .plan_hessian import value_hessian as value_hessian
from .product_sum import product_sum as product_sum
from .sinkhorn_step import RowUpdate as RowUpdate
from .sinkhorn_step import is_fused as is_fused
from .sinkhorn_step import sinkhorn_step as sinkhorn_step
from .sinkhorn_sweeps import Sweeps as Sweeps
from .sinkhorn_sweeps import Swept as Swept
from .sinkhorn_sweeps import is_swept as is_swept
from .sinkhorn_sweeps import sinkhorn_sweeps as sinkhorn_sweeps
from .softmin import log_sum_exp as log_sum_exp
from .softmin import softmin as softmin
from .source import BLOCK_ENTRIES as BLOCK_ENTRIES
from .source import CostSource as CostSource
from .source import Formula as Formula
from .source import row_blocks as row_blocks
from .stored import all_costs as all_costs
from .symmetric_softmin import symmetric_softmin as symmetric_softmin
from .work import Work as Work
from .work import count_work as count_work

__all__ = [
    "BLOCK_ENTRIES",
    "CELL",
    "GROUP",
    "Batch",
    "BlockPattern",
    "Cells",
    "CostSource",
    "Formula",
    "GridCosts",
    "RowUpdate",
    "Sweeps",
    "Swept",
    "Work",
    "all_costs",
    "axis_log_sum",
    "axis_max",
    "backends",
    "batched_conditional_mean",
    "batched_hard_min",
    "batched_plan_apply",
    "batched_plan_cost",
    "batched_plan_grad",
    "batched_plan_hessian",
    "batched_softmin",
    "conditional_block",
    "conditional_mean",
    "count_work",
    "hard_min",
    "is_fused",
    "is_swept",
    "log_sum_exp",
    "plan_apply",
    "plan_block",
    "plan_cost",
    "plan_grad",
    "plan_grad_by_sources",
    "plan_hessian",
    "plan_marginals",
    "product_sum",
    "row_blocks",
    "select_cells",
    "sinkhorn_step",
    "sinkhorn_sweeps",
    "skipped_scores",
    "softmin",
    "sort_into_cells",
    "symmetric_softmin",
    "use",
    "value_hessian",
]
