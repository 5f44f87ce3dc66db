"""Is the answer right?  Problems whose solution is known, for tests of this package and of yours.

Nothing here calls a solver. Read the files in this order:

    closed_form.py   problems solved by hand: 2x2, Diracs, one dimension, independence
    gaussian.py      Gaussians in any dimension, at any temperature
    planted.py       a problem that carries its answer, and how to plant one in any problem
    generators.py    seeded problems of every awkward shape, each with its known answer
"""

from .closed_form import DiscreteSolution as DiscreteSolution
from .closed_form import ExactSolution as ExactSolution
from .closed_form import dirac as dirac
from .closed_form import independent as independent
from .closed_form import one_dimensional_cost as one_dimensional_cost
from .closed_form import one_dimensional_plan as one_dimensional_plan
from .closed_form import permutation as permutation
from .closed_form import two_by_two as two_by_two
from .closed_form import two_points as two_points
from .gaussian import GaussianTransport as GaussianTransport
from .gaussian import gaussian_sinkhorn_divergence as gaussian_sinkhorn_divergence
from .gaussian import gaussian_wasserstein as gaussian_wasserstein
from .generators import clusters as clusters
from .generators import decoupled_clusters as decoupled_clusters
from .generators import dense_cost as dense_cost
from .generators import diracs as diracs
from .generators import duplicates as duplicates
from .generators import far_from_origin as far_from_origin
from .generators import gaussian_grid as gaussian_grid
from .generators import known_problems as known_problems
from .generators import matching as matching
from .generators import random_problem as random_problem
from .generators import sorted_line as sorted_line
from .generators import worked_example as worked_example
from .planted import COSTS as COSTS
from .planted import KnownProblem as KnownProblem
from .planted import plant as plant

__all__ = [
    "COSTS",
    "DiscreteSolution",
    "ExactSolution",
    "GaussianTransport",
    "KnownProblem",
    "clusters",
    "decoupled_clusters",
    "dense_cost",
    "dirac",
    "diracs",
    "duplicates",
    "far_from_origin",
    "gaussian_grid",
    "gaussian_sinkhorn_divergence",
    "gaussian_wasserstein",
    "independent",
    "known_problems",
    "matching",
    "one_dimensional_cost",
    "one_dimensional_plan",
    "permutation",
    "plant",
    "random_problem",
    "sorted_line",
    "two_by_two",
    "two_points",
    "worked_example",
]
