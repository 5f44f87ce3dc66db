"""How is a model trained, kept and taken up again?

Read in this order: `loop` (the steps), `state` (what changes from step to step), `order`, `schedule`, `average`,
`randomness`, `processes` (several of them), `checkpoints`, `metrics`, `interrupts`, `guard` (what is said when training fails).
"""

from .checkpoints import Checkpoints as Checkpoints
from .checkpoints import read_state as read_state
from .loop import Training as Training
from .metrics import TensorBoard as TensorBoard

__all__ = ["Checkpoints", "TensorBoard", "Training", "read_state"]
