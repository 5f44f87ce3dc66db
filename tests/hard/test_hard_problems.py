"""Problems that stop or mislead solvers: each ends in a right answer, or in a status that says what is wrong.

Right is what linear programming says at temperature zero, and the relation

    OT_0 <= OT_epsilon <= OT_0 + epsilon H(a)

for what is too cold for a dense iteration; bounds are checked whatever the status.
"""

from __future__ import annotations

import math

import pytest
import torch

from isotherm import (
    Annealed,
    Auto,
    CostMatrix,
    Exact,
    LogSinkhorn,
    Newton,
    Outcome,
    PointCloud,
    Problem,
    Relative,
    Solution,
    Symmetric,
)
from isotherm.testing import as_problem, check_solution, decoupled_clusters, dense_solution, with_budget

SOLVERS = {"auto": Auto(), "log": LogSinkhorn(), "newton": Newton(), "annealed": Annealed()}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
DTYPES = {"float32": torch.float32, "float64": torch.float64}
each_dtype = pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)


def points(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def clusters(dtype: torch.dtype, epsilon: float) -> Problem:
    """Six clusters whose masses differ by some percent between the sides, many epsilon apart."""
    centres = 6 * points(6, 2, 1)
    x, y = (centres.repeat(10, 1) + 0.5 * points(60, 2, seed) for seed in (2, 3))
    b = torch.rand(60, generator=torch.Generator().manual_seed(4), dtype=torch.float64) + 0.5
    return Problem(PointCloud(x.to(dtype), y.to(dtype)), None, (b / b.sum()).to(dtype), epsilon=epsilon)


def skewed(dtype: torch.dtype) -> Problem:
    """Weights over twelve orders of magnitude on both sides."""
    a, b = torch.logspace(0, -12, 40, dtype=torch.float64), torch.logspace(-12, 0, 35, dtype=torch.float64)
    return Problem(
        PointCloud(points(40, 3, 0, dtype), points(35, 3, 1, dtype)),
        (a / a.sum()).to(dtype),
        (b / b.sum()).to(dtype),
        epsilon=Relative(0.02),
    )


def far(dtype: torch.dtype) -> Problem:
    """Unit clouds ten thousand units from the origin: float32 keeps three decimals of a coordinate."""
    x, y = (points(40, 3, seed) + 1e4 for seed in (0, 1))
    return Problem(PointCloud(x.to(dtype), y.to(dtype)), epsilon=0.1)


def copies(dtype: torch.dtype) -> Problem:
    """Three places, ten points at each."""
    x, y = points(3, 2, 0, dtype).repeat(10, 1), points(3, 2, 1, dtype).repeat(8, 1)
    return Problem(PointCloud(x, y), epsilon=Relative(0.01))


def judge(solution: Solution, accuracy: float) -> None:
    """Bounds hold by linear programming; what is called converged is the dense answer; the rest is explained."""
    check_solution(solution)
    problem = solution.problem.double()
    exact, bounds = float(Exact().run(problem.at(0.0)).transport_cost), solution.certificate
    slack = 1e-9 * (1 + abs(exact))
    entropy = float(-torch.xlogy(problem.a, problem.a).sum())
    assert bounds.exact_lower <= exact + slack
    assert bounds.exact_upper >= exact - slack
    assert bounds.entropic_lower <= exact + problem.epsilon * entropy + slack
    assert bounds.entropic_upper >= exact - slack
    if solution.status.is_converged:
        truth = dense_solution(problem)
        paid = float((truth.plan * problem.geometry.block(slice(None))).sum())
        assert float(solution.transport_cost) == pytest.approx(paid, abs=accuracy * (1 + abs(paid)))
    else:
        assert solution.status.outcome in (Outcome.MAX_ITERATIONS, Outcome.PRECISION)
        assert "tolerance" in solution.status.advice


HARD = {"clusters": lambda dtype: clusters(dtype, 0.5), "skewed": skewed, "far": far, "copies": copies}


@each_solver
@each_dtype
@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
def test_hard_problem_ends_in_the_answer_or_says_why_not(solver, dtype, make):
    judge(solver.run(make(dtype)), accuracy=2e-3)


@pytest.mark.parametrize("make", HARD.values(), ids=HARD)
def test_default_solver_converges_on_hard_problems(make):
    solution = Auto().run(make(torch.float64))
    assert solution.status.is_converged, solution
    judge(solution, accuracy=2e-3)


@pytest.mark.parametrize(("gap", "leak"), [(15.0, 0.02), (25.0, 1e-4), (40.0, 1e-3), (200.0, 0.01)])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-9])
def test_default_solver_moves_mass_between_decoupled_clusters(gap, leak, tolerance):
    known = decoupled_clusters(generator=0, gap=gap, leak=leak)
    solution = Auto(tolerance=tolerance).run(as_problem(known))
    assert solution.status.is_converged
    check_solution(solution, tolerance=tolerance)
    assert float((solution.coupling.to_dense() - known.plan).abs().sum()) < 20 * tolerance


@each_solver
@each_dtype
def test_a_millionth_of_the_mean_cost(solver, dtype):
    problem = Problem(PointCloud(points(20, 3, 0, dtype), points(20, 3, 1, dtype)), epsilon=Relative(1e-6))
    solver = with_budget(solver, 2000)
    solution = solver.run(problem)
    check_solution(solution)
    exact = float(Exact().run(problem.double().at(0.0)).transport_cost)
    bounds = solution.certificate
    assert bounds.exact_lower <= exact * (1 + 1e-6)
    assert exact * (1 - 1e-6) <= bounds.exact_upper
    if solution.status.is_converged:
        assert float(solution.transport_cost) == pytest.approx(exact, rel=1e-3)
    else:
        assert "tolerance" in solution.status.advice


@each_solver
@each_dtype
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 1)])
@pytest.mark.parametrize("epsilon", [1e-2, 1.0, 1e6])
def test_one_point_on_a_side(solver, dtype, shape, epsilon):
    solution = solver.run(
        Problem(PointCloud(points(shape[0], 2, 0, dtype), points(shape[1], 2, 1, dtype)), epsilon=epsilon)
    )
    check_solution(solution)
    assert solution.status.is_converged
    assert sum(check.epsilon == epsilon for check in solution.history) <= 3


@each_solver
@each_dtype
def test_no_cost_at_all(solver, dtype):
    solution = solver.run(Problem(CostMatrix(torch.zeros(7, 5, dtype=dtype)), epsilon=1e-3))
    check_solution(solution)
    assert solution.status.is_converged
    assert float(solution.transport_cost) == 0.0


@each_dtype
@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("share", [1e-6, 1e-2])
def test_a_cloud_against_itself(dtype, offset, share):
    x = (points(40, 3, 0) + offset).to(dtype)
    solution = Symmetric().run(Problem(PointCloud(x, x), epsilon=Relative(share)))
    check_solution(solution)
    assert solution.status.is_converged
    assert math.isfinite(solution.certificate.entropic_upper)
