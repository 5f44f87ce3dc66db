"""How is it computed? One method per file, each a frozen object of settings with `run(problem)`.

Read in this order: `solve` (the front door), `auto` (which solver, and why), `log_sinkhorn`, `scaling`, `relaxation` (the
iteration of both), `annealed`, `multiscale` (on `levels`), `two_level` (on `sample`, `slow_modes`, `anderson`), `symmetric`, `newton`, `exact`, `initial` (where to start), `translation` (unbalanced
problems), `stopping` (the loop and its judgement), `blocks` (the loop on small problems), `work` (many loops at once),
`solve_batch`, `progress`, `temperature_path` (the dial), `abstract`. `low_rank` stands apart: another problem, asked for by
name.
"""

from .abstract import AbstractSinkhorn as AbstractSinkhorn
from .abstract import AbstractSolver as AbstractSolver
from .annealed import Annealed as Annealed
from .auto import Auto as Auto
from .exact import Exact as Exact
from .log_sinkhorn import LogSinkhorn as LogSinkhorn
from .low_rank import LowRank as LowRank
from .low_rank import LowRankSolution as LowRankSolution
from .multiscale import Multiscale as Multiscale
from .newton import Newton as Newton
from .scaling import Scaling as Scaling
from .solve import ConvergenceError as ConvergenceError
from .solve import solve as solve
from .solve_batch import solve_batch as solve_batch
from .stopping import StopSolve as StopSolve
from .symmetric import Symmetric as Symmetric
from .temperature_path import TemperaturePath as TemperaturePath
from .temperature_path import temperature_path as temperature_path
from .two_level import TwoLevel as TwoLevel

__all__ = [
    "AbstractSinkhorn",
    "AbstractSolver",
    "Annealed",
    "Auto",
    "ConvergenceError",
    "Exact",
    "LogSinkhorn",
    "LowRank",
    "LowRankSolution",
    "Multiscale",
    "Newton",
    "Scaling",
    "StopSolve",
    "Symmetric",
    "TemperaturePath",
    "TwoLevel",
    "solve",
    "solve_batch",
    "temperature_path",
]
