"""What one writes without a library: alternating log-domain updates in torch, gradients by the envelope theorem."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.losses.libraries import Potentials, Step
from benchmarks.workloads.libraries.torch import versions

if TYPE_CHECKING:
    from benchmarks.losses.tasks import Training

__all__ = ["settings", "solve", "versions"]

MAX_ITERATIONS = 1000
DENSE = 25_000_000  # pairs of one problem


def settings(task: Training, tolerance: float) -> list[str]:
    """float64 is no slower here than float32, whose exponential is slow where it underflows."""
    del task, tolerance
    return ["float32", "float64"]


def solve(task: Training, setting: str, tolerance: float) -> Step:
    """dS / dx = 2 (P_xx x - P_xy y)."""
    if task.x.shape[1] ** 2 > DENSE:
        msg = "the costs are too many to store"
        raise NotImplementedError(msg)
    gradients, kept = [], list[list[Potentials]]()
    for group in task.groups(setting):
        x, y = (points.reshape(-1, *points.shape[-2:]) for points in group)
        across, plan = transport(x, y, task.epsilon, tolerance)
        own_x, own_plan = transport(x, x, task.epsilon, tolerance)
        own_y, _ = transport(y, y, task.epsilon, tolerance)
        gradients.append(2.0 * (own_plan @ x - plan @ y))
        kept += [[(f[k], g[k]) for f, g in (across, own_x, own_y)] for k in range(len(x))]
    return Step(torch.cat(gradients), lambda: [(across, own_x, own_y) for across, own_x, own_y in kept])


def transport(x: Tensor, y: Tensor, epsilon: float, tolerance: float) -> tuple[Potentials, Tensor]:
    """Potentials (B, N) and (B, M), and plans (B, N, M)."""
    squares = x.square().sum(2)[:, :, None] + y.square().sum(2)[:, None]
    scores = (2.0 * x @ y.mT - squares) / epsilon  # (B, N, M)
    n, m = scores.shape[1:]
    is_own = x is y
    f, g = scores.new_zeros(scores.shape[:2]), scores.new_zeros(len(x), m)
    for _ in range(MAX_ITERATIONS):
        raw = -((scores + g[:, None]).logsumexp(2) - torch.tensor(float(m)).log())
        if float(((f - raw).exp() - 1.0).abs().mean(1).max()) <= tolerance and bool(f.any()):
            break
        f = 0.5 * (f + raw) if is_own else raw
        g = f if is_own else -((scores + f[:, :, None]).logsumexp(1) - torch.tensor(float(n)).log())
    plan = (scores + f[:, :, None] + g[:, None]).exp() / (n * m)
    return (epsilon * f, epsilon * g), plan
