"""Mean and spread of the cost under the independent coupling, the scale that temperatures are relative to.

Read in this order: `front` (what it is), `reference` (the definition), `cpu` (the same, fused).
"""

from .front import product_sum as product_sum

__all__ = ["product_sum"]
