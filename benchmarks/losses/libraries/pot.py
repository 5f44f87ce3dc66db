"""POT: `solve_sample` with its envelope gradient, its empirical divergence, and its scaling iteration with the gradient by hand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import ot as untyped  # pyright: ignore[reportMissingImports]
import torch

from benchmarks.losses.libraries import Potentials, Step
from benchmarks.workloads.libraries.pot import versions

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.losses.tasks import Training

__all__ = ["settings", "solve", "versions"]

ot: Any = untyped

MAX_ITERATIONS = 20_000
DENSE = 25_000_000  # pairs of one problem


def settings(task: Training, tolerance: float) -> list[str]:
    """By hand is what the documentation of its losses leaves to the user; its batches take only one problem after another."""
    del task, tolerance
    return ["by hand float32", "by hand float64", "envelope float32", "envelope float64"]


def solve(task: Training, setting: str, tolerance: float) -> Step:
    """Each problem by itself; its stopping rule is an L2 norm, so that the tolerance is divided by the root of the size."""
    if task.x.shape[1] ** 2 > DENSE:
        msg = "the costs are too many to store"
        raise NotImplementedError(msg)
    method, kind = setting.rsplit(" ", 1)
    step = by_hand if method == "by hand" else by_envelope
    limit = tolerance / math.sqrt(max(task.x.shape[1], task.y.shape[1]))
    found = [step(x, y, task.epsilon, limit) for x, y in zip(*task.clouds(kind), strict=True)]
    gradient = torch.stack([one for one, _ in found])

    def transports() -> list[tuple[Potentials, Potentials, Potentials]]:
        out = []
        for _, logs in found:
            sizes = [(len(u), len(v)) for u, v in logs]
            across, own_x, own_y = (
                (task.epsilon * (u.double() + math.log(n)), task.epsilon * (v.double() + math.log(m)))
                for (u, v), (n, m) in zip(logs, sizes, strict=True)
            )
            out.append((across, own_x, own_y))
        return out

    return Step(gradient, transports)


def by_hand(x: Tensor, y: Tensor, epsilon: float, limit: float) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """dS / dx = 2 (P_xx x - P_xy y) with plans of `sinkhorn_knopp`, all in NumPy."""
    p, q = x.numpy(), y.numpy()
    options = {"numItermax": MAX_ITERATIONS, "stopThr": limit, "log": True, "warn": False}
    plans, logs = [], []
    for one, two in ((p, q), (p, p), (q, q)):
        a, b = (np.full(len(side), 1.0 / len(side), dtype=side.dtype) for side in (one, two))
        found, log = ot.bregman.sinkhorn_knopp(a, b, ot.dist(one, two), epsilon, **options)
        plans.append(found)
        logs.append(tuple(torch.from_numpy(np.log(log[key].astype(np.float64))) for key in ("u", "v")))
    return torch.from_numpy(2.0 * (plans[1] @ p - plans[0] @ q)), logs


def by_envelope(x: Tensor, y: Tensor, epsilon: float, limit: float) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Three values of `solve_sample`, differentiated by torch."""
    points = x.detach().requires_grad_()
    options = {"reg": epsilon, "reg_type": "KL", "grad": "envelope", "max_iter": MAX_ITERATIONS, "tol": limit}
    found = [ot.solve_sample(p, q, **options) for p, q in ((points, y), (points, points), (y, y))]
    (found[0].value - 0.5 * (found[1].value + found[2].value)).backward()
    assert points.grad is not None, "this is our bug: nothing was differentiated"
    logs = [(one.potentials[0].detach(), one.potentials[1].detach()) for one in found]
    return points.grad, logs
