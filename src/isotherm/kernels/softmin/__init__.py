"""Smoothed minimum over one side of the problem: the reduction a Sinkhorn step is made of.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import softmin as softmin
from .reference import log_sum_exp as log_sum_exp

__all__ = ["log_sum_exp", "softmin"]
