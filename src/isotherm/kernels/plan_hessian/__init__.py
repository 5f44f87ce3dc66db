"""Curvature of the dual: Newton steps, and second derivatives of the value.

Read in this order: `front` (what it is), `reference` (the definition), `products` (from two products with the plan), `cpu`
and `triton` (whose products), `gradients` (systems with it), `value` (second derivatives, put together from the
reductions).
"""

from .front import plan_hessian as plan_hessian
from .gradients import conjugate_gradients as conjugate_gradients
from .value import value_hessian as value_hessian

__all__ = ["conjugate_gradients", "plan_hessian", "value_hessian"]
