"""The front door, as a user calls it; no setting is chosen by hand but the dtype."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

import isotherm
from benchmarks.workloads.libraries import Answer
from isotherm.geometry import CostMatrix, Grid
from isotherm.kernels import count_work

if TYPE_CHECKING:
    from benchmarks.workloads.tasks import Task

__all__ = ["count_work", "settings", "solve", "versions"]

SMALL = 10_000_000  # pairs
DTYPE = {"float32": torch.float32, "float64": torch.float64}


def versions() -> dict[str, str]:
    """What is measured."""
    return {name: metadata.version(name) for name in ("isotherm", "torch")}


def settings(task: Task, tolerance: float) -> list[str]:
    """float32 down to the tolerance it resolves; float64 beside it where it could be as quick."""
    if tolerance < 1e-5:
        return ["float64"]
    return ["float32", "float64"] if task.pairs <= SMALL else ["float32"]


def solve(task: Task, setting: str, tolerance: float) -> Answer:
    """Solve with the default solver."""
    dtype = DTYPE[setting]
    weights = {"a": task.a.to(dtype), "b": task.b.to(dtype)}
    options: dict[str, Any] = {
        "epsilon": task.epsilon,
        "tolerance": tolerance,
        "rho_a": task.rho_a,
        "rho_b": task.rho_b,
    }
    options |= weights | {"on_failure": "ignore"}
    if task.matrix is not None:
        solution = isotherm.solve(CostMatrix(task.matrix.to(dtype)), **options)
    elif task.sizes is not None:
        solution = isotherm.solve(Grid([torch.arange(size, dtype=dtype) for size in task.sizes]), **options)
    else:
        cost = "negative_dot" if task.cost == "dot" else task.cost
        solution = isotherm.solve(*(points.to(dtype) for points in task.points), cost=cost, **options)
    f, g = solution.potentials
    return Answer(f, g, solution.iterations, solution.status.is_converged, solution.method)
