"""What may it have been, given that half of it was not measured? Families of answers, and whether they can be believed.

Read in this order: `masked_digits` (the data), `texture` (what few numbers leave out), `families` (answers), `judgement` (against the truth).
"""

from .families import Families as Families
from .families import families_of as families_of
from .judgement import Judgement as Judgement
from .judgement import judge as judge
from .masked_digits import MaskedImages as MaskedImages
from .masked_digits import masked_digits as masked_digits
from .texture import textured as textured
from .texture import unexplained as unexplained

__all__ = ["Families", "Judgement", "MaskedImages", "families_of", "judge", "masked_digits", "textured", "unexplained"]
