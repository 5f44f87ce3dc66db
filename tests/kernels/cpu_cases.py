"""Inputs on which the compiled kernels are compared with plain torch, each the home ground of some mistake."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from isotherm.geometry import AbstractGeometry, CostMatrix, PointCloud

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

COSTS = ["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot", "stored", "stored_transposed"]


@dataclass(frozen=True)
class Case:
    """Costs, weighted potentials of both sides, weights, values, temperature."""

    costs: AbstractGeometry
    p: Tensor  # (N,)
    h: Tensor  # (M,)
    log_a: Tensor  # (N,)
    a: Tensor  # (N,)
    b: Tensor  # (M,)
    values: Tensor  # (M, K)
    epsilon: float

    def double(self) -> Case:
        """The same numbers in float64."""
        tensors = {name: getattr(self, name).double() for name in ("p", "h", "log_a", "a", "b", "values")}
        return replace(self, costs=self.costs.double(), **tensors)

    @property
    def largest_exponent(self) -> float:
        """Largest number that is added up to make an exponent; its rounding is beyond any kernel."""
        finite = [part[part.isfinite()].abs().amax() for part in (self.p, self.h) if part.isfinite().any()]
        scale = max(abs(bound) for bound in self.costs.double().cost_range())
        return (sum(map(float, finite)) + max(scale, self.costs.coordinate_scale)) / self.epsilon


def points(kind: str, sizes: tuple[int, int], dimension: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two clouds: random, clustered, far from the origin or coincident."""
    generator = torch.Generator().manual_seed(sum(sizes) + dimension)
    x, y = (torch.randn(size, dimension, generator=generator, dtype=torch.float64) for size in sizes)
    if kind == "clustered":
        centres = 5.0 * torch.randn(4, dimension, generator=generator, dtype=torch.float64)
        x, y = (centres[torch.arange(len(cloud)) % 4] + 0.01 * cloud for cloud in (x, y))
    if kind == "far":
        x, y = x + 1e3, y + 1e3
    if kind == "coincident":
        y = x[torch.arange(sizes[1]) % sizes[0]].clone()
    return x.to(dtype), y.to(dtype)


def make_case(
    cost: str,
    kind: str = "random",
    *,
    sizes: tuple[int, int] = (33, 257),
    dimension: int = 3,
    dtype: torch.dtype = torch.float32,
    share: float = 0.1,
) -> Case:
    """A case whose plan has mass: p is the softmin of h at a temperature of `share` of the mean cost."""
    x, y = points(kind, sizes, dimension, dtype)
    if cost.startswith("stored"):
        matrix = PointCloud(x, y).block(slice(None))
        costs = CostMatrix(matrix) if cost == "stored" else CostMatrix(matrix.T.contiguous()).transpose()
    else:
        costs = PointCloud(x, y, cost=cost)
    generator = torch.Generator().manual_seed(7)
    epsilon = share * max(float(costs.double().block(slice(None)).abs().mean()), 1e-3)
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.1 for size in sizes)
    if kind == "zero_weight":
        a[::3], b[1::3] = 0.0, 0.0
    h = 0.5 * epsilon * torch.randn(sizes[1], generator=generator, dtype=torch.float64) + epsilon * (b / b.sum()).log()
    h = h.to(dtype)
    a, b = (a / a.sum()).to(dtype), (b / b.sum()).to(dtype)
    log_a = (epsilon * a.double().log()).to(dtype)
    f = -epsilon * torch.logsumexp((h.double() - costs.double().block(slice(None))) / epsilon, 1)
    values = torch.randn(sizes[1], 5, generator=generator, dtype=torch.float64).to(dtype)
    f = torch.where(f.isfinite(), f, 0.0).to(dtype)
    return Case(costs, f + log_a, h, log_a, a, b, values, epsilon)


def every_kernel(run: dict[str, Callable[[Case], Tensor]], case: Case) -> dict[str, Tensor]:
    """All results on one case."""
    return {name: kernel(case) for name, kernel in run.items()}
