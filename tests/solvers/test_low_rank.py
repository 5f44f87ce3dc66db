"""Couplings of low rank: feasible whatever happens, exact where the rank suffices, honest about the rest."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from isotherm import Auto, CostMatrix, Exact, LowRank, Outcome, PointCloud, Problem
from isotherm.solvers.low_rank import _cost_product
from isotherm.solvers.solve import NAMED_SOLVERS

SHIFT = torch.tensor([1.5, -1.0, 0.5], dtype=torch.float64)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def planted(count: int = 5, size: int = 20) -> tuple[Problem, Tensor]:
    """Clusters of unlike masses around centres far apart, each moved by one step much shorter than that."""
    centres = 20.0 * torch.eye(count, 3, dtype=torch.float64) + 10.0 * normal(count, 3, seed=0)
    labels = torch.arange(count).repeat_interleave(torch.tensor([size, size // 2, size * 2, size, size // 4][:count]))
    x = centres[labels] + 0.3 * normal(len(labels), 3, seed=1)
    y = centres[labels] + SHIFT + 0.3 * normal(len(labels), 3, seed=2)
    return Problem(PointCloud(x, y), epsilon=0.0), labels


def exact_cost(problem: Problem) -> float:
    return float(Exact().run(problem).transport_cost)


def dense_cost(problem: Problem, plan: Tensor) -> float:
    return float((problem.geometry.block(slice(None)).double() * plan.double()).sum())


def test_low_rank_matches_planted_clusters():
    problem, labels = planted()
    solution = LowRank(rank=5).run(problem)
    plan = solution.coupling.to_dense()
    between = torch.where(labels[:, None] == labels, 0.0, plan).sum()
    assert float(between) < 1e-6
    assert solution.status.outcome is Outcome.CONVERGED
    masses = torch.bincount(labels).double() / len(labels)
    torch.testing.assert_close(solution.coupling.g.sort().values, masses.sort().values, rtol=0, atol=1e-3)


@pytest.mark.parametrize("kind", ["cloud", "matrix", "zero_weights", "float32", "numpy"])
@pytest.mark.parametrize("budget", [1, 50])
def test_low_rank_is_feasible_and_costs_what_it_says(kind, budget):
    x, y = normal(23, 2, seed=3), 1.0 + normal(17, 2, seed=4)
    a, b = (0.1 + torch.rand(n, generator=torch.Generator().manual_seed(n), dtype=torch.float64) for n in (23, 17))
    if kind == "zero_weights":
        a[::3], b[1::4] = 0.0, 0.0
    a, b = 2.0 * a / a.sum(), 2.0 * b / b.sum()
    dtype = torch.float32 if kind == "float32" else torch.float64
    x, y, a, b = (tensor.to(dtype) for tensor in (x, y, a, b))
    geometry = {
        "matrix": lambda: CostMatrix(PointCloud(x, y, "euclidean").block(slice(None))),
        "numpy": lambda: PointCloud(x.numpy(), y.numpy()),
    }.get(kind, lambda: PointCloud(x, y))()
    problem = Problem(geometry, *map(geometry.namespace.export, (a, b)), epsilon=0.0)
    solution = LowRank(rank=4, max_iterations=budget).run(problem)
    coupling = solution.coupling
    unit = 1e-6 if dtype == torch.float32 else 1e-13
    source, target = (torch.as_tensor(side) for side in coupling.marginals())
    torch.testing.assert_close(source, problem.a, rtol=0, atol=unit)
    torch.testing.assert_close(target, problem.b, rtol=0, atol=unit)
    plan = torch.as_tensor(coupling.to_dense())
    assert torch.linalg.matrix_rank(plan.double(), rtol=1e-6) <= 4
    assert (plan >= 0).all()
    assert solution.transport_cost == pytest.approx(
        dense_cost(problem, plan), rel=1e-5 if dtype == torch.float32 else 1e-12
    )
    assert solution.transport_cost >= exact_cost(problem) * (1 - 1e-6)
    assert isinstance(coupling.to_dense(), np.ndarray) == (kind == "numpy")
    assert all(later <= earlier for earlier, later in pairwise(solution.history))
    assert solution.iterations == len(solution.history) - 1


def test_low_rank_of_one_is_independence():
    problem, _ = planted(3, 6)
    solution = LowRank(rank=1).run(problem)
    torch.testing.assert_close(solution.coupling.to_dense(), torch.outer(problem.a, problem.b))


def test_low_rank_cost_falls_with_the_rank_towards_the_exact_one():
    problem = Problem(PointCloud(normal(12, 2, seed=5), 1.0 + normal(12, 2, seed=6)), epsilon=0.0)
    exact = exact_cost(problem)
    costs = [LowRank(rank=r).run(problem).transport_cost for r in (1, 3, 12)]
    assert all(later < earlier for earlier, later in pairwise(costs))
    assert exact <= costs[-1] <= 1.05 * exact


def test_low_rank_repeats_itself_and_listens_to_its_seed():
    problem = Problem(PointCloud(normal(15, 2, seed=7), normal(14, 2, seed=8)), epsilon=0.0)
    state = torch.get_rng_state()
    one, two, other = (LowRank(rank=3, seed=seed, max_iterations=3).run(problem) for seed in (0, 0, 1))
    assert torch.equal(one.coupling.q, two.coupling.q)
    assert not torch.equal(one.coupling.q, other.coupling.q)
    assert torch.equal(state, torch.get_rng_state()), "the global random state is nobody's business"


def test_low_rank_takes_more_intermediate_points_than_points():
    problem = Problem(PointCloud(normal(3, 2, seed=9), normal(2, 2, seed=10)), epsilon=0.0)
    solution = LowRank(rank=6).run(problem)
    assert solution.coupling.rank == 6
    assert solution.transport_cost == pytest.approx(exact_cost(problem), rel=0.02)


def test_low_rank_of_coincident_points_costs_nothing():
    problem = Problem(PointCloud(torch.zeros(4, 2).double(), torch.zeros(3, 2).double()), epsilon=0.0)
    assert LowRank(rank=2).run(problem).transport_cost == 0.0


def test_low_rank_says_what_it_is_and_is_never_chosen():
    problem, _ = planted(3, 6)
    solution = LowRank(rank=2, max_iterations=1).run(problem)
    assert "rank 2" in solution.method
    assert "no lower bound is known" in repr(solution)
    assert solution.status.outcome is Outcome.MAX_ITERATIONS
    assert "still falls" in solution.status.advice
    assert "not convex" in LowRank(rank=1).run(problem).status.advice
    assert not any(isinstance(solver, LowRank) for solver in NAMED_SOLVERS.values())
    assert not isinstance(Auto().choose(problem).solver, LowRank)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"epsilon": 0.1}, "got epsilon = 0.1"),
        ({"epsilon": 0.0, "rho_a": 1.0}, "got loose marginals"),
        ({"epsilon": 0.5, "reference": torch.ones(3, 2)}, "got epsilon = 0.5 and a reference coupling"),
    ],
)
def test_low_rank_refuses_other_problems(settings, match):
    problem = Problem(PointCloud(torch.zeros(3, 1), torch.ones(2, 1)), **settings)
    with pytest.raises(ValueError, match=match):
        LowRank(rank=2).run(problem)


@pytest.mark.parametrize("settings", [{"rank": 0}, {"rank": 2, "tolerance": 0.0}, {"rank": 2, "max_iterations": 0}])
def test_low_rank_refuses_bad_settings(settings):
    with pytest.raises(ValueError, match="must be"):
        LowRank(**settings)


@pytest.mark.parametrize("cost", ["sqeuclidean", "half_sqeuclidean", "negative_dot", "euclidean"])
def test_cost_product_is_the_matrix_product(cost):
    geometry, values = (
        PointCloud(100.0 + normal(11, 3, seed=11), 100.0 + normal(13, 3, seed=12), cost),
        normal(13, 4, seed=13),
    )
    torch.testing.assert_close(
        _cost_product(geometry, values), geometry.block(slice(None)) @ values, rtol=1e-9, atol=1e-9
    )
