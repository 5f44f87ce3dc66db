"""The loss as a user calls it; no setting is chosen by hand but the dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

import isotherm
from benchmarks.losses.libraries import Potentials, Step
from benchmarks.workloads.libraries.isotherm import versions
from isotherm.divergences.dense import dense_batch

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.losses.tasks import Training

__all__ = ["settings", "solve", "versions"]


def settings(task: Training, tolerance: float) -> list[str]:
    """float32, in which networks are trained."""
    del task, tolerance
    return ["float32"]


def solve(task: Training, setting: str, tolerance: float) -> Step:
    """Value and gradient."""
    gradients, values = [], []
    for x, y in task.groups(setting):
        points = x.detach().requires_grad_()
        values.append(isotherm.sinkhorn_divergence(points, y, epsilon=task.epsilon, tolerance=tolerance))
        values[-1].sum().backward()
        gradients.append(points.grad)
    gradient = torch.stack(gradients).reshape(task.x.shape)

    def transports() -> list[tuple[Potentials, Potentials, Potentials]]:
        return [potentials(x, y, task.epsilon, tolerance) for x, y in zip(*task.clouds(setting), strict=True)]

    return Step(gradient, transports)


def potentials(x: Tensor, y: Tensor, epsilon: float, tolerance: float) -> tuple[Potentials, Potentials, Potentials]:
    """Those that the loss was made of: equal input gives equal bits."""
    batch = dense_batch(x, y, (None, None), epsilon, None)
    found = None if batch is None else batch.solve(tolerance, by_x=False, by_y=False)
    if found is not None:
        across, own_x, own_y = ((f[0], g[0]) for f, g in found.potentials)
        return across, own_x, own_y
    sides = (x, y), (x, x), (y, y)
    across, own_x, own_y = (
        isotherm.solve(p, q, epsilon=epsilon, tolerance=tolerance, on_failure="ignore").potentials for p, q in sides
    )
    return across, own_x, own_y
