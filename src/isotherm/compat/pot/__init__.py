"""POT's names over our solvers; `docs/compat.md` lists where answers differ.

Read in this order: `result` (what comes back), `solvers` (`solve`, `solve_sample`), `batches`, `da` (domain adaptation).
Beneath them: `regularised` (a problem between stored costs, with derivatives), `lazily` (between points), `lines`,
`arguments`.
"""

from .batches import solve_batch as solve_batch
from .batches import solve_sample_batch as solve_sample_batch
from .result import OTResult as OTResult
from .solvers import solve as solve
from .solvers import solve_sample as solve_sample

__all__ = ["OTResult", "solve", "solve_batch", "solve_sample", "solve_sample_batch"]
