"""A whole Sinkhorn iteration, both updates at once.

Read in this order: `update` (from a softmin to a potential), `front` (what it is),
`reference` (the definition), `cpu` (the same, fused), `triton` (the same on a GPU).
"""

from .front import is_fused as is_fused
from .front import sinkhorn_step as sinkhorn_step
from .update import RowUpdate as RowUpdate

__all__ = ["RowUpdate", "is_fused", "sinkhorn_step"]
