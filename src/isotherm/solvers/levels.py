"""Levels of a problem: cells of its points as points, coarse to fine."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm import kernels
from isotherm.geometry import BlockSparse, Clusters, PointCloud
from isotherm.problem import Problem

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry

GROWTH = 4  # factor between the numbers of points of two levels


class Level(NamedTuple):
    """A problem whose points are cells of the points of another.

    Attributes:
        problem: The question, its points in the order of the cells; the last level is the user's problem.
        sources: The sources as a hierarchy of cells of their own, in coordinates that all levels share.
        targets: The targets.
        sizes: Points of a cell, on both sides; powers of two.
        spread: How far a point is off its cell's centroid, mean squared, units of cost.
    """

    problem: Problem
    sources: Clusters
    targets: Clusters
    sizes: tuple[int, int]
    spread: float


def make_levels(problem: Problem, coarsest: int | None) -> list[Level]:
    """The levels of a problem, the last one being the problem itself.

    Args:
        problem: On points, with a cost that has a formula.
        coarsest: Points of the first level, about, on the larger side; None for the last level alone.

    Returns:
        The levels, coarse to fine, each `GROWTH` times as large as the one before.
    """
    geometry = points_of(problem.geometry)
    formula = geometry.formula()
    assert formula is not None, "this is our bug: Multiscale asks for a formula first"
    sources, targets = (Clusters.of(points) for points in formula.tensors)
    levels, wanted = [], coarsest
    while wanted is not None and wanted < max(geometry.shape):
        levels.append(_coarse_level(problem, (sources, targets), wanted))
        wanted *= GROWTH
    return [*levels, Level(problem.on(geometry), sources, targets, (1, 1), 0.0)]


def continued(problem: Problem, potentials: tuple[Tensor, Tensor], level: Level, finer: Level) -> tuple[Tensor, Tensor]:
    """Potentials of a finer level in the order of its cells, continued along their gradients from the cells' centroids."""
    weighted = (potential + log for potential, log in zip(potentials, problem.log_weights, strict=True))
    slopes = kernels.plan_grad(problem.geometry, *weighted, epsilon=problem.epsilon)
    weights, prices = (problem.a, problem.b), (problem.rho_a, problem.rho_b)
    cells, finer_cells = (level.sources, level.targets), (finer.sources, finer.targets)
    found = []
    for side in (0, 1):
        values, fine = potentials[side], finer_cells[side]
        mass = weights[side] * (-values / prices[side]).exp()
        gradient = torch.where(mass[:, None] > 0, slopes[side] / mass[:, None], 0.0).double()
        parent = torch.arange(len(fine.order)) // (level.sizes[side] // finer.sizes[side])
        apart = fine.points - cells[side].points[parent]
        found.append((values.double()[parent] + (apart * gradient[parent]).sum(1)).to(values.dtype))
    return found[0], found[1]


def points_of(geometry: AbstractGeometry) -> PointCloud:
    """The points behind a list of pairs, such as that of an earlier solution, or the geometry itself."""
    return geometry.base if isinstance(geometry, BlockSparse) else geometry  # pyright: ignore[reportReturnType]


def cloud_of(geometry: AbstractGeometry, sources: Clusters, targets: Clusters) -> PointCloud:
    """The points of some cells, in their order, at the cost of a geometry."""
    base = points_of(geometry)
    return PointCloud(sources.points.to(base.dtype), targets.points.to(base.dtype), base.cost)


def _cell_size(points: int, wanted: int) -> int:
    """The smallest power of two that leaves at most so many cells."""
    return 1 << max(0, math.ceil(math.log2(points / wanted)))


def _coarse_level(problem: Problem, sides: tuple[Clusters, Clusters], wanted: int) -> Level:
    """Cells as points at their centroids."""
    weights = problem.a, problem.b
    sizes = [_cell_size(len(weight), wanted) for weight in weights]
    cells = [side.centroids(weight, size) for side, weight, size in zip(sides, weights, sizes, strict=True)]
    sources, targets = (Clusters(points, torch.arange(len(points))) for points, _ in cells)
    a, b = (mass.to(problem.geometry.dtype) for _, mass in cells)
    spreads = [side.spread(weight, size) for side, weight, size in zip(sides, weights, sizes, strict=True)]
    cloud = cloud_of(problem.geometry, sources, targets)
    formula = cloud.formula()
    assert formula is not None, "this is our bug: why_not() was not asked"
    if not cloud.cost.is_translation_invariant:  # the cosine sees directions only
        sources, targets = (Clusters(points.double(), torch.arange(len(points))) for points in formula.tensors)
    spread = math.sqrt(max(spreads)) if formula.kind == "euclidean" else abs(formula.scale) * max(spreads)
    coarse = Problem(cloud, a, b, epsilon=problem.epsilon, rho_a=problem.rho_a, rho_b=problem.rho_b)
    return Level(coarse, sources, targets, (sizes[0], sizes[1]), spread)
