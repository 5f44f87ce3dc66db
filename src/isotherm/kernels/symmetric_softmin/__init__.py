"""A softmin over the points themselves, half the pairs.

Read in this order: `front` (what it is), `reference` (the definition: any softmin), `cpu` (each pair once), `triton` (a softmin).
"""

from .front import symmetric_softmin as symmetric_softmin

__all__ = ["symmetric_softmin"]
