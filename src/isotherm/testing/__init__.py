"""Is the answer right?  Problems whose solution is known, for tests of this package and of yours.

Answers come from formulas, never from a solver. Read the files in this order:

    closed_form.py   problems solved by hand: 2x2, Diracs, one dimension, independence
    gaussian.py      Gaussians in any dimension, at any temperature
    linear_gaussian.py  Boltzmann posteriors of linear models
    planted.py       a problem that carries its answer, and how to plant one in any problem
    generators.py    seeded problems of every awkward shape, each with its known answer
    dense.py         every number by its definition, dense in float64
    checks.py        what is true of every solution
    contracts.py     what every solver must do
"""

from .checks import ContractError as ContractError
from .checks import check_arrays as check_arrays
from .checks import check_bounds as check_bounds
from .checks import check_dual_feasible as check_dual_feasible
from .checks import check_finite as check_finite
from .checks import check_gauge as check_gauge
from .checks import check_history as check_history
from .checks import check_marginals as check_marginals
from .checks import check_solution as check_solution
from .checks import check_support as check_support
from .checks import check_values as check_values
from .closed_form import DiscreteSolution as DiscreteSolution
from .closed_form import ExactSolution as ExactSolution
from .closed_form import dirac as dirac
from .closed_form import independent as independent
from .closed_form import one_dimensional_cost as one_dimensional_cost
from .closed_form import one_dimensional_plan as one_dimensional_plan
from .closed_form import permutation as permutation
from .closed_form import two_by_two as two_by_two
from .closed_form import two_points as two_points
from .contracts import EXACT_CONTRACT as EXACT_CONTRACT
from .contracts import SOLVER_CONTRACT as SOLVER_CONTRACT
from .contracts import as_problem as as_problem
from .contracts import check_exact_solver as check_exact_solver
from .contracts import check_solver as check_solver
from .contracts import with_budget as with_budget
from .dense import DenseSolution as DenseSolution
from .dense import ObjectiveValues as ObjectiveValues
from .dense import dense_dual_value as dense_dual_value
from .dense import dense_soft_transform as dense_soft_transform
from .dense import dense_solution as dense_solution
from .dense import gibbs_plan as gibbs_plan
from .dense import primal_values as primal_values
from .gaussian import GaussianTransport as GaussianTransport
from .gaussian import gaussian_sinkhorn_divergence as gaussian_sinkhorn_divergence
from .gaussian import gaussian_wasserstein as gaussian_wasserstein
from .generators import clusters as clusters
from .generators import cube_to_blobs as cube_to_blobs
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
from .linear_gaussian import LinearGaussianPosterior as LinearGaussianPosterior
from .linear_gaussian import optimal_critic as optimal_critic
from .planted import COSTS as COSTS
from .planted import KnownProblem as KnownProblem
from .planted import plant as plant

__all__ = [
    "COSTS",
    "EXACT_CONTRACT",
    "SOLVER_CONTRACT",
    "ContractError",
    "DenseSolution",
    "DiscreteSolution",
    "ExactSolution",
    "GaussianTransport",
    "KnownProblem",
    "LinearGaussianPosterior",
    "ObjectiveValues",
    "as_problem",
    "check_arrays",
    "check_bounds",
    "check_dual_feasible",
    "check_exact_solver",
    "check_finite",
    "check_gauge",
    "check_history",
    "check_marginals",
    "check_solution",
    "check_solver",
    "check_support",
    "check_values",
    "clusters",
    "cube_to_blobs",
    "decoupled_clusters",
    "dense_cost",
    "dense_dual_value",
    "dense_soft_transform",
    "dense_solution",
    "dirac",
    "diracs",
    "duplicates",
    "far_from_origin",
    "gaussian_grid",
    "gaussian_sinkhorn_divergence",
    "gaussian_wasserstein",
    "gibbs_plan",
    "independent",
    "known_problems",
    "matching",
    "one_dimensional_cost",
    "one_dimensional_plan",
    "optimal_critic",
    "permutation",
    "plant",
    "primal_values",
    "random_problem",
    "sorted_line",
    "two_by_two",
    "two_points",
    "with_budget",
    "worked_example",
]
