"""POT: its matrix-vector iteration, its log-domain one, its lazy one for clouds that are too large to store."""

from __future__ import annotations

import math
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np
import ot as untyped  # pyright: ignore[reportMissingImports]
import torch

from benchmarks.workloads.libraries import Answer

if TYPE_CHECKING:
    from benchmarks.workloads.tasks import Task

ot: Any = untyped

MAX_ITERATIONS = 20_000
DENSE = 400_000_000  # pairs


def versions() -> dict[str, str]:
    """What is measured."""
    return {"POT": metadata.version("POT")}


def settings(task: Task, tolerance: float) -> list[str]:
    """Method and dtype."""
    if task.pairs > DENSE:
        return ["lazy float32"]
    methods = ["sinkhorn"] if not task.is_balanced else ["sinkhorn", "log"]
    dtypes = ["float32", "float64"] if tolerance >= 1e-5 else ["float64"]
    return [f"{method} {dtype}" for method in methods for dtype in dtypes]


def solve(task: Task, setting: str, tolerance: float) -> Answer:
    """Solve by name; its stopping rule is an L2 norm, so that the L1 tolerance is divided by the root of the size."""
    method, kind = setting.split()
    a, b = (w.numpy().astype(kind) for w in (task.a, task.b))
    limit = tolerance / math.sqrt(max(task.shape))
    options = {"numItermax": MAX_ITERATIONS, "stopThr": limit, "log": True, "warn": False}
    if method == "lazy":
        if task.cost != "sqeuclidean" or not task.is_balanced:
            msg = "its lazy solver is balanced, and its metric here the squared distance"
            raise NotImplementedError(msg)
        points = (p.to(getattr(torch, kind)) for p in task.points)
        weights = (w.to(getattr(torch, kind)) for w in (task.a, task.b))
        options["stopThr"] = tolerance  # this one is an L1 norm
        f, g, log = ot.bregman.empirical_sinkhorn(
            *points, task.epsilon, *weights, isLazy=True, batchSize=2000, **options
        )
        return answer(task, f.double(), g.double(), len(log["err"]) * 10)
    if task.matrix is not None:
        costs = task.matrix.numpy().astype(kind)
    elif task.cost == "dot":
        x, y = (points.numpy().astype(kind) for points in task.points)
        costs = -x @ y.T
    else:
        costs = ot.dist(*(points.numpy().astype(kind) for points in task.points))
    if not task.is_balanced:
        prices = (task.rho_a, task.rho_b)
        _, log = ot.unbalanced.sinkhorn_unbalanced(a, b, costs, task.epsilon, prices, reg_type="kl", **options)
        f, g = (task.epsilon * torch.from_numpy(np.asarray(log[k])).double() for k in ("logu", "logv"))
        return Answer(f, g, len(log["err"]) * 10)
    if method == "log":
        a, b, costs = (torch.from_numpy(array) for array in (a, b, costs))
        _, log = ot.bregman.sinkhorn_log(a, b, costs, task.epsilon, **options)
        return answer(task, log["log_u"].double(), log["log_v"].double(), log["niter"])
    _, log = ot.bregman.sinkhorn_knopp(a, b, costs, task.epsilon, **options)
    with np.errstate(divide="ignore"):
        u, v = (torch.from_numpy(np.log(log[k].astype(np.float64))) for k in ("u", "v"))
    return answer(task, u, v, log["niter"])


def answer(task: Task, log_u: torch.Tensor, log_v: torch.Tensor, iterations: int) -> Answer:
    """From scalings of exp(-C / epsilon) to potentials against a ⊗ b."""
    return Answer(task.epsilon * (log_u - task.a.log()), task.epsilon * (log_v - task.b.log()), iterations)
