"""What is the answer? A lazy matrix of masses, dense only when asked by name.

Read in this order: `abstract` (what every coupling can do), `conditional` (laws of one source, sampling), `entropic`
(from potentials), `rounding` and `rounded` (exact marginals), `sparse` (few pairs),
`low_rank` (few intermediate points).
"""

from .abstract import AbstractCoupling as AbstractCoupling
from .abstract import Marginals as Marginals
from .abstract import TopMatches as TopMatches
from .conditional import Conditional as Conditional
from .entropic import EntropicCoupling as EntropicCoupling
from .low_rank import LowRankCoupling as LowRankCoupling
from .rounded import RoundedCoupling as RoundedCoupling
from .sparse import SparseCoupling as SparseCoupling

__all__ = [
    "AbstractCoupling",
    "Conditional",
    "EntropicCoupling",
    "LowRankCoupling",
    "Marginals",
    "RoundedCoupling",
    "SparseCoupling",
    "TopMatches",
]
