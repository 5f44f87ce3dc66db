"""The default solver explains its choice, and its choice is right."""

from __future__ import annotations

import re

import pytest
import torch

import isotherm.solvers.auto as auto_module
from isotherm import (
    Auto,
    CostMatrix,
    Exact,
    Grid,
    LogSinkhorn,
    Newton,
    PointCloud,
    Problem,
    Relative,
    Scaling,
    Symmetric,
    kernels,
)
from isotherm.kernels import compiled
from isotherm.testing import check_solution, cube_to_blobs

COST = torch.tensor([[0.0, 1.0], [0.8, 0.0]])


def matrix_problem(spread: float, *, dtype: torch.dtype = torch.float32, epsilon: float = 1.0, **given) -> Problem:
    return Problem(CostMatrix((spread * COST).to(dtype)), epsilon=epsilon, **given)


@pytest.fixture
def _plain_torch():
    with kernels.use("reference"):
        yield


@pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))
@pytest.mark.parametrize("spread", [1.0, 1e4])
def test_auto_sweeps_small_problems_in_blocks(spread):
    choice = Auto().choose(matrix_problem(spread))
    assert isinstance(choice.solver, LogSinkhorn)
    assert choice.reason == "2 x 2 costs are few enough for sweeps in compiled blocks"


@pytest.mark.usefixtures("_plain_torch")
def test_auto_takes_scaling_where_it_is_safe():
    choice = Auto().choose(matrix_problem(30.0))
    assert isinstance(choice.solver, Scaling)
    assert choice.reason == "range(C) / epsilon is small enough for exp(-C / epsilon) in torch.float32"


@pytest.mark.usefixtures("_plain_torch")
def test_auto_leaves_scaling_where_it_could_underflow():
    choice = Auto().choose(matrix_problem(45.0))
    assert isinstance(choice.solver, LogSinkhorn)
    assert choice.reason.startswith("range(C) / epsilon = 45 exceeds 39.3")
    assert "torch.float32" in choice.reason
    assert isinstance(Auto().choose(matrix_problem(45.0, dtype=torch.float64)).solver, Scaling)


@pytest.mark.usefixtures("_plain_torch")
def test_auto_leaves_scaling_for_a_large_constant_when_unbalanced():
    cost = CostMatrix(COST + 45.0)
    assert isinstance(Auto().choose(Problem(cost, epsilon=1.0)).solver, Scaling)
    assert isinstance(Auto().choose(Problem(cost, epsilon=1.0, rho_a=1.0)).solver, LogSinkhorn)


def six_clusters() -> Problem:
    generator = torch.Generator().manual_seed(1)
    centres = 6 * torch.randn(6, 2, generator=generator, dtype=torch.float64)
    x, y = (centres.repeat(20, 1) + torch.randn(120, 2, generator=generator, dtype=torch.float64) / 2 for _ in range(2))
    b = torch.rand(120, generator=generator, dtype=torch.float64) + 0.5
    return Problem(PointCloud(x, y), None, b / b.sum(), epsilon=0.3)


