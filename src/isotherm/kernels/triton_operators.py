"""The Triton kernels as the versions for CUDA of torch's operators `isotherm::softmin`, `plan_apply` and `plan_grad`.

Importing this file registers them; the rules for shapes and derivatives are those of `isotherm.kernels.ops`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotherm.kernels.plan_apply.triton import launch_plan_apply
from isotherm.kernels.plan_grad.triton import source_grad
from isotherm.kernels.softmin.triton import launch_softmin
from isotherm.kernels.source import formula_from

__all__ = ["run_plan_apply", "run_plan_grad", "run_softmin"]


def run_softmin(x: Tensor, y: Tensor | None, h: Tensor, guess: Tensor | None, *settings: Any) -> Tensor:
    """`isotherm::softmin` on the GPU."""
    return launch_softmin(formula_from(x, y, *settings[:-1]), h, epsilon=settings[-1], guess=guess)


def run_plan_apply(x: Tensor, y: Tensor | None, p: Tensor, q: Tensor, values: Tensor, *settings: Any) -> Tensor:
    """`isotherm::plan_apply` on the GPU."""
    return launch_plan_apply(formula_from(x, y, *settings[:-1]), p, q, values, epsilon=settings[-1])


def run_plan_grad(x: Tensor, y: Tensor, p: Tensor, q: Tensor, left: Any, right: Any, *settings: Any) -> Tensor:
    """`isotherm::plan_grad` on the GPU."""
    weights = None if left is None else (left, right)
    return source_grad(formula_from(x, y, *settings[:-1]), p, q, weights, epsilon=settings[-1])


torch.library.register_kernel("isotherm::softmin", "cuda", run_softmin)
torch.library.register_kernel("isotherm::plan_apply", "cuda", run_plan_apply)
torch.library.register_kernel("isotherm::plan_grad", "cuda", run_plan_grad)
