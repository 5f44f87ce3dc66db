"""Conditional laws of the plan: stochastic maps and their means, also for new points.

Read in this order: `reference` (the definition).
"""

from .reference import conditional_block as conditional_block
from .reference import conditional_mean as conditional_mean

__all__ = ["conditional_block", "conditional_mean"]
