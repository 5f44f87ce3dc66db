"""Smoothed minimum over one side of the problem: the reduction a Sinkhorn step is made of.

Read in this order: `reference` (the definition).
"""

from .reference import log_sum_exp as log_sum_exp
from .reference import softmin as softmin

__all__ = ["log_sum_exp", "softmin"]
