"""Products with the entropic plan that never form it: marginals, barycentres, transport cost.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import plan_apply as plan_apply
from .front import plan_cost as plan_cost
from .front import plan_marginals as plan_marginals
from .reference import plan_block as plan_block

__all__ = ["plan_apply", "plan_block", "plan_cost", "plan_marginals"]
