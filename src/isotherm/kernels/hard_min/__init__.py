"""Hard minimum over one side of the problem (c-transform): bounds on exact transport.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import hard_min as hard_min

__all__ = ["hard_min"]
