"""Starts from Gaussians, from fewer points, and from solutions of other points."""

from __future__ import annotations

import pytest
import torch

from isotherm import Auto, CostMatrix, Exact, LogSinkhorn, Newton, PointCloud, Problem, Relative, Scaling, solve
from isotherm.solvers.initial import extended_potentials, gaussian_potentials
from isotherm.testing import gaussian_grid


def normal(n: int, *, seed: int, stretch: tuple[float, float] = (1.0, 1.0)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 2, generator=generator, dtype=torch.float64) * torch.tensor(stretch, dtype=torch.float64)


@pytest.mark.parametrize("dimension", [1, 2])
def test_gaussian_potentials_are_the_closed_form(dimension):
    known = gaussian_grid(64 if dimension == 1 else 24, dimension, generator=0)
    problem = Problem(PointCloud(known.x, known.y), known.a, known.b, epsilon=known.epsilon)
    for ours, truth, weights in zip(gaussian_potentials(problem), (known.f, known.g), (known.a, known.b), strict=True):
        apart = ours - truth
        apart = apart - weights @ apart
        assert float(weights @ apart.abs()) < 1e-3 * known.scale


def test_gaussian_potentials_of_half_the_cost_are_half_at_half_the_temperature():
    x, y = normal(30, seed=0), normal(30, seed=1, stretch=(2.0, 0.5))
    whole = gaussian_potentials(Problem(PointCloud(x, y), epsilon=1.0))
    half = gaussian_potentials(Problem(PointCloud(x, y, "half_sqeuclidean"), epsilon=0.5))
    for one, two in zip(whole, half, strict=True):
        torch.testing.assert_close(0.5 * one, two)


def test_gaussian_start_survives_a_flat_cloud():
    x, y = normal(30, seed=0), normal(30, seed=1)
    x[:, 1] = 0.0
    solution = LogSinkhorn().run(Problem(PointCloud(x, y), epsilon=0.5), init="gaussian")
    assert solution.status.is_converged


@pytest.mark.parametrize(("init", "share"), [("gaussian", 0.7), ("subsample", 1.0)])
def test_named_starts_are_shorter_and_do_not_change_the_answer(init, share):
    x, y = normal(300, seed=0), normal(250, seed=1, stretch=(2.0, 0.5)) + 1
    problem = Problem(PointCloud(x, y), epsilon=Relative(0.02))
    solver = LogSinkhorn(tolerance=1e-3)
    cold, warm = solver.run(problem), solver.run(problem, init=init)
    assert warm.status.is_converged
    assert warm.iterations < share * cold.iterations
    exact = solver.with_tolerance(1e-9)
    torch.testing.assert_close(exact.run(problem, init=init).f, exact.run(problem).f, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [LogSinkhorn(), Scaling(), Auto(), Newton()])
def test_solution_of_other_points_starts_a_solve(solver):
    x, y = normal(400, seed=0), normal(400, seed=1, stretch=(2.0, 0.5)) + 1
    few = solver.run(Problem(PointCloud(x[:150], y[:120]), epsilon=0.3))
    problem = Problem(PointCloud(x, y), epsilon=0.3)
    cold, warm = solver.run(problem), solver.run(problem, init=few)
    assert warm.status.is_converged
    assert warm.iterations < cold.iterations


def test_extension_to_the_same_points_is_a_soft_transform():
    x, y = normal(20, seed=0), normal(15, seed=1)
    solution = LogSinkhorn(tolerance=1e-10).run(Problem(PointCloud(x, y), epsilon=0.5))
    for ours, given in zip(extended_potentials(solution, PointCloud(x, y)), solution.potentials, strict=True):
        torch.testing.assert_close(ours, given, rtol=0, atol=1e-8)


def test_front_door_takes_names_and_numpy():
    x, y = normal(80, seed=0).numpy(), normal(70, seed=1).numpy()
    small = solve(x[:40], y[:30], epsilon=0.5)
    for init in ("gaussian", "subsample", small):
        assert solve(x, y, epsilon=0.5, init=init).status.is_converged


def test_starts_that_cannot_be_are_refused():
    x, y = normal(80, seed=0), normal(70, seed=1)
    cloud, matrix = Problem(PointCloud(x, y), epsilon=0.5), Problem(CostMatrix(torch.cdist(x, y)), epsilon=0.5)
    solver, few = LogSinkhorn(), LogSinkhorn().run(Problem(PointCloud(x[:9], y[:8]), epsilon=0.5))
    with pytest.raises(ValueError, match="`init` must be one of"):
        solver.run(cloud, init="normal")
    with pytest.raises(ValueError, match="needs points and a squared Euclidean cost"):
        solver.run(Problem(PointCloud(x, y, "euclidean"), epsilon=0.5), init="gaussian")
    for init in ("gaussian", "subsample"):
        with pytest.raises((ValueError, TypeError), match="needs points"):
            solver.run(matrix, init=init)
    with pytest.raises(TypeError, match="A solution of other sizes can start"):
        solver.run(matrix, init=few)
    exact = Exact().run(Problem(PointCloud(x[:9], y[:9]), epsilon=0.0))
    with pytest.raises(TypeError, match="at positive temperatures"):
        solver.run(cloud, init=exact)
