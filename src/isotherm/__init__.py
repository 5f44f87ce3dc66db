"""Entropic optimal transport with one temperature dial, from exact transport (0) to independence (infinity).

    solution = isotherm.solve(x, y, epsilon=0.05)
    solution.value, solution.certificate, solution.coupling.barycentric_map()

The floors, from the ground up: `kernels` (reductions over all pairs), `geometry` (what does it cost?), `problem` (what
is asked?), `coupling` and `solution` (what is the answer?), `solvers` (how is it computed?), `barycenters` (what lies
between?), `divergences` (how far apart, with derivatives?), `posterior` (what may have caused this?), `models` (what law
do the data follow?), `applications` and `report` (where is it used, how does it look?), `cli`. `testing` holds closed
forms and the contract of every solver.
"""

from importlib.metadata import version as _version

from ._status import ConvergenceWarning as ConvergenceWarning
from ._status import Outcome as Outcome
from ._status import Status as Status
from .barycenters import Barycenter as Barycenter
from .barycenters import FreeSupport as FreeSupport
from .barycenters import barycenter as barycenter
from .certificate import Certificate as Certificate
from .coupling import AbstractCoupling as AbstractCoupling
from .coupling import EntropicCoupling as EntropicCoupling
from .coupling import LowRankCoupling as LowRankCoupling
from .coupling import SparseCoupling as SparseCoupling
from .divergences import MMD as MMD
from .divergences import EnergyDistance as EnergyDistance
from .divergences import EntropicValue as EntropicValue
from .divergences import Envelope as Envelope
from .divergences import HausdorffDivergence as HausdorffDivergence
from .divergences import Implicit as Implicit
from .divergences import PotentialCache as PotentialCache
from .divergences import SinkhornDivergence as SinkhornDivergence
from .divergences import SlicedWasserstein as SlicedWasserstein
from .divergences import Transport as Transport
from .divergences import TransportCost as TransportCost
from .divergences import Unroll as Unroll
from .divergences import Wasserstein as Wasserstein
from .divergences import energy_distance as energy_distance
from .divergences import entropic_value as entropic_value
from .divergences import hausdorff_divergence as hausdorff_divergence
from .divergences import mmd as mmd
from .divergences import sinkhorn_divergence as sinkhorn_divergence
from .divergences import sliced_wasserstein as sliced_wasserstein
from .divergences import transport as transport
from .divergences import transport_cost as transport_cost
from .divergences import wasserstein as wasserstein
from .geometry import Cosine as Cosine
from .geometry import CostMatrix as CostMatrix
from .geometry import Euclidean as Euclidean
from .geometry import EuclideanPower as EuclideanPower
from .geometry import Grid as Grid
from .geometry import HalfSquaredEuclidean as HalfSquaredEuclidean
from .geometry import Manhattan as Manhattan
from .geometry import NegativeDot as NegativeDot
from .geometry import PointCloud as PointCloud
from .geometry import Relative as Relative
from .geometry import SquaredEuclidean as SquaredEuclidean
from .geometry import SumOfAxes as SumOfAxes
from .posterior import Posterior as Posterior
from .problem import Problem as Problem
from .solution import Check as Check
from .solution import Solution as Solution
from .solvers import Annealed as Annealed
from .solvers import Auto as Auto
from .solvers import ConvergenceError as ConvergenceError
from .solvers import Exact as Exact
from .solvers import LogSinkhorn as LogSinkhorn
from .solvers import LowRank as LowRank
from .solvers import LowRankSolution as LowRankSolution
from .solvers import Multiscale as Multiscale
from .solvers import Newton as Newton
from .solvers import Scaling as Scaling
from .solvers import StopSolve as StopSolve
from .solvers import Symmetric as Symmetric
from .solvers import TemperaturePath as TemperaturePath
from .solvers import TwoLevel as TwoLevel
from .solvers import solve as solve
from .solvers import solve_batch as solve_batch
from .solvers import temperature_path as temperature_path

__version__ = _version("isotherm")

__all__ = [
    "MMD",
    "AbstractCoupling",
    "Annealed",
    "Auto",
    "Barycenter",
    "Certificate",
    "Check",
    "ConvergenceError",
    "ConvergenceWarning",
    "Cosine",
    "CostMatrix",
    "EnergyDistance",
    "EntropicCoupling",
    "EntropicValue",
    "Envelope",
    "Euclidean",
    "EuclideanPower",
    "Exact",
    "FreeSupport",
    "Grid",
    "HalfSquaredEuclidean",
    "HausdorffDivergence",
    "Implicit",
    "LogSinkhorn",
    "LowRank",
    "LowRankCoupling",
    "LowRankSolution",
    "Manhattan",
    "Multiscale",
    "NegativeDot",
    "Newton",
    "Outcome",
    "PointCloud",
    "Posterior",
    "PotentialCache",
    "Problem",
    "Relative",
    "Scaling",
    "SinkhornDivergence",
    "SlicedWasserstein",
    "Solution",
    "SparseCoupling",
    "SquaredEuclidean",
    "Status",
    "StopSolve",
    "SumOfAxes",
    "Symmetric",
    "TemperaturePath",
    "Transport",
    "TransportCost",
    "TwoLevel",
    "Unroll",
    "Wasserstein",
    "barycenter",
    "energy_distance",
    "entropic_value",
    "hausdorff_divergence",
    "mmd",
    "sinkhorn_divergence",
    "sliced_wasserstein",
    "solve",
    "solve_batch",
    "temperature_path",
    "transport",
    "transport_cost",
    "wasserstein",
]
