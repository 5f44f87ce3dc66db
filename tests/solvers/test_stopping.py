"""When to stop, and what to say about it."""

from __future__ import annotations

import math
import re
from itertools import pairwise

import pytest
import torch

from isotherm import Annealed, CostMatrix, LogSinkhorn, Outcome, Problem, Scaling
from isotherm.solvers.stopping import StoppingRule, fix_gauge, rounding_floor
from isotherm.testing import as_problem, check_solution, decoupled_clusters, random_problem

SOLVERS = {"scaling": Scaling, "log": LogSinkhorn}
each_solver = pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)


def problem(*, share: float = 0.1, dtype: torch.dtype = torch.float64) -> Problem:
    known = random_problem(8, 7, 2, generator=0, dtype=dtype)
    return as_problem(known, epsilon=share * known.scale)


@each_solver
def test_converged_status_names_error_and_tolerance(make):
    solution = make(tolerance=1e-6, relaxation=1.0).run(problem())
    assert solution.status.outcome is Outcome.CONVERGED
    assert max(solution.marginal_error) <= 1e-6
    assert "tolerance 1.00e-06" in solution.status.advice
    assert solution.history[-1].marginal_error <= 1e-6 < solution.history[-2].marginal_error


@each_solver
def test_budget_status_advises_and_forecasts(make):
    solution = make(tolerance=1e-9, max_iterations=20, relaxation=1.0).run(problem())
    assert solution.status.outcome is Outcome.MAX_ITERATIONS
    assert solution.iterations == 20
    for word in ("after 20 iterations", "Raise max_iterations", "Annealed()", "certificate"):
        assert word in solution.status.advice
    forecast = float(re.search(r"about (\S+) more needed", solution.status.advice)[1])
    needed = make(tolerance=1e-9, relaxation=1.0).run(problem()).iterations - 20
    assert needed / 2 <= forecast <= 2 * needed


@each_solver
def test_rounding_status_instead_of_endless_iteration(make):
    solution = make(tolerance=1e-12).run(problem(share=0.3, dtype=torch.float32))
    assert solution.status.outcome is Outcome.PRECISION
    assert solution.iterations < 5000
    assert "torch.float32" in solution.status.advice
    assert "float64" in solution.status.advice
    check_solution(solution)
    assert make(tolerance=1e-12).run(problem(share=0.3)).status.is_converged


@each_solver
@pytest.mark.parametrize("tolerance", [1e-3, 3e-4, 1e-4, 3e-5, 1e-5])
def test_float32_reaches_any_tolerance_above_its_rounding(make, tolerance):
    for seed in range(10):
        known = random_problem(9, 8, 2, generator=seed, dtype=torch.float32)
        solution = make(tolerance=tolerance).run(as_problem(known, epsilon=0.5 * known.scale))
        assert solution.status.outcome is Outcome.CONVERGED
        assert max(solution.marginal_error) <= tolerance


@pytest.mark.parametrize(("relaxation", "least"), [(1.0, 100), (None, 20)])
@each_solver
def test_plateau_is_not_taken_for_convergence(make, relaxation, least):
    """The error of two far clusters rests at 2 leak, long before it falls."""
    known = decoupled_clusters(generator=0)
    for dtype in (torch.float32, torch.float64):
        single = decoupled_clusters(generator=0, dtype=dtype)
        solution = make(tolerance=1e-4, relaxation=relaxation).run(as_problem(single))
        assert solution.status.outcome is Outcome.CONVERGED
        assert solution.iterations > least
        assert float((solution.coupling.to_dense().double() - known.plan).abs().sum()) < 2e-3


@each_solver
def test_relative_gap_is_reached_as_well(make):
    asked = problem()
    loose = make(tolerance=0.5).run(asked)
    tight = make(tolerance=0.5, relative_gap=1e-6).run(asked)
    assert loose.certificate.relative_gap > 1e-6
    assert tight.certificate.relative_gap <= 1e-6
    assert tight.iterations > loose.iterations
    assert tight.status.is_converged


@each_solver
def test_relative_gap_out_of_budget_says_what_is_missing(make):
    solution = make(tolerance=0.5, relative_gap=1e-9, max_iterations=10).run(problem())
    assert solution.status.outcome is Outcome.MAX_ITERATIONS
    assert "the certified gap being what is missing" in solution.status.advice


