"""GeomLoss: `SamplesLoss` as documented, `scaling` swept until the gradient is right; it has no stopping rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from geomloss import SamplesLoss  # pyright: ignore[reportMissingImports]

from benchmarks.losses.libraries import Step
from benchmarks.workloads.libraries.geomloss import versions

if TYPE_CHECKING:
    from benchmarks.losses.tasks import Training

__all__ = ["settings", "solve", "versions"]

SCALINGS = (0.5, 0.8, 0.9, 0.95)
DENSE = 25_000_000  # pairs of one problem


def settings(task: Training, tolerance: float) -> list[str]:
    """Backend and scaling."""
    del tolerance
    if task.x.shape[1] ** 2 > DENSE:
        return ["multiscale 0.5"]
    return [f"tensorized {scaling}" for scaling in SCALINGS]


def solve(task: Training, setting: str, tolerance: float) -> Step:
    """Value and gradient; its cost is |x - y|^2 / 2, its temperature blur^2, so that both are half of ours."""
    del tolerance
    backend, scaling = setting.split()
    blur = math.sqrt(task.epsilon / 2.0)
    loss = SamplesLoss("sinkhorn", p=2, blur=blur, scaling=float(scaling), backend=backend)  # pyright: ignore[reportCallIssue]
    gradients = []
    for x, y in task.groups("float32"):
        points = x.detach().requires_grad_()
        loss(points, y).sum().backward()
        assert points.grad is not None, "this is our bug: nothing was differentiated"
        gradients.append(2.0 * points.grad)
    return Step(torch.stack(gradients).reshape(task.x.shape), None)
