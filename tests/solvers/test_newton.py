"""Newton's method: the last digits where alternation does not get them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from isotherm import Grid, LogSinkhorn, Newton, Outcome, PointCloud, Problem, Relative
from isotherm.solvers.newton import NewtonIteration, slow_modes
from isotherm.testing import (
    as_problem,
    check_bounds,
    check_solution,
    cube_to_blobs,
    decoupled_clusters,
    dense_dual_value,
    dense_solution,
    random_problem,
)


def six_clusters(epsilon: float) -> Problem:
    generator = torch.Generator().manual_seed(1)
    centres = 6 * torch.randn(6, 2, generator=generator, dtype=torch.float64)
    x, y = (
        centres.repeat(20, 1) + 0.5 * torch.randn(120, 2, generator=generator, dtype=torch.float64) for _ in range(2)
    )
    b = torch.rand(120, generator=generator, dtype=torch.float64) + 0.5
    return Problem(PointCloud(x, y), None, b / b.sum(), epsilon=epsilon)


def test_newton_solves_nearly_decoupled_clusters():
    known = decoupled_clusters(generator=0, gap=25.0, leak=1e-4)
    problem = as_problem(known)
    slow = LogSinkhorn(tolerance=1e-9, max_iterations=1000).run(problem)
    assert not slow.status.is_converged
    solution = Newton(tolerance=1e-9, max_iterations=300).run(problem)
    check_solution(solution, tolerance=1e-9)
    assert solution.status.is_converged
    assert float((solution.coupling.to_dense() - known.plan).abs().sum()) < 1e-8


@pytest.mark.parametrize("epsilon", [1.0, 0.3, 0.1])
def test_newton_needs_no_more_than_alternation_on_clusters(epsilon):
    problem = six_clusters(epsilon)
    relaxed = LogSinkhorn(tolerance=1e-9, max_iterations=1000).run(problem)
    newton = Newton(tolerance=1e-9, max_iterations=1000).run(problem)
    check_solution(newton, tolerance=1e-9)
    assert newton.status.is_converged
    assert newton.iterations <= relaxed.iterations


def test_newton_of_a_cold_cloud_against_another():
    problem = cube_to_blobs(100, generator=0, epsilon=Relative(0.0005))
    solution = Newton(tolerance=1e-9).run(problem)
    check_solution(solution, tolerance=1e-9)
    assert solution.status.is_converged


@pytest.mark.parametrize("rho", [(math.inf, math.inf), (2.0, 2.0), (math.inf, 30.0), (30.0, math.inf)])
def test_newton_steps_give_the_dense_answer(rho, monkeypatch):
    monkeypatch.setattr("isotherm.solvers.newton.SLOW", 0)  # take over at once
    monkeypatch.setattr("isotherm.solvers.newton.SEEN", 3)
    known = random_problem(9, 8, 2, generator=2, zero_weights=True)
    rho_a, rho_b = (r * known.scale for r in rho)
    problem = Problem(as_problem(known).geometry, known.a, known.b, epsilon=0.1 * known.scale, rho_a=rho_a, rho_b=rho_b)
    iteration = NewtonIteration(problem, None, Newton(tolerance=1e-11, switch=1e3))
    residuals = [float(iteration.step()) for _ in range(60)]
    assert min(residuals) < 1e-12
    solution = Newton(tolerance=1e-11, switch=1e3).run(problem)
    check_solution(solution, tolerance=1e-11)
    assert solution.status.is_converged
    truth = dense_solution(problem)
    torch.testing.assert_close(solution.coupling.to_dense(), truth.plan, rtol=0, atol=1e-9)
    check_bounds(solution, value=dense_dual_value(problem, truth.f, truth.g))


def test_newton_raises_the_dual_at_every_step(monkeypatch):
    monkeypatch.setattr("isotherm.solvers.newton.SLOW", 0)
    monkeypatch.setattr("isotherm.solvers.newton.SEEN", 5)
    problem = six_clusters(0.299)
    iteration = NewtonIteration(problem, None, Newton(tolerance=1e-10, switch=1e3))
    values = []
    for _ in range(900):
        iteration.step()
        if iteration.point is not None:
            values.append(float(iteration.point.value))
    assert len(set(values)) > 3
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(values))


def test_newton_beyond_rounding_ends_with_a_status():
    problem = cube_to_blobs(40, generator=0, epsilon=Relative(0.01))
    solution = Newton(tolerance=1e-18, max_iterations=2000).run(problem)
    assert solution.status.outcome is Outcome.PRECISION
    assert max(solution.marginal_error) < 1e-11
    check_solution(solution)


def test_slow_modes_are_the_smallest_eigenvectors():
    """Full conjugate gradients on a small system: the Ritz vectors are eigenvectors."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    values = torch.logspace(-1, 0, 12, dtype=torch.float64)
    matrix = basis * values @ basis.T
    residual = basis.sum(1)
    search, size, tracks, lengths, turns = torch.zeros(12).double(), 0.0, [], [], []
    for _ in range(12):
        size, before = float(residual @ residual), size
        turn = size / before if lengths else 0.0
        search = residual + turn * search
        tracks.append(residual / size**0.5)
        lengths.append(size / float(search @ matrix @ search))
        turns.append(turn)
        residual = residual - lengths[-1] * (matrix @ search)
    modes = slow_modes(tracks, lengths, turns[1:])
    modes = modes / modes.norm(dim=0)
    assert float((basis[:, 0] @ modes[:, 0]).abs()) > 0.999
    assert modes.shape == (12, 8)


@pytest.mark.parametrize("switch", [0.0, -1.0])
def test_newton_refuses_a_switch_that_is_not_positive(switch):
    with pytest.raises(ValueError, match="`switch` must be positive"):
        Newton(switch=switch)


def test_newton_on_a_grid():
    axes = torch.linspace(0, 1, 12, dtype=torch.float64), torch.linspace(0, 1, 10, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(120, generator=generator, dtype=torch.float64) + 0.1 for _ in range(2))
    a, b = a / a.sum(), b / b.sum()
    problem = Problem(Grid(axes), a, b, epsilon=0.001)
    solution = Newton(tolerance=1e-9).run(problem)
    points = Problem(PointCloud(problem.geometry.source_points, problem.geometry.target_points), a, b, epsilon=0.001)
    truth = Newton(tolerance=1e-9).run(points)
    assert "Newton from iteration" in solution.method
    assert solution.status.is_converged
    torch.testing.assert_close(solution.f, truth.f, rtol=0, atol=1e-7)
