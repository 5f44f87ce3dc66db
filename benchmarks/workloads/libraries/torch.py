"""What one writes without a library: alternating log-domain updates in torch, dense or by blocks of rows."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.workloads.libraries import Answer

if TYPE_CHECKING:
    from benchmarks.workloads.tasks import Task

MAX_ITERATIONS = 20_000
BLOCK = 1 << 22
DENSE = 25_000_000  # pairs


def versions() -> dict[str, str]:
    """What is measured."""
    return {"torch": metadata.version("torch")}


def settings(task: Task, tolerance: float) -> list[str]:
    """float64 is no slower here than float32, whose exponential is slow where it underflows."""
    del task
    return ["log float64", "log float32"] if tolerance >= 1e-5 else ["log float64"]


def solve(task: Task, setting: str, tolerance: float) -> Answer:
    """Iterate until the L1 error of the source marginal, looked at every iteration, is met."""
    dtype = getattr(torch, setting.split()[1])
    costs = Costs(task, dtype)
    log_a, log_b, epsilon = task.a.to(dtype).log(), task.b.to(dtype).log(), task.epsilon
    damping_a, damping_b = 1.0 / (1.0 + epsilon / task.rho_a), 1.0 / (1.0 + epsilon / task.rho_b)
    f, g = torch.zeros(len(log_a), dtype=dtype), torch.zeros(len(log_b), dtype=dtype)
    count = 0
    for count in range(1, MAX_ITERATIONS + 1):
        raw = -epsilon * costs.rows(g / epsilon + log_b, epsilon)
        want = task.a.to(dtype) * (-f / task.rho_a).exp()
        error = float((task.a.to(dtype) * ((f - raw) / epsilon).exp() - want).abs().sum() / want.sum())
        if count > 1 and error <= tolerance:
            break
        f = damping_a * raw
        g = -damping_b * epsilon * costs.columns(f / epsilon + log_a, epsilon)
    return Answer(f, g, count, count < MAX_ITERATIONS)


class Costs:
    """Costs in memory where they are few, else made again block by block."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        self.task, self.dtype, self.shape = task, dtype, task.shape
        self.matrix = None
        if task.matrix is not None or task.pairs <= DENSE:
            self.matrix = task.costs(slice(None)).to(dtype)
        else:
            self.x, self.y = (points.to(dtype) for points in task.points)

    def block(self, rows: slice) -> Tensor:
        """Some rows."""
        if self.matrix is not None:
            return self.matrix[rows]
        product = self.x[rows] @ self.y.T
        if self.task.cost == "dot":
            return -product
        squares = self.x[rows].square().sum(1)[:, None] + self.y.square().sum(1)
        return squares - 2.0 * product

    def slices(self) -> list[slice]:
        """Blocks of rows."""
        step = self.shape[0] if self.matrix is not None else max(1, BLOCK // self.shape[1])
        return [slice(k, min(k + step, self.shape[0])) for k in range(0, self.shape[0], step)]

    def rows(self, h: Tensor, epsilon: float) -> Tensor:
        """log sum_j exp(h_j - C_ij / epsilon)."""
        return torch.cat([(h - self.block(rows) / epsilon).logsumexp(1) for rows in self.slices()])

    def columns(self, h: Tensor, epsilon: float) -> Tensor:
        """log sum_i exp(h_i - C_ij / epsilon)."""
        parts = [(h[rows, None] - self.block(rows) / epsilon).logsumexp(0) for rows in self.slices()]
        return torch.stack(parts).logsumexp(0)
