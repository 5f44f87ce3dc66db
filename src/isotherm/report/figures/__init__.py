"""How does it look?  Figures of plans, solves, bounds, temperatures, clouds and pictures.

Read in this order: `ordering` and `binning` (a plan becomes a small picture), `plans`, `dial`, `certificates`,
`convergence`, `clouds`, `pictures`, `families` (of answers); of models `observations`, `models`, `comparisons`. Every
function returns a matplotlib figure that belongs to no window; write it with `isotherm.report.save_figure`.
"""

from .certificates import certificate_figure as certificate_figure
from .clouds import cloud_figure as cloud_figure
from .comparisons import comparison_figure as comparison_figure
from .comparisons import curves_figure as curves_figure
from .convergence import convergence_figure as convergence_figure
from .dial import dial_figure as dial_figure
from .families import coverage_figure as coverage_figure
from .families import family_figure as family_figure
from .families import heat_figure as heat_figure
from .models import codes_figure as codes_figure
from .models import entropy_figure as entropy_figure
from .models import posteriors_figure as posteriors_figure
from .models import reconstructions_figure as reconstructions_figure
from .models import samples_figure as samples_figure
from .models import sweep_figure as sweep_figure
from .pictures import recolour_figure as recolour_figure
from .plans import plan_figure as plan_figure
from .plans import plans_figure as plans_figure

__all__ = [
    "certificate_figure",
    "cloud_figure",
    "codes_figure",
    "comparison_figure",
    "convergence_figure",
    "coverage_figure",
    "curves_figure",
    "dial_figure",
    "entropy_figure",
    "family_figure",
    "heat_figure",
    "plan_figure",
    "plans_figure",
    "posteriors_figure",
    "recolour_figure",
    "reconstructions_figure",
    "samples_figure",
    "sweep_figure",
]
