"""Log-sum along one axis of a tensor: the pass a grid with a separable cost is made of.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused).
"""

from .front import axis_log_sum as axis_log_sum

__all__ = ["axis_log_sum"]
