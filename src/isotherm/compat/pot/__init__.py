"""POT's functions, by their names, arguments and results, computed by isotherm's solvers.

    import isotherm.compat.pot as ot

`docs/compat.md` lists where answers differ. Read in this order: `arrays` (NumPy or torch in, the same out), `entropic`
(solves and what is said about them), `sinkhorn`, `empirical`, `barycenters`, `unbalanced`, `exact`, `utils`; `bregman`
gathers names as POT does. Then `result`, `solvers` (`solve`, `solve_sample`), `batches`, `da` (domain adaptation), and
beneath them `regularised` (a problem between stored costs, with derivatives), `lazily` (between points), `lines`,
`arguments`. `plugin` runs POT's own tests on these functions: `python -m isotherm.compat.pot PATH_OF_POT_TESTS`.
"""

from . import bregman as bregman
from . import da as da
from . import unbalanced as unbalanced
from . import utils as utils
from .barycenters import barycenter as barycenter
from .batches import solve_batch as solve_batch
from .batches import solve_sample_batch as solve_sample_batch
from .exact import emd as emd
from .exact import emd2 as emd2
from .result import OTResult as OTResult
from .sinkhorn import sinkhorn as sinkhorn
from .sinkhorn import sinkhorn2 as sinkhorn2
from .solvers import solve as solve
from .solvers import solve_sample as solve_sample
from .unbalanced import sinkhorn_unbalanced as sinkhorn_unbalanced
from .unbalanced import sinkhorn_unbalanced2 as sinkhorn_unbalanced2
from .utils import dist as dist
from .utils import unif as unif

__all__ = [
    "OTResult",
    "barycenter",
    "bregman",
    "da",
    "dist",
    "emd",
    "emd2",
    "sinkhorn",
    "sinkhorn2",
    "sinkhorn_unbalanced",
    "sinkhorn_unbalanced2",
    "solve",
    "solve_batch",
    "solve_sample",
    "solve_sample_batch",
    "unbalanced",
    "unif",
    "utils",
]
