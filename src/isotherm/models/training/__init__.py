"""How is a model trained, kept and taken up again?

Read in this order: `loop` (the steps).
"""

from .loop import Training as Training

__all__ = ["Training"]
