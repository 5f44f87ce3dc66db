"""GeomLoss: annealing without a stopping rule, so that `scaling` is swept until the error is met, if it ever is."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING

import torch
from geomloss import SamplesLoss  # pyright: ignore[reportMissingImports]

from benchmarks.workloads.libraries import Answer

if TYPE_CHECKING:
    from benchmarks.workloads.tasks import Task

SCALINGS = (0.9, 0.99, 0.999)


def versions() -> dict[str, str]:
    """What is measured."""
    return {name: metadata.version(name) for name in ("geomloss", "pykeops")}


def settings(task: Task, tolerance: float) -> list[str]:
    """Backend and scaling."""
    kind = "float32" if tolerance >= 1e-5 else "float64"
    backend = "tensorized" if task.pairs <= 2e7 else "online"
    if task.x is None or task.cost == "dot" or not task.is_balanced:
        return ["-"]
    if task.x.shape[1] <= 3 and task.pairs > 1e9:
        backend = "multiscale"
    return [f"{backend} {scaling} {kind}" for scaling in SCALINGS]


def prepare(task: Task, settings: list[str]) -> None:
    """Let KeOps compile, which takes longer than many a task; tensors need nothing."""
    if "tensorized" in settings[0] or settings == ["-"] or task.x is None or task.y is None:
        return
    few = replace(
        task, x=task.x[:64], y=task.y[:64], a=task.a[:64] / task.a[:64].sum(), b=task.b[:64] / task.b[:64].sum()
    )
    solve(few, settings[0], 1e-3)


def solve(task: Task, setting: str, tolerance: float) -> Answer:
    """Potentials of one annealing run; its cost is |x - y|^2 / 2, its temperature blur^2."""
    del tolerance
    if task.x is None or task.y is None or setting == "-":
        msg = "squared distances between points only, and one price for both marginals"
        raise NotImplementedError(msg)
    backend, scaling, kind = setting.split()
    dtype = getattr(torch, kind)
    x, y, a, b = (tensor.to(dtype) for tensor in (task.x, task.y, task.a, task.b))
    loss = SamplesLoss(  # pyright: ignore[reportCallIssue]
        "sinkhorn", p=2, blur=math.sqrt(task.epsilon / 2.0), scaling=float(scaling), debias=False, potentials=True,
        backend=backend,
    )  # fmt: skip
    with torch.no_grad():
        f, g = loss(a, x, b, y)
    return Answer(2.0 * f.reshape(-1).double(), 2.0 * g.reshape(-1).double(), None)
