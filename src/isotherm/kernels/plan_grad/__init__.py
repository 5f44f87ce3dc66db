"""Derivative of the transport cost by the points: what the envelope theorem asks for.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import plan_grad as plan_grad
from .front import plan_grad_by_sources as plan_grad_by_sources

__all__ = ["plan_grad", "plan_grad_by_sources"]
