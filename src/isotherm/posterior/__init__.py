"""Which causes may have made this observation, and how sure is that? Boltzmann posteriors at a temperature.

Read in this order: `posterior` (what it is, all that it can do), `reference` (where candidates come from), `forward` (what a
cause would look like), `observation` (what is seen of that), `conditioning` (what is linear, integrated out), `reweighting`
(candidates and their weights), `langevin` (chains), `chains` (whether they can be trusted), `mode` (the cold end).
"""

from .chains import Chains as Chains
from .forward import LinearForward as LinearForward
from .forward import PartlyLinearForward as PartlyLinearForward
from .langevin import Langevin as Langevin
from .mode import Mode as Mode
from .observation import AbstractObservation as AbstractObservation
from .observation import Direct as Direct
from .observation import FourierMask as FourierMask
from .observation import wedge_mask as wedge_mask
from .posterior import Posterior as Posterior
from .reference import AbstractReference as AbstractReference
from .reference import GaussianReference as GaussianReference
from .reference import SampleReference as SampleReference
from .reweighting import EffectiveSizeWarning as EffectiveSizeWarning
from .reweighting import Reweighted as Reweighted

__all__ = [
    "AbstractObservation",
    "AbstractReference",
    "Chains",
    "Direct",
    "EffectiveSizeWarning",
    "FourierMask",
    "GaussianReference",
    "Langevin",
    "LinearForward",
    "Mode",
    "PartlyLinearForward",
    "Posterior",
    "Reweighted",
    "SampleReference",
    "wedge_mask",
]
