"""Blocks of relaxed Sinkhorn sweeps of many small problems at once.

Read in this order: `sweeps` (what is asked and what comes back), `front` (what it is), `reference` (the definition,
problems padded to one size), `cpu` (the same, on a kernel that is kept between sweeps).
"""

from .front import is_swept as is_swept
from .front import sinkhorn_sweeps as sinkhorn_sweeps
from .sweeps import Sweeps as Sweeps
from .sweeps import Swept as Swept

__all__ = ["Sweeps", "Swept", "is_swept", "sinkhorn_sweeps"]
