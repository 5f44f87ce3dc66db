"""What lies between several measures? The measure with the least mean transport cost to all of them.

Read in this order: `barycenter` (the front door), `measures` (what comes in), `fixed` (masses on given points or a grid),
`free` (points that move), `stop`, `result` (what comes out, and whether to trust it).
"""

from .barycenter import barycenter as barycenter
from .free import FreeSupport as FreeSupport
from .result import Barycenter as Barycenter

__all__ = ["Barycenter", "FreeSupport", "barycenter"]
