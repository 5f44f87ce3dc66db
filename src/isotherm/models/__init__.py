"""What law do the data follow, and which causes lie behind each? Models to train, one to a file.

Read in this order: `model` (what all have in common), `vae`, `wae`, `aae`, `sinkhorn_autoencoder`, `evia`, `evia_langevin`,
`generator`; `boltzmann` and `critics` (what the two EVIAs share), `sinkhorn_losses` (five that share a name), `networks`,
`streams` (randomness), `training`, `weights` and `storage` (files), `catalogue` (names), `data`, `metrics`, `evaluation`,
`portrait`.
"""

from .aae import AAE as AAE
from .catalogue import MODELS as MODELS
from .data import DataSet as DataSet
from .data import load_data as load_data
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .evia import EVIA as EVIA
from .evia_langevin import ChainsWarning as ChainsWarning
from .evia_langevin import LangevinEVIA as LangevinEVIA
from .generator import SinkhornGenerator as SinkhornGenerator
from .model import AbstractModel as AbstractModel
from .sinkhorn_autoencoder import SinkhornAutoencoder as SinkhornAutoencoder
from .sinkhorn_losses import SinkhornLoss as SinkhornLoss
from .storage import load_model as load_model
from .storage import save_model as save_model
from .streams import Streams as Streams
from .training import TensorBoard as TensorBoard
from .training import Training as Training
from .vae import VAE as VAE
from .wae import WAE as WAE

__all__ = [
    "AAE",
    "EVIA",
    "MODELS",
    "VAE",
    "WAE",
    "AbstractModel",
    "ChainsWarning",
    "DataSet",
    "Evaluation",
    "LangevinEVIA",
    "SinkhornAutoencoder",
    "SinkhornGenerator",
    "SinkhornLoss",
    "Streams",
    "TensorBoard",
    "Training",
    "evaluate",
    "load_data",
    "load_model",
    "save_model",
]