@each_solver
def test_converged_at_the_last_iteration_is_converged(make):
    asked, rule = problem(share=0.3), {"tolerance": 1e-2, "relative_gap": 1e-5}
    for budget in range(1, 60):
        solution = make(**rule, max_iterations=budget).run(asked)
        meets = max(solution.marginal_error) <= 1e-2 and solution.certificate.relative_gap <= 1e-5
        if meets and solution.history[-1].marginal_error <= 1e-2:
            assert solution.status.is_converged, f"budget {budget}"


@each_solver
def test_check_every_spares_looks(make):
    solution = make(check_every=7, tolerance=1e-6).run(problem())
    assert all(check.iteration % 7 == 0 for check in solution.history)
    assert solution.status.is_converged
    odd = make(check_every=7, max_iterations=10, tolerance=1e-13).run(problem())
    assert [check.iteration for check in odd.history] == [7, 10]


@each_solver
def test_residual_of_plain_balanced_steps_never_rises(make):
    errors = [check.marginal_error for check in make(tolerance=1e-9, relaxation=1.0).run(problem()).history]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(errors))


@each_solver
def test_status_mentions_a_dtype_too_coarse_for_the_temperature(make):
    cost = CostMatrix(1e4 + torch.rand(5, 5, generator=torch.Generator().manual_seed(0)))
    solution = make(max_iterations=3, tolerance=1e-12).run(Problem(cost, epsilon=0.05))
    assert "use float64 for trustworthy digits" in solution.status.advice


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rounding_floor_is_the_unit_roundoff_over_temperature(dtype):
    cost = CostMatrix(torch.tensor([[0.0, 100.0]], dtype=dtype))
    unit = torch.finfo(dtype).eps
    assert rounding_floor(Problem(cost, epsilon=0.1)) == pytest.approx(1000 * unit)
    assert rounding_floor(Problem(cost, epsilon=1e6)) == unit


def test_gauge_is_fixed_in_balanced_problems_only():
    f, g = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    cost, b = CostMatrix(torch.zeros(2, 2)), torch.tensor([0.25, 0.75])
    fixed = fix_gauge(Problem(cost, None, b, epsilon=1.0), f, g)
    assert fixed[0].tolist() == [5.5, 6.5]
    assert fixed[1].tolist() == [-1.5, 0.5]
    assert fix_gauge(Problem(cost, None, b, epsilon=1.0, rho_a=1.0), f, g) == (f, g)
    heavy = fix_gauge(Problem(cost, 4 * torch.full((2,), 0.5), 4 * b, epsilon=1.0), f, g)
    assert heavy[1].tolist() == [-1.5, 0.5]


@pytest.mark.parametrize("rho", [(math.inf, 2.0), (2.0, math.inf), (0.5, 3.0)])
@pytest.mark.parametrize("heavier", [0.2, 1.0, 6.0])
@each_solver
def test_unequal_masses_converge_to_the_tolerance(make, rho, heavier):
    known = random_problem(7, 6, 2, generator=1)
    rho_a, rho_b = (r * known.scale for r in rho)
    asked = Problem(
        as_problem(known).geometry, heavier * known.a, known.b, epsilon=0.4 * known.scale, rho_a=rho_a, rho_b=rho_b
    )
    for tolerance in (1e-3, 1e-6, 1e-9):
        solution = make(tolerance=tolerance).run(asked)
        assert solution.status.outcome is Outcome.CONVERGED
        assert max(solution.marginal_error) <= tolerance


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tolerance": 0.0}, ValueError, "`tolerance` must be positive"),
        ({"tolerance": math.nan}, ValueError, "`tolerance` must be positive"),
        ({"tolerance": "low"}, TypeError, "`tolerance` must be a positive number"),
        ({"relative_gap": -1.0}, ValueError, "`relative_gap` must be positive"),
        ({"max_iterations": 0}, ValueError, "`max_iterations` must be at least 1"),
        ({"max_iterations": 1.5}, TypeError, "`max_iterations` must be a whole number"),
        ({"check_every": 0}, ValueError, "`check_every` must be at least 1"),
    ],
)
def test_rule_refuses_settings_out_of_range(changes, error, message):
    rule = {"tolerance": 1e-4, "relative_gap": None, "max_iterations": 10, "check_every": None} | changes
    with pytest.raises(error, match=message):
        StoppingRule(**rule)
    with pytest.raises(error, match=message):
        LogSinkhorn(**rule)


def test_callback_sees_the_annealing_too():
    seen = []
    solution = Annealed().run(problem(share=0.05), callback=seen.append)
    assert seen == list(solution.history)
