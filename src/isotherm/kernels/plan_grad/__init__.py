"""Derivative of the transport cost by the points: what the envelope theorem asks for.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused).
"""

from .front import plan_grad as plan_grad

__all__ = ["plan_grad"]
