"""How does one photograph look in the colours of another?

`recolour` couples colours sampled from two pictures and moves every pixel of the first through the map for new points.
"""

from .recolour import Recoloured as Recoloured
from .recolour import map_colours as map_colours
from .recolour import recolour as recolour
from .recolour import sample_colours as sample_colours

__all__ = ["Recoloured", "map_colours", "recolour", "sample_colours"]
