"""POT's names over our solvers."""

from .result import OTResult as OTResult
from .solvers import solve as solve
from .solvers import solve_batch as solve_batch
from .solvers import solve_sample as solve_sample
from .solvers import solve_sample_batch as solve_sample_batch

__all__ = ["OTResult", "solve", "solve_batch", "solve_sample", "solve_sample_batch"]
