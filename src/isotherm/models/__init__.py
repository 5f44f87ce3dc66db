"""What law do the data follow, and which causes lie behind each? Models to train, one to a file.

Read in this order: `model` (what all have in common), `vae`; `networks`, `streams` (randomness), `training`.
"""

from .model import AbstractModel as AbstractModel
from .streams import Streams as Streams
from .training import Training as Training
from .vae import VAE as VAE

__all__ = ["VAE", "AbstractModel", "Streams", "Training"]