def stretched(share: float) -> Problem:
    """Round against long: plain alternation is slow from zero."""
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(200, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    return Problem(PointCloud(x, y * torch.tensor([2.0, 0.5], dtype=torch.float64) + 1), epsilon=Relative(share))


def test_auto_anneals_where_the_first_iterations_predict_that_it_pays():
    problem = stretched(0.001)
    seen = []
    solution = Auto(tolerance=1e-3).run(problem, callback=seen.append)
    plain = LogSinkhorn(tolerance=1e-3).run(problem)
    assert solution.status.is_converged
    assert re.search(
        r"annealed over \d+ temperatures .* the first 10 iterations predicted about \d+ more", solution.method
    )
    assert 2 * solution.iterations < plain.iterations
    assert seen == list(solution.history)
    assert {check.epsilon for check in seen[:10]} == {problem.epsilon}
    assert seen[10].epsilon > problem.epsilon
    check_solution(solution, tolerance=1e-3)


def test_auto_does_not_anneal_an_easy_cold_problem():
    generator = torch.Generator().manual_seed(0)
    costs = CostMatrix(torch.rand(100, 100, generator=generator, dtype=torch.float64))
    problem = Problem(costs, epsilon=Relative(0.002))
    solution, plain = Auto(tolerance=1e-3).run(problem), LogSinkhorn(tolerance=1e-3).run(problem)
    assert "annealed" not in solution.method
    assert solution.iterations == plain.iterations


def test_auto_takes_the_log_domain_for_grids():
    axis = torch.arange(4.0)
    choice = Auto().choose(Problem(Grid((axis, axis), target_axes=(axis, axis + 1)), epsilon=5.0))
    assert isinstance(choice.solver, LogSinkhorn)
    assert "axis by axis" in choice.reason


@pytest.mark.usefixtures("_plain_torch")
def test_auto_takes_the_log_domain_for_a_general_reference():
    choice = Auto().choose(matrix_problem(1.0, reference=torch.ones(2, 2)))
    assert isinstance(choice.solver, LogSinkhorn)
    assert "reference" in choice.reason


def test_auto_does_not_store_large_kernels(monkeypatch):
    monkeypatch.setattr(auto_module, "SCALING_ENTRIES", 3)
    choice = Auto().choose(matrix_problem(1.0))
    assert isinstance(choice.solver, LogSinkhorn)
    assert choice.reason == "2 x 2 costs are recomputed rather than stored"


def test_auto_solves_zero_temperature_exactly():
    problem = matrix_problem(1.0, epsilon=0.0)
    assert Auto().choose(problem) == (Exact(), "epsilon is zero")
    assert float(Auto().run(problem).value) == 0.0


@pytest.mark.parametrize("epsilon", [1e-3, 0.02, 1.0])
def test_auto_says_what_it_chose_and_why(epsilon):
    problem = matrix_problem(1.0, epsilon=epsilon)
    solver, reason = Auto().choose(problem)
    solution = Auto().run(problem)
    assert solution.method.startswith(f"Auto chose {type(solver).__name__}")
    assert solution.method.endswith(f": {reason}")


def test_auto_hands_its_settings_on():
    auto = Auto(tolerance=1e-3, relative_gap=0.1, max_iterations=7, check_every=2)
    for spread, epsilon in ((1.0, 1.0), (50.0, 1.0), (1.0, 1e-3)):
        solver = auto.choose(matrix_problem(spread, epsilon=epsilon)).solver
        assert (solver.tolerance, solver.relative_gap, solver.max_iterations, solver.check_every) == (1e-3, 0.1, 7, 2)
    assert auto.with_tolerance(1e-6).tolerance == 1e-6


def test_auto_does_not_heat_a_warm_start():
    problem = stretched(0.001)
    first = Auto().run(problem)
    assert "annealed" in first.method
    assert first.status.is_converged
    again = Auto(tolerance=2e-4).run(problem, init=first)
    assert again.iterations <= 2
    assert {check.epsilon for check in again.history} == {problem.epsilon}
    check_solution(again, tolerance=2e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("share", [0.05, 0.5])
def test_auto_with_default_settings_converges_on_ordinary_clouds(dtype, share):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(60, 3, generator=generator, dtype=torch.float64).to(dtype) for _ in range(2))
    solution = Auto().run(Problem(PointCloud(x, y + 1), epsilon=share * 8.0))
    assert solution.status.is_converged
    check_solution(solution)


@pytest.mark.parametrize("field", ["tolerance", "relative_gap", "max_iterations", "check_every"])
def test_auto_refuses_settings_that_are_not_positive(field):
    with pytest.raises(ValueError, match=f"`{field}` must be"):
        Auto(**{field: 0})


def test_auto_sees_that_both_sides_are_the_same():
    x = torch.rand(30, 2, generator=torch.Generator().manual_seed(0))
    for other in (x, x.clone()):
        solution = Auto().run(Problem(PointCloud(x, other), epsilon=0.01))
        assert solution.method == "Auto chose Symmetric: both sides are the same"
        assert solution.status.is_converged
    assert not isinstance(Auto().choose(Problem(PointCloud(x, x.flip(0)), epsilon=0.01)).solver, Symmetric)


@pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="lists of pairs are read by compiled kernels")
def test_auto_meets_few_pairs_where_many_points_of_the_plane_meet_themselves():
    x = torch.rand(4200, 2, generator=torch.Generator().manual_seed(0))
    problem = Problem(PointCloud(x, x), epsilon=0.002)
    solution, plain = Auto().run(problem), Symmetric().run(problem)
    assert solution.method.startswith("Auto chose Multiscale around Symmetric")
    assert solution.status.is_converged
    assert float((solution.f - solution.g).std()) < 1e-7  # one potential, but for the gauge
    torch.testing.assert_close(solution.f, plain.f, rtol=0.0, atol=2e-5)


