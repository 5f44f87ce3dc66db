"""Clusters: an order of the points, centroids with their weights, linear bounds on potentials."""

from __future__ import annotations

import pytest
import torch

from isotherm import kernels
from isotherm.geometry import Clusters

pytestmark = pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="cells are made by the compiled kernels")


def make(points=333, dimension=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(points, dimension, generator=generator, dtype=torch.float64)
    weights = torch.rand(points, generator=generator, dtype=torch.float64)
    return x, weights


def test_points_stand_in_the_order_of_the_cells():
    x, _ = make()
    clusters = Clusters.of(x.float())
    assert torch.equal(clusters.points, x.float().double()[clusters.order])
    assert torch.equal(clusters.in_order().points, clusters.points)
    assert torch.equal(clusters.in_order().order, torch.arange(333))


@pytest.mark.parametrize("size", [1, 2, 16, 64, 1024])
def test_centroids_keep_mass_and_mean(size):
    x, weights = make()
    weights[:5] = 0.0
    centres, mass = Clusters.of(x).centroids(weights, size)
    assert len(centres) == len(mass) == -(-333 // size)
    assert float(mass.sum()) == pytest.approx(float(weights.sum()))
    assert torch.allclose(mass @ centres, weights @ x)


def test_cell_without_weight_stands_at_its_mean():
    x, weights = make(points=8)
    clusters = Clusters.of(x)
    weights[clusters.order[:4]] = 0.0
    centres, mass = clusters.centroids(weights, 4)
    assert float(mass[0]) == 0.0
    assert torch.allclose(centres[0], clusters.points[:4].mean(0))


def test_spread_is_the_mean_squared_distance():
    x, weights = make(points=64)
    clusters = Clusters.of(x)
    centre = (weights @ x) / weights.sum()
    expected = float(weights @ (x - centre).square().sum(1) / weights.sum())
    assert clusters.spread(weights, 64) == pytest.approx(expected)
    assert clusters.spread(weights, 1) == pytest.approx(0.0, abs=1e-15)


@pytest.mark.parametrize("curvature", [None, 0.0, 0.5])
@pytest.mark.parametrize("size", [64, 1024])
def test_cells_hold_their_points_under_their_bounds(size, curvature):
    x, weights = make()
    f = torch.randn(333, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    clusters = Clusters.of(x)
    table, inside = clusters.cells(f, weights, size, curvature=curvature)
    tilted = f if curvature is None else f - curvature * x.square().sum(1)
    for cell, rows in enumerate(clusters.order.split(size)):
        centre, half, slope = table[cell, :3], table[cell, 3:6], table[cell, 6:9]
        assert bool(((x[rows] - centre).abs() <= half + 1e-12).all())
        assert bool((tilted[rows] <= table[cell, 9] + (x[rows] - centre) @ slope + 1e-12).all())
        assert float(table[cell, 10]) == pytest.approx(float(weights[rows].sum()))
        assert torch.equal(inside[cell, :3, : len(rows)].T, x[rows])
        assert torch.equal(inside[cell, 3, : len(rows)], tilted[rows])


def test_bound_of_a_linear_potential_is_exact():
    x, weights = make()
    table, _ = Clusters.of(x).cells(x @ torch.tensor([1.0, -2.0, 0.5]).double(), weights, 64, curvature=0.0)
    assert torch.allclose(table[:5, 6:9], torch.tensor([1.0, -2.0, 0.5]).double(), atol=1e-4)
