"""Softmin of many problems at once, of any sizes.

Read in this order: `batch` (how problems lie in memory), `front` (what it is), `reference` (the definition), `cpu` (the
same, fused).
"""

from .batch import Batch as Batch
from .front import batched_softmin as batched_softmin

__all__ = ["Batch", "batched_softmin"]
