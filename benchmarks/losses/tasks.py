"""Batches of clouds, generated from seeds: no data, and no import of any library under test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.workloads.tasks import Task, blobs, gaussians


@dataclass(frozen=True, eq=False, kw_only=True)
class Training:
    """B Sinkhorn divergences S(x, y) of clouds of equal weights, at |x - y|^2, and their gradients by x.

    Attributes:
        x: Sources, shape (B, N, D), float64.
        y: Targets, shape (B, M, D), float64.
        epsilon: Temperature of all, units of cost.
        is_together: Whether the problems may be handed over at once; otherwise each comes after the one before.
    """

    x: Tensor
    y: Tensor
    epsilon: float
    is_together: bool
    _kept: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    @property
    def pairs(self) -> int:
        """Entries of all plans."""
        count, n, _ = self.x.shape
        m = self.y.shape[1]
        return count * (n * n + n * m + m * m)

    def clouds(self, kind: str) -> tuple[Tensor, Tensor]:
        """Both batches in "float32" or "float64", made once."""
        if kind not in self._kept:
            self._kept[kind] = self.x.to(getattr(torch, kind)), self.y.to(getattr(torch, kind))
        return self._kept[kind]

    def groups(self, kind: str) -> list[tuple[Tensor, Tensor]]:
        """What may be handed over at once: the batch, or its members as clouds (N, D)."""
        x, y = self.clouds(kind)
        return [(x, y)] if self.is_together else list(zip(x, y, strict=True))

    def transports(self, k: int) -> tuple[Task, Task, Task]:
        """The transports of a member: across, of the sources to themselves, of the targets to themselves."""
        x, y = self.x[k], self.y[k]
        sides = ((x, y), (x, x), (y, y))
        a, b = (torch.full((len(p),), 1.0 / len(p), dtype=torch.float64) for p in (x, y))
        weights = ((a, b), (a, a), (b, b))
        across, own_x, own_y = (
            Task(x=p, y=q, a=v, b=w, epsilon=self.epsilon) for (p, q), (v, w) in zip(sides, weights, strict=True)
        )
        return across, own_x, own_y


def batch(count: int, n: int, d: int, *, is_together: bool) -> list[Training]:
    """Samples of two Gaussians, at 5 % of the mean cost of the first."""
    made = [gaussians(n, d, 5e-2, seed=seed)[0] for seed in range(count)]
    x, y = (torch.stack([task.points[side] for task in made]) for side in (0, 1))
    return [Training(x=x, y=y, epsilon=made[0].epsilon, is_together=is_together)]


def cloud(n: int) -> list[Training]:
    """Uniform cube to eight blobs, 3-D, at 5 % of the mean cost."""
    task = blobs(n, 5e-2)[0]
    x, y = task.points
    return [Training(x=x[None], y=y[None], epsilon=task.epsilon, is_together=False)]


# Name, what makes it, and the tolerances of the L1 marginal error of each of the three transports.
TASKS: dict[str, tuple[Callable[[], list[Training]], tuple[float, ...]]] = {
    "64 x 512, 64-D, one by one": (lambda: batch(64, 512, 64, is_together=False), (1e-3,)),
    "64 x 512, 64-D, in one batch": (lambda: batch(64, 512, 64, is_together=True), (1e-3,)),
    "1 x 100k, 3-D": (lambda: cloud(100_000), (1e-3,)),
    # For tests of the harness.
    "smoke one by one": (lambda: batch(2, 30, 10, is_together=False), (1e-3,)),
    "smoke batch": (lambda: batch(3, 30, 10, is_together=True), (1e-3,)),
    "smoke large": (lambda: cloud(200), (1e-3,)),
}
