"""How far are two measures apart, and in which direction do they come closer? Losses to train with.

Read in this order: `differentiation` (the three rules), `entropic` (value, transport cost, everything that is made of
potentials), `sinkhorn`, `hausdorff`, `kernel_norms` (the hot end), `exact` (the cold end), `modules`, `cache` (warm
starts). Beneath them: `term` (a problem as a differentiable function), `envelope`, `implicit`, `linear`, `partial`,
`computation` (solving terms), `dense` (many small clouds at once), `inputs` (one problem, a batch, a list), `front`.
"""

from .cache import PotentialCache as PotentialCache
from .differentiation import Envelope as Envelope
from .differentiation import Implicit as Implicit
from .differentiation import Unroll as Unroll
from .entropic import Transport as Transport
from .entropic import entropic_value as entropic_value
from .entropic import transport as transport
from .entropic import transport_cost as transport_cost
from .exact import sliced_wasserstein as sliced_wasserstein
from .exact import wasserstein as wasserstein
from .hausdorff import hausdorff_divergence as hausdorff_divergence
from .kernel_norms import energy_distance as energy_distance
from .kernel_norms import kernel_norm as kernel_norm
from .kernel_norms import mmd as mmd
from .linear import LinearReport as LinearReport
from .modules import MMD as MMD
from .modules import EnergyDistance as EnergyDistance
from .modules import EntropicValue as EntropicValue
from .modules import HausdorffDivergence as HausdorffDivergence
from .modules import SinkhornDivergence as SinkhornDivergence
from .modules import SlicedWasserstein as SlicedWasserstein
from .modules import TransportCost as TransportCost
from .modules import Wasserstein as Wasserstein
from .sinkhorn import sinkhorn_divergence as sinkhorn_divergence

__all__ = [
    "MMD",
    "EnergyDistance",
    "EntropicValue",
    "Envelope",
    "HausdorffDivergence",
    "Implicit",
    "LinearReport",
    "PotentialCache",
    "SinkhornDivergence",
    "SlicedWasserstein",
    "Transport",
    "TransportCost",
    "Unroll",
    "Wasserstein",
    "energy_distance",
    "entropic_value",
    "hausdorff_divergence",
    "kernel_norm",
    "mmd",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "transport",
    "transport_cost",
    "wasserstein",
]
