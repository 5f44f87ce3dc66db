"""torchcfm's minibatch couplings, on the tensors' device; `docs/compat.md` lists where its answers differ.

Read in this order: `plan_sampler` (pairs and trajectories), `distance`.
"""

from .distance import wasserstein as wasserstein
from .plan_sampler import OTPlanSampler as OTPlanSampler

__all__ = ["OTPlanSampler", "wasserstein"]
