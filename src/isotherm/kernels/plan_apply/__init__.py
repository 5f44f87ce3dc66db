"""Products with the entropic plan that never form it: marginals, barycentres, transport cost.

Read in this order: `reference` (the definition).
"""

from .reference import plan_apply as plan_apply
from .reference import plan_block as plan_block
from .reference import plan_cost as plan_cost

__all__ = ["plan_apply", "plan_block", "plan_cost"]
