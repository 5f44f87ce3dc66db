"""Mean and spread of the cost under the independent coupling, the scale that temperatures are relative to.

Read in this order: `reference` (the definition).
"""

from .reference import product_sum as product_sum

__all__ = ["product_sum"]
