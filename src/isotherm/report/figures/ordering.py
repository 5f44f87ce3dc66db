"""In which order to draw the points of a plan, so that its structure shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm.geometry import Grid

if TYPE_CHECKING:
    from isotherm.coupling import AbstractCoupling
    from isotherm.geometry import AbstractGeometry
    from isotherm.solution import Solution

SPECTRAL_STEPS = 30  # passes over the plan; enough for an order, not for digits


class PlanOrder(NamedTuple):
    """Which source comes first, which target comes first, and the words for it."""

    sources: Tensor  # (N,)
    targets: Tensor  # (M,)
    how: str


def plan_order(solution: Solution) -> PlanOrder:
    """An order of both sides in which matched points stand at about the same height.

    Points are sorted along the direction in which the two clouds vary most, the same for both. The nodes of a grid keep
    their order. Where only costs are known, the plan itself is asked: both sides are sorted by its leading pair of
    singular vectors after the trivial one.

    Args:
        solution: Whose plan will be drawn; only the last case looks at the plan. Of several temperatures pass a middle one:
            the coldest plan knows nothing of neighbours, the hottest of nothing.

    Returns:
        Permutations of both sides.
    """
    geometry = solution.problem.geometry
    if isinstance(geometry, Grid):
        n, m = (torch.arange(size) for size in geometry.shape)
        return PlanOrder(n, m, "in the grid's order")
    if geometry.source_points is None or geometry.target_points is None:
        sources, targets = leading_singular_vectors(solution.coupling)
        return PlanOrder(
            sources.argsort(stable=True), targets.argsort(stable=True), "sorted by what they are matched to"
        )
    sources, targets = project(geometry, 1)
    how = "sorted by coordinate" if geometry.source_points.shape[1] == 1 else "sorted along the main direction"
    return PlanOrder(sources[:, 0].argsort(stable=True), targets[:, 0].argsort(stable=True), how)


def project(geometry: AbstractGeometry, dimensions: int) -> tuple[Tensor, Tensor]:
    """Both clouds along the directions in which their points vary most around the two means.

    Args:
        geometry: With coordinates.
        dimensions: How many directions, K. Clouds with that many features or fewer keep their coordinates.

    Returns:
        Shapes (N, K) and (M, K), float64 on the CPU, units of the coordinates. The sign of a direction is such that its
        largest component is positive.
    """
    assert geometry.source_points is not None, "only geometries with points are projected; this is our bug"
    assert geometry.target_points is not None, "only geometries with points are projected; this is our bug"
    x, y = (points.detach().cpu().double() for points in (geometry.source_points, geometry.target_points))
    if x.shape[1] <= dimensions:
        return x, y
    scatter = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    for points in (x, y):
        centred = points - points.mean(0)
        scatter += centred.T @ centred / len(points)
    directions = torch.linalg.eigh(scatter).eigenvectors.flip(1)[:, :dimensions]  # (D, K)
    largest = directions.abs().argmax(0)
    directions = directions * directions[largest, torch.arange(dimensions)].sign()
    return x @ directions, y @ directions


def leading_singular_vectors(coupling: AbstractCoupling) -> tuple[Tensor, Tensor]:
    """Second pair of singular vectors of the plan scaled by its marginals, by power iteration.

        S_ij = P_ij / sqrt(r_i c_j)

    The first pair, sqrt(r) and sqrt(c), says nothing and is removed. Thirty passes, memory O(N + M).

    Args:
        coupling: The plan.

    Returns:
        Shapes (N,) and (M,), divided by sqrt(r) and sqrt(c), so that they are constant where the plan is independent.
    """
    reverse = coupling.transpose()
    root_r, root_c = coupling.row_mass().clamp(min=0).sqrt(), reverse.row_mass().clamp(min=0).sqrt()
    inverse_r = torch.where(root_r > 0, 1 / root_r, 0.0)
    inverse_c = torch.where(root_c > 0, 1 / root_c, 0.0)
    generator = torch.Generator().manual_seed(0)  # a start without symmetry, the same every time
    u = torch.randn(coupling.shape[0], generator=generator, dtype=torch.float64).to(root_r)  # (N,)
    v = torch.zeros_like(root_c)
    for _ in range(SPECTRAL_STEPS // 2):
        u = u - root_r * (root_r @ u) / (root_r @ root_r)
        u = u / u.norm().clamp(min=1e-30)
        v = inverse_c * reverse.product((inverse_r * u)[:, None])[:, 0]
        v = v - root_c * (root_c @ v) / (root_c @ root_c)
        v = v / v.norm().clamp(min=1e-30)
        u = inverse_r * coupling.product((inverse_c * v)[:, None])[:, 0]
    return (inverse_r * u).detach().cpu().double(), (inverse_c * v).detach().cpu().double()
