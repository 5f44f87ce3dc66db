"""Largest difference of potential and cost along one axis of a tensor: the cold end of `axis_log_sum`.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused).
"""

from .front import axis_max as axis_max

__all__ = ["axis_max"]
