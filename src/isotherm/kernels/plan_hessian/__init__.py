"""Curvature of the dual: Newton steps, and second derivatives of the value.

Read in this order: `front` (what it is), `reference` (the definition), `products` (from two products with the plan), `cpu`
and `triton` (whose products), `value` (second derivatives, put together from the reductions).
"""

from .front import plan_hessian as plan_hessian
from .value import value_hessian as value_hessian

__all__ = ["plan_hessian", "value_hessian"]
