"""The compiled kernels; an error, not plain torch, where they cannot run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import isotherm
from isotherm import kernels

if TYPE_CHECKING:
    from benchmarks.cases import Case
    from benchmarks.inputs import Inputs

BACKEND = "cpu"


def versions() -> dict[str, str]:
    """What is measured."""
    return {"isotherm": isotherm.__version__, "torch": torch.__version__}


def prepare(case: Case, inputs: Inputs, backend: str = BACKEND) -> Callable[[], tuple[Tensor, ...]]:
    """Bind the arguments of one reduction."""
    reduce = bind(case, inputs)

    def call() -> tuple[Tensor, ...]:
        with kernels.use(backend), torch.no_grad():
            out = reduce()
        return out if isinstance(out, tuple) else (out,)

    return call


def bind(case: Case, inputs: Inputs) -> Callable[[], Tensor | tuple[Tensor, ...]]:
    """The reduction as isotherm spells it."""
    costs, epsilon, h, p = inputs.costs, inputs.epsilon, inputs.h, inputs.p
    values = inputs.values
    points = values if costs.target_points is None else costs.target_points
    one = values[:, :1].contiguous()
    update = kernels.RowUpdate()
    return {
        "softmin": lambda: kernels.softmin(costs, h, epsilon=epsilon, guess=inputs.f),
        "softmin_cold": lambda: kernels.softmin(costs, h, epsilon=epsilon),
        "hard_min": lambda: kernels.hard_min(costs, h),
        "plan_apply_1": lambda: kernels.plan_apply(costs, p, h, one, epsilon=epsilon),
        "plan_apply_3": lambda: kernels.plan_apply(costs, p, h, values, epsilon=epsilon),
        "plan_cost": lambda: kernels.plan_cost(costs, p, h, epsilon=epsilon),
        "conditional_mean": lambda: kernels.conditional_mean(costs, h, points, epsilon=epsilon),
        "step": lambda: kernels.sinkhorn_step(costs, inputs.f, h, inputs.log_a, update, epsilon=epsilon),
        "plan_grad": lambda: kernels.plan_grad(costs, p, h, epsilon=epsilon),
    }[case.operation]
