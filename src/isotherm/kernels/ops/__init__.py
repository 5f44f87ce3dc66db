"""Fused passes as operators of torch, `torch.ops.isotherm`: recorded by autograd, traced by torch.compile.

Every operator is a pure function of tensors and numbers: points (or a stored matrix), potentials, then `kind`, `scale`
and `offset` of the costs and the temperature. Each has a rule for shapes and one for derivatives, which again calls
operators, so that another device only has to register its own version of the passes. The CPU's stand here; those of
CUDA, `isotherm.kernels.triton_operators`, register themselves when a Triton kernel is first chosen.
`plan_curvature` is plain torch and runs on every device.

Read in this order: `plan_curvature` (second derivatives, plain torch in blocks), `plan_grad`, `plan_apply`, `softmin`.
"""

from .plan_apply import plan_apply as plan_apply
from .plan_curvature import plan_curvature as plan_curvature
from .plan_grad import plan_grad as plan_grad
from .softmin import softmin as softmin

__all__ = ["plan_apply", "plan_curvature", "plan_grad", "softmin"]
