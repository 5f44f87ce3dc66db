"""Cells of points: compact, nested; and bounds on a plan that hold for every pair left out."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from isotherm import kernels
from isotherm.geometry import Clusters
from isotherm.kernels import CELL, GROUP, BlockPattern, Formula, select_cells, skipped_scores, sort_into_cells

pytestmark = pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="cells are made by the compiled kernels")


def clouds(kind: str, sizes: tuple[int, int], dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(dimension)
    x, y = (torch.randn(size, dimension, generator=generator, dtype=torch.float64) for size in sizes)
    match kind:
        case "clustered":
            centres = 3.0 * torch.randn(5, dimension, generator=generator, dtype=torch.float64)
            x, y = (centres[torch.arange(len(cloud)) % 5] + 0.05 * cloud for cloud in (x, y))
        case "line":
            x, y = (cloud[:, :1] * torch.ones(dimension, dtype=torch.float64) for cloud in (x, y))
        case "anisotropic":
            scales = 10.0 ** -torch.arange(dimension, dtype=torch.float64)
            x, y = x * scales, y * scales
        case "duplicates":
            x, y = x[torch.arange(sizes[0]) % 40], y[torch.arange(sizes[1]) % 30]
    return x, y


CLOUDS = ["random", "clustered", "line", "anisotropic", "duplicates"]


def tables(formula, f, g, a, b):
    curvature = {"sqeuclidean": formula.scale, "dot": 0.0}.get(formula.kind)
    sources, targets = Clusters.of(formula.x), Clusters.of(formula.y)
    rows = sources.cells(f, a, CELL, curvature=curvature)
    columns = targets.cells(g, b, CELL, curvature=curvature)
    groups = targets.cells(g, b, CELL * GROUP, curvature=curvature).table
    return sources, targets, (rows, columns, groups)


@pytest.mark.parametrize("points", [1, 2, 63, 64, 65, 1000, 4097])
def test_runs_of_any_power_of_two_are_boxes_apart(points):
    cloud = torch.rand(points, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = sort_into_cells(cloud)
    assert torch.equal(order.sort().values, torch.arange(points))
    size = 2
    while size < points:  # on a line, cells are intervals that do not overlap
        runs = [run[:, 0] for run in cloud[order].split(size)]
        assert all(float(low.max()) <= float(high.min()) for low, high in pairwise(runs))
        size *= 2


def test_cells_in_the_plane_are_compact():
    cloud = torch.rand(4096, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cells = cloud[sort_into_cells(cloud)].reshape(64, 64, 2)
    widths = (cells.amax(1) - cells.amin(1)).amax(1)
    assert float(widths.mean()) < 0.25  # 64 squares have side 1/8


@pytest.mark.parametrize("kind", ["sqeuclidean", "euclidean", "dot"])
@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("dimension", [1, 3, 9])
def test_what_is_left_out_is_below_the_bound(kind, cloud, dimension):
    x, y = clouds(cloud, (700, 1500), dimension)
    formula = Formula(kind, x, y, -1.0 if kind == "dot" else 0.5, 0.25)
    generator = torch.Generator().manual_seed(9)
    epsilon = 0.05 * float(formula.block(slice(None)).std())
    g = 3 * epsilon * torch.randn(len(y), generator=generator, dtype=torch.float64)
    f = kernels.softmin(formula, g, epsilon=epsilon)
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) for size in formula.shape)
    sources, targets, (rows, columns, groups) = tables(formula, f, g, a, b)
    least = -4 * epsilon
    starts, blocks = select_cells(formula, rows, columns, groups, least=least)
    pattern = BlockPattern.from_list(sources.order, targets.order, starts, blocks)
    meets = pattern.meets(slice(None))
    assert bool(meets.any(1).all())
    assert bool(meets.any(0).all())
    scores = f[:, None] + g - formula.block(slice(None))
    assert bool(scores[~meets].lt(least).all())
    listed = Formula(kind, x, y, formula.scale, formula.offset, pattern)
    masses, greatest = skipped_scores(listed, rows, columns, groups, epsilon=epsilon)
    plan = a[:, None] * b * (scores / epsilon).exp() * ~meets
    by_cell = plan.sum(1)[sources.order].split(CELL)
    for cell, part in enumerate(by_cell):
        assert float(part.sum()) <= float(masses[cell]) * (1 + 1e-12)
        left = scores.masked_fill(meets, -torch.inf)[sources.order[cell * CELL : (cell + 1) * CELL]]
        assert float(left.max()) <= float(greatest[cell]) + 1e-12


def test_bound_is_close_enough_to_leave_most_pairs_out():
    x, y = clouds("random", (6000, 5000), 2)
    formula = Formula("sqeuclidean", x, y)
    epsilon = 0.01
    g = torch.zeros(len(y), dtype=torch.float64)
    f = kernels.softmin(formula, g, epsilon=epsilon)
    *_, given = tables(formula, f, g, torch.ones_like(f), torch.ones_like(g))
    _, blocks = select_cells(formula, *given, least=-10 * epsilon)
    assert len(blocks) < 0.3 * (-(-6000 // CELL)) * (-(-5000 // CELL))


def test_every_cell_is_met_however_wrong_the_potentials():
    x, y = clouds("random", (300, 400), 2)
    formula = Formula("sqeuclidean", x, y)
    f, g = torch.full((300,), -1e6, dtype=torch.float64), torch.zeros(400, dtype=torch.float64)
    *_, given = tables(formula, f, g, f, g)
    starts, blocks = select_cells(formula, *given, least=0.0)
    assert bool((starts.diff() >= 1).all())
    assert set(blocks.tolist()) == set(range(7))
