"""Between clusters: masses are set at once, and right, where sweeps would take for ever."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isotherm import Auto, CostMatrix, LogSinkhorn, PointCloud, Problem
from isotherm.geometry import AbstractGeometry
from isotherm.solvers import clusters
from isotherm.solvers.clusters import between_clusters, components

GAP = 30.0  # between centres; squared, in units of epsilon: 900


def islands(sizes_x: list[int], sizes_y: list[int], *, dtype: torch.dtype = torch.float64) -> Problem:
    """Clusters on a line, as far from each other as `GAP`, with other numbers of points on the other side."""
    generator = torch.Generator().manual_seed(0)

    def cloud(sizes: list[int]) -> Tensor:
        centres = torch.tensor([GAP * k for k in range(len(sizes))]).double().repeat_interleave(torch.tensor(sizes))
        spread = torch.randn(sum(sizes), 2, generator=generator, dtype=torch.float64)
        return (spread + torch.stack([centres, torch.zeros_like(centres)], 1)).to(dtype)

    return Problem(PointCloud(cloud(sizes_x), cloud(sizes_y)), epsilon=1.0)


def log_plan(problem: Problem, f: Tensor, g: Tensor) -> Tensor:
    """By the definition, dense, in float64."""
    exponent = (f.double()[:, None] + g.double() - problem.geometry.double().block(slice(None))) / problem.epsilon
    return exponent + problem.a.double().log()[:, None] + problem.b.double().log()


def residual(problem: Problem, f: Tensor, g: Tensor) -> float:
    plan = log_plan(problem, f, g).exp()
    return max(float((plan.sum(1) - problem.a).abs().sum()), float((plan.sum(0) - problem.b).abs().sum()))


def first_sweeps(problem: Problem, count: int = 10):
    return LogSinkhorn(max_iterations=count, tolerance=1e-12).run(problem)


@pytest.mark.parametrize("seed", range(4))
def test_components_are_those_of_a_search(seed):
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.randint(60, (2, 45), generator=generator)
    wanted = list(range(60))
    for _ in range(60):  # until nothing moves: the smallest name along every link
        for i, j in zip(first.tolist(), second.tolist(), strict=True):
            wanted[i] = wanted[j] = min(wanted[i], wanted[j])
    assert components(60, first, second).tolist() == wanted


def test_components_of_a_long_chain():
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert components(1000, order[:-1], order[1:]).unique().tolist() == [0]


def test_clusters_are_found_and_points_without_mass_belong_to_none():
    problem = islands([20, 30], [25, 15])
    a = problem.a.clone()
    a[3] = 0.0
    rows, columns, count = clusters.clusters(first_sweeps(Problem(problem.geometry, a / a.sum(), epsilon=1.0)))
    assert count == 2
    has_mass = torch.arange(50) != 3
    wanted = torch.tensor([0] * 20 + [1] * 30)
    assert torch.equal(rows[has_mass], wanted[has_mass])
    assert torch.equal(columns, torch.tensor([0] * 25 + [1] * 15))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masses_between_clusters_are_right_after_one_shift(dtype):
    problem = islands([20, 30, 7], [25, 15, 17], dtype=dtype)
    start = between_clusters(first_sweeps(problem))
    assert start is not None
    assert start.count == 3
    mass = log_plan(problem, start.f, start.g).exp()
    rows, columns = (torch.tensor(sizes).cumsum(0).tolist() for sizes in ([20, 30, 7], [25, 15, 17]))
    of_rows = torch.stack([mass[m:n].sum() for m, n in zip([0, *rows], rows, strict=False)])
    of_columns = torch.stack([mass[:, m:n].sum() for m, n in zip([0, *columns], columns, strict=False)])
    digits = 1e-7 if dtype == torch.float64 else 2e-3  # potentials of 900 epsilon have so many in float32
    torch.testing.assert_close(of_rows, torch.tensor([20, 30, 7]).double() / 57, atol=digits, rtol=0.0)
    torch.testing.assert_close(of_columns, torch.tensor([25, 15, 17]).double() / 57, atol=digits, rtol=0.0)


def test_one_cluster_is_left_alone():
    assert between_clusters(first_sweeps(islands([20], [30]))) is None


def test_many_clusters_are_left_alone(monkeypatch):
    monkeypatch.setattr(clusters, "MOST", 2)
    assert between_clusters(first_sweeps(islands([9, 8, 7], [7, 9, 8]))) is None


def test_forbidden_pairs_are_left_alone():
    reference = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)).double() / 8
    problem = Problem(CostMatrix(torch.rand(4, 4).double()), epsilon=1.0, reference=reference)
    assert between_clusters(first_sweeps(problem)) is None


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float64, 1e-6), (torch.float64, 1e-9)])
def test_auto_solves_what_sweeps_cannot(dtype, tolerance):
    problem = islands([40, 60, 31], [50, 41, 40], dtype=dtype)
    solution = Auto(tolerance=tolerance).run(problem)
    assert solution.status.is_converged
    assert not LogSinkhorn(tolerance=tolerance, max_iterations=2 * solution.iterations).run(problem).status.is_converged
    assert "3 clusters" in solution.method
    assert residual(problem, *solution.potentials) <= 1.1 * tolerance
    assert [check.iteration for check in solution.history] == sorted(check.iteration for check in solution.history)


def test_stored_costs_with_other_weights():
    cloud = islands([20, 30], [25, 15]).geometry
    assert isinstance(cloud, AbstractGeometry)
    a = torch.linspace(1.0, 3.0, 50).double()
    problem = Problem(CostMatrix(cloud.block(slice(None))), a / a.sum(), epsilon=1.0)
    solution = Auto(tolerance=1e-6).run(problem)
    assert solution.status.is_converged
    assert "2 clusters" in solution.method
    assert residual(problem, *solution.potentials) <= 1.1e-6


def test_unbalanced_problems_need_no_such_thing():
    problem = islands([20, 30], [25, 15])
    soft = Problem(problem.geometry, epsilon=1.0, rho_a=5.0, rho_b=5.0)
    solution = Auto(tolerance=1e-6).run(soft)
    assert solution.status.is_converged
    assert "clusters" not in solution.method
