"""The numbers that reductions are timed on: two Gaussian clouds, and potentials near the solution of their problem."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from benchmarks.cases import STORED, Case
from isotherm import kernels
from isotherm.geometry import CostMatrix, PointCloud

PROBE = 500  # points that stand for a whole cloud where potentials are only needed roughly


@dataclass(frozen=True, eq=False)
class Inputs:
    """Arguments of every reduction, uniform weights, N = M.

    Attributes:
        costs: The geometry.
        epsilon: 5 % of the mean cost, the default of `isotherm.solve`.
        f: Potential of the sources, shape (N,), units of cost: right to about a tenth of epsilon, as after some iterations.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,).
        log_a: epsilon log a, shape (N,).
        values: Numbers carried by the targets, shape (M, 3).
    """

    costs: PointCloud | CostMatrix
    epsilon: float
    f: Tensor
    h: Tensor
    log_a: Tensor
    values: Tensor

    @property
    def p(self) -> Tensor:
        """Weighted potential of the sources, f + epsilon log a, shape (N,)."""
        return self.f + self.log_a

    def rows(self, index: Tensor) -> Tensor:
        """Costs of some sources to all targets in float64, from the numbers as given, shape (n, M)."""
        if isinstance(self.costs, CostMatrix):
            return self.costs.matrix[index].double()
        y = self.costs.y.double()
        return torch.stack([(point - y).square_().sum(1) for point in self.costs.x[index].double()])

    def columns(self, index: Tensor) -> Tensor:
        """Costs of all sources to some targets in float64, shape (N, n)."""
        if isinstance(self.costs, CostMatrix):
            return self.costs.matrix[:, index].double()
        x = self.costs.x.double()
        return torch.stack([(x - point).square_().sum(1) for point in self.costs.y[index].double()], dim=1)


@lru_cache(maxsize=64)
def make_inputs(d: int, n: int, dtype: str) -> Inputs:
    """Draw the clouds, and fit potentials between their first `PROBE` points.

    Args:
        d: Features; `STORED` for the cost matrix of points in three dimensions.
        n: Points on either side.
        dtype: "float32" or "float64"; both get the same draw.

    Returns:
        The arguments of every reduction.
    """
    generator = torch.Generator().manual_seed(d + n)
    features = d or 3
    x = torch.randn(n, features, generator=generator, dtype=torch.float64)
    y = 0.8 * torch.randn(n, features, generator=generator, dtype=torch.float64) + 0.5
    epsilon = 0.05 * features * (1.0 + 0.64 + 0.25)
    with kernels.use("reference"):
        f, g = rough_potentials(x, y, epsilon)
    kind = getattr(torch, dtype)
    x, y, f, g = (tensor.to(kind) for tensor in (x, y, f, g))
    log_a = torch.full_like(f, -epsilon * math.log(n))
    values = torch.randn(n, 3, generator=generator, dtype=torch.float64).to(kind)
    costs = CostMatrix(stored_squares(x, y)) if d == STORED else PointCloud(x, y)
    return Inputs(costs, epsilon, f, g + log_a, log_a, values)


def inputs_of(case: Case) -> Inputs:
    """The inputs of a case, kept between calls."""
    return make_inputs(case.d, case.n, case.dtype)


def rough_potentials(x: Tensor, y: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Solve between the first points of both clouds, then extend to all of them."""
    size = min(PROBE, x.shape[0])
    small = PointCloud(x[:size], y[:size])
    shift = -epsilon * math.log(size)
    g = x.new_zeros(size)
    for _ in range(20):
        f = small.softmin(g + shift, epsilon=epsilon)
        g = small.transpose().softmin(f + shift, epsilon=epsilon)
    f_all = PointCloud(x, y[:size]).softmin(g + shift, epsilon=epsilon)
    g_all = PointCloud(y, x[:size]).softmin(f_all[:size] + shift, epsilon=epsilon)
    return f_all, g_all


def stored_squares(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2 from differences, shape (N, M), a coordinate at a time."""
    out = x.new_zeros(x.shape[0], y.shape[0])
    for rows in range(0, x.shape[0], 256):
        for k in range(x.shape[1]):
            out[rows : rows + 256] += (x[rows : rows + 256, k, None] - y[:, k]).square_()
    return out
