"""How does it look?  Figures of plans, solves, bounds, temperatures, clouds and pictures.

Read in this order: `ordering` and `binning` (a plan becomes a small picture), `plans`, `dial`, `certificates`,
`convergence`, `clouds`, `pictures`, `families` (of answers); of models `observations`, `models`, `training`. Every function returns a matplotlib figure that belongs to no window; write it with
`isotherm.report.save_figure`.
"""

from .certificates import certificate_figure as certificate_figure
from .clouds import cloud_figure as cloud_figure
from .convergence import convergence_figure as convergence_figure
from .dial import dial_figure as dial_figure
from .families import coverage_figure as coverage_figure
from .families import family_figure as family_figure
from .families import heat_figure as heat_figure
from .models import codes_figure as codes_figure
from .models import entropy_figure as entropy_figure
from .models import families_figure as families_figure
from .models import reconstructions_figure as reconstructions_figure
from .models import samples_figure as samples_figure
from .models import sweep_figure as sweep_figure
from .pictures import recolour_figure as recolour_figure
from .plans import plan_figure as plan_figure
from .plans import plans_figure as plans_figure
from .training import comparison_figure as comparison_figure
from .training import training_figure as training_figure

__all__ = [
    "certificate_figure",
    "cloud_figure",
    "codes_figure",
    "comparison_figure",
    "convergence_figure",
    "coverage_figure",
    "dial_figure",
    "entropy_figure",
    "families_figure",
    "family_figure",
    "heat_figure",
    "plan_figure",
    "plans_figure",
    "recolour_figure",
    "reconstructions_figure",
    "samples_figure",
    "sweep_figure",
    "training_figure",
]
