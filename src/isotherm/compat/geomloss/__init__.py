"""GeomLoss's `SamplesLoss`, solved to a tolerance; `docs/compat.md` lists where its answers differ.

Read in this order: `samples_loss` (the module), `measures` (its call forms), `costs` (its names for costs and kernels).
"""

from .samples_loss import SamplesLoss as SamplesLoss

__all__ = ["SamplesLoss"]
