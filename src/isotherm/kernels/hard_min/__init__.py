"""Hard minimum over one side of the problem (c-transform): bounds on exact transport.

Read in this order: `reference` (the definition).
"""

from .reference import hard_min as hard_min

__all__ = ["hard_min"]
