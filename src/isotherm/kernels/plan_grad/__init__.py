"""Derivative of the transport cost by the points: what the envelope theorem asks for.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import plan_grad as plan_grad

__all__ = ["plan_grad"]
