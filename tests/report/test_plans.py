"""A plan as a small picture: its mass, its order, its bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

import isotherm
from isotherm import CostMatrix, Grid, SparseCoupling
from isotherm.report.figures import binning
from isotherm.report.figures.binning import binned_plan
from isotherm.report.figures.ordering import PlanOrder, leading_singular_vectors, plan_order, project

if TYPE_CHECKING:
    from isotherm import Solution, TemperaturePath


def _natural(n: int, m: int) -> PlanOrder:
    return PlanOrder(torch.arange(n), torch.arange(m), "as they came")


def test_binned_mass_is_that_of_the_dense_plan(solution: Solution) -> None:
    order = plan_order(solution)
    binned = binned_plan(solution.coupling, order, bins=10)
    dense = solution.coupling.to_dense()[order.sources][:, order.targets]
    expected = dense.reshape(10, 3, 10, 2).sum((1, 3))
    np.testing.assert_allclose(binned.mass, expected / expected.sum(), rtol=1e-12)


@pytest.mark.parametrize("bins", [1, 7, 256])
def test_binned_mass_sums_to_one(path: TemperaturePath, bins: int) -> None:
    for solution in path:
        binned = binned_plan(solution.coupling, plan_order(solution), bins)
        assert binned.mass.shape == (min(bins, 30), min(bins, 20))
        assert binned.mass.sum() == pytest.approx(1.0)


def test_independent_plan_is_flat() -> None:
    coupling = SparseCoupling.from_matrix(torch.outer(torch.tensor([0.1, 0.2, 0.7]), torch.tensor([0.5, 0.5])))
    ratio = binned_plan(coupling, _natural(3, 2)).relative_to_independence()
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-6)


def test_points_without_mass_have_no_ratio() -> None:
    coupling = SparseCoupling.from_matrix(torch.tensor([[0.5, 0.5], [0.0, 0.0]]))
    ratio = binned_plan(coupling, _natural(2, 2)).relative_to_independence()
    np.testing.assert_array_equal(np.isnan(ratio), [[False, False], [True, True]])


def test_huge_plans_look_at_a_share_of_the_sources(monkeypatch: pytest.MonkeyPatch, solution: Solution) -> None:
    monkeypatch.setattr(binning, "MOST_PAIRS", 100)
    binned = binned_plan(solution.coupling, plan_order(solution), bins=4)
    assert binned.every == 6
    assert binned.mass.sum() == pytest.approx(1.0)


def test_order_follows_points_on_a_line() -> None:
    solution = isotherm.solve(np.array([2.0, 0.0, 1.0]), np.array([1.0, 0.0]), epsilon=1.0)
    order = plan_order(solution)
    assert order.sources.tolist() == [1, 2, 0]
    assert order.targets.tolist() == [1, 0]


def test_order_keeps_a_grid() -> None:
    order = plan_order(isotherm.solve(Grid((np.array([1.0, 0.0]), np.array([0.0, 1.0]))), epsilon=1.0))
    assert order.sources.tolist() == [0, 1, 2, 3]


def test_projection_finds_the_direction_of_greatest_spread() -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)) * [0.1, 5.0, 0.2]
    geometry = isotherm.PointCloud(x, x + 1.0)
    first, _ = project(geometry, 1)
    assert abs(np.corrcoef(first[:, 0], x[:, 1])[0, 1]) > 0.999
    assert project(geometry, 3)[0].shape == (200, 3)


def test_spectral_order_finds_hidden_blocks() -> None:
    hidden = torch.tensor([0, 1, 0, 1, 1, 0])
    plan = torch.where(hidden[:, None] == hidden, 1.0, 0.01)
    sources, targets = leading_singular_vectors(SparseCoupling.from_matrix(plan / plan.sum()))
    for side in (sources, targets):
        assert len({bool(value > 0) for value in side[hidden == 0]}) == 1
        assert (side[0] > 0) != (side[1] > 0)
    assert (sources[0] > 0) == (targets[0] > 0)


def test_spectral_order_puts_a_permutation_on_the_diagonal() -> None:
    permutation = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    costs = 1.0 - torch.eye(9)[permutation]
    solution = isotherm.solve(CostMatrix(costs), solver="exact")
    binned = binned_plan(solution.coupling, plan_order(solution))
    np.testing.assert_allclose(binned.mass, np.eye(9) / 9, atol=1e-7)
