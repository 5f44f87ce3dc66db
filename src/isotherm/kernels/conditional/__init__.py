"""Conditional laws of the plan: stochastic maps and their means, also for new points.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import conditional_mean as conditional_mean
from .reference import conditional_block as conditional_block

__all__ = ["conditional_block", "conditional_mean"]
