"""What law do the data follow, and which causes lie behind each? Models to train, one to a file.

Read in this order: `model` (what all have in common), `vae`; `networks`, `streams` (randomness), `training`, `weights` and
`storage` (files), `catalogue` (names).
"""

from .catalogue import MODELS as MODELS
Read in this order: `model` (what all have in common), `vae`, `evia`, `evia_langevin`; `critics` and `boltzmann` (what the
two of them share), `networks`, `streams` (randomness), `training`.
"""

from .evia import EVIA as EVIA
from .evia_langevin import ChainsWarning as ChainsWarning
from .evia_langevin import LangevinEVIA as LangevinEVIA
from .model import AbstractModel as AbstractModel
from .storage import load_model as load_model
from .storage import save_model as save_model
Read in this order: `model` (what all have in common), `vae`, `wae`, `aae`, `sinkhorn_autoencoder`, `generator`;
`sinkhorn_losses` (four that share a name), `networks`, `streams` (randomness), `training`.
"""

from .aae import AAE as AAE
from .generator import SinkhornGenerator as SinkhornGenerator
from .model import AbstractModel as AbstractModel
from .sinkhorn_autoencoder import SinkhornAutoencoder as SinkhornAutoencoder
from .sinkhorn_losses import SinkhornLoss as SinkhornLoss
Read in this order: `model` (what all have in common), `vae`, `wae`, `aae`, `sinkhorn_autoencoder`, `generator`;
`sinkhorn_losses` (four that share a name), `networks`, `streams` (randomness), `training`, `weights` and `storage` (files),
Read in this order: `model` (what all have in common), `vae`, `wae`, `aae`, `sinkhorn_autoencoder`, `evia`, `generator`;
`boltzmann`, `critics`, `sinkhorn_losses` (four that share a name), `networks`, `streams` (randomness), `training`, `weights` and `storage` (files),
`catalogue` (names), `data`, `metrics`, `evaluation`.
"""

from .aae import AAE as AAE
from .catalogue import MODELS as MODELS
from .data import DataSet as DataSet
from .data import load_data as load_data
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate as evaluate
from .evia import EVIA as EVIA
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

__all__ = ["MODELS", "VAE", "AbstractModel", "Streams", "TensorBoard", "Training", "load_model", "save_model"]
__all__ = [
    "AAE",
    "VAE",
    "WAE",
    "AbstractModel",
__all__ = [
    "AAE",
    "EVIA",
    "MODELS",
    "VAE",
    "WAE",
    "AbstractModel",
    "DataSet",
    "Evaluation",
    "SinkhornAutoencoder",
    "SinkhornGenerator",
    "SinkhornLoss",
    "Streams",
    "Training",
]
__all__ = ["EVIA", "VAE", "AbstractModel", "Streams", "Training"]
__all__ = ["EVIA", "VAE", "AbstractModel", "ChainsWarning", "LangevinEVIA", "Streams", "Training"]
    "TensorBoard",
    "Training",
    "evaluate",
    "load_data",
    "load_model",
    "save_model",
]