def test_auto_ends_with_newton_where_digits_are_asked_for():
    problem = stretched(0.01)
    choice = Auto(tolerance=1e-8).choose(problem)
    assert isinstance(choice.solver, Newton)
    assert choice.reason == "a tolerance of 1e-08 may need Newton's method"
    assert "Newton from iteration" in Auto(tolerance=1e-8).run(six_clusters()).method
    single = Problem(PointCloud(problem.geometry.x.float(), problem.geometry.y.float()), epsilon=problem.epsilon)
    assert isinstance(Auto(tolerance=1e-8).choose(single).solver, LogSinkhorn)


def at_random_places(n: int, share: float) -> Problem:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 10, 64, generator=generator, dtype=torch.float64)
    x, y = (
        side[torch.randint(10, (n,), generator=generator)]
        + 0.3 * torch.randn(n, 64, generator=generator, dtype=torch.float64)
        for side in centres
    )
    return Problem(PointCloud(x, y), epsilon=Relative(share))


def with_random_costs(n: int, share: float) -> Problem:
    generator = torch.Generator().manual_seed(0)
    return Problem(CostMatrix(torch.rand(n, n, generator=generator, dtype=torch.float64)), epsilon=Relative(share))


def in_a_cube(n: int, share: float) -> Problem:
    return cube_to_blobs(n, generator=0, epsilon=Relative(share))


PASSES = 2  # in an iteration


@pytest.mark.parametrize(("tolerance", "most"), [(1e-3, 250), (1e-6, 370)])
def test_auto_passes_at_two_thousandths_of_the_mean_cost(tolerance, most):
    solution = Auto(tolerance=tolerance).run(in_a_cube(1024, 0.002))
    assert solution.status.is_converged
    assert max(solution.marginal_error) <= tolerance
    assert PASSES * solution.iterations <= most


@pytest.mark.parametrize("make", [in_a_cube, at_random_places, with_random_costs])
@pytest.mark.parametrize("share", [0.05, 0.01, 0.002])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-6])
def test_auto_never_needs_many_more_passes_than_plain_alternation(make, share, tolerance):
    problem = make(200, share)
    auto = Auto(tolerance=tolerance).run(problem)
    plain = LogSinkhorn(tolerance=tolerance, relaxation=1.0, max_iterations=auto.iterations).run(problem)
    assert auto.status.is_converged
    if plain.status.is_converged:
        assert PASSES * auto.iterations <= PASSES * plain.iterations + 40


@pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="lists of pairs are read by compiled kernels")
def test_many_points_in_few_dimensions_go_through_cells():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(4200, 3, generator=generator) for _ in range(2))
    solution = Auto(tolerance=1e-2).run(Problem(PointCloud(x, y), epsilon=0.05))
    assert solution.status.is_converged
    assert "Auto chose Multiscale" in solution.method
    assert "4200 x 4200 points in at most 4 dimensions" in solution.method


@pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="lists of pairs are read by compiled kernels")
@pytest.mark.parametrize(("size", "dimension"), [(4000, 3), (4200, 5)])
def test_fewer_points_or_more_dimensions_do_not(size, dimension):
    cloud = PointCloud(torch.rand(size, dimension), torch.rand(size, dimension))
    assert isinstance(Auto().choose(Problem(cloud, epsilon=0.05)).solver, LogSinkhorn)


def test_the_budget_is_that_of_everything_together():
    problem = cube_to_blobs(300, generator=0, epsilon=Relative(1e-4))
    solution = Auto(tolerance=1e-9, max_iterations=120).run(problem)
    assert not solution.status.is_converged
    assert "annealed" in solution.method
    assert solution.iterations <= 120
