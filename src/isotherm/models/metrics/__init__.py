"""How far are generated observations from real ones, and in which way? Numbers that mean something beside their floor.

Read in this order: `inputs`, `transport` (W2), `moments` (Fréchet distance), `discrepancy` (MMD), `neighbours` (precision,
recall, density, coverage), `memory` (copies of the training data), `reconstruction`, `latent` (form of posteriors), `features` (where to measure),
`bootstrap` (how sure).
"""

from .bootstrap import Interval as Interval
from .bootstrap import bootstrap_interval as bootstrap_interval
from .discrepancy import imq_discrepancy as imq_discrepancy
from .discrepancy import median_square as median_square
from .features import ClassFeatures as ClassFeatures
from .features import class_features as class_features
from .latent import PosteriorForm as PosteriorForm
from .latent import posterior_form as posterior_form
from .memory import Memorisation as Memorisation
from .memory import memorisation as memorisation
from .moments import frechet_distance as frechet_distance
from .neighbours import Support as Support
from .neighbours import nearest_distances as nearest_distances
from .neighbours import support as support
from .reconstruction import principal_error as principal_error
from .reconstruction import reconstruction_error as reconstruction_error
from .transport import transport_distance as transport_distance

__all__ = [
    "ClassFeatures",
    "Interval",
    "Memorisation",
    "PosteriorForm",
    "Support",
    "bootstrap_interval",
    "class_features",
    "frechet_distance",
    "imq_discrepancy",
    "median_square",
    "memorisation",
    "nearest_distances",
    "posterior_form",
    "principal_error",
    "reconstruction_error",
    "support",
    "transport_distance",
]
