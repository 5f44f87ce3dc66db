"""Over-relaxation: far fewer passes, the same answers, an honest residual."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from isotherm import LogSinkhorn, Outcome, PointCloud, Problem, Relative, Scaling
from isotherm.solvers.log_sinkhorn import LogSweep
from isotherm.solvers.relaxation import Alternation, Relaxation
from isotherm.testing import as_problem, check_solution, cube_to_blobs, random_problem

SOLVERS = {"scaling": Scaling, "log": LogSinkhorn}
each_solver = pytest.mark.parametrize("make", SOLVERS.values(), ids=SOLVERS)
PASSES = 2  # in an iteration


@pytest.mark.parametrize(("tolerance", "most"), [(1e-3, 250), (1e-6, 370)])
def test_passes_at_two_thousandths_of_the_mean_cost(tolerance, most):
    """The reference point: plain iteration needs 2,250 and 5,898 passes."""
    problem = cube_to_blobs(generator=0, epsilon=Relative(0.002))
    solution = LogSinkhorn(tolerance=tolerance).run(problem)
    assert solution.status.is_converged
    assert max(solution.marginal_error) <= tolerance
    assert PASSES * solution.iterations <= most


@pytest.mark.parametrize("share", [0.05, 0.3, 2.0])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-6])
def test_easy_problems_lose_nothing(share, tolerance):
    problem = cube_to_blobs(200, generator=1, epsilon=Relative(share))
    plain = LogSinkhorn(tolerance=tolerance, relaxation=1.0).run(problem)
    relaxed = LogSinkhorn(tolerance=tolerance).run(problem)
    assert relaxed.iterations <= plain.iterations + 2


def test_relaxation_saves_most_of_the_passes_of_random_costs_in_many_dimensions():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 10, 64, generator=generator, dtype=torch.float64)
    x, y = (
        side[torch.randint(10, (300,), generator=generator)]
        + 0.3 * torch.randn(300, 64, generator=generator, dtype=torch.float64)
        for side in centres
    )
    problem = Problem(PointCloud(x, y), epsilon=Relative(0.005))
    plain = LogSinkhorn(tolerance=1e-6, relaxation=1.0, max_iterations=20_000).run(problem)
    relaxed = LogSinkhorn(tolerance=1e-6).run(problem)
    assert plain.status.is_converged
    assert relaxed.status.is_converged
    assert 3 * relaxed.iterations < plain.iterations


@each_solver
@pytest.mark.parametrize("relaxation", [None, 0.7, 1.0, 1.5, 1.9])
@pytest.mark.parametrize("rho", [(math.inf, math.inf), (1.0, 2.0), (math.inf, 0.1), (50.0, math.inf)])
def test_every_relaxation_gives_the_same_answer(make, relaxation, rho):
    known = random_problem(9, 8, 2, generator=3, zero_weights=True)
    rho_a, rho_b = (r * known.scale for r in rho)
    problem = Problem(as_problem(known).geometry, known.a, known.b, epsilon=0.1 * known.scale, rho_a=rho_a, rho_b=rho_b)
    truth = LogSinkhorn(tolerance=1e-11, relaxation=1.0, max_iterations=50_000).run(problem)
    solution = make(tolerance=1e-10, relaxation=relaxation).run(problem)
    check_solution(solution, tolerance=1e-10)
    assert solution.status.is_converged
    for p, q in zip(solution.potentials, truth.potentials, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-7 * known.scale)  # also where there is no mass


@pytest.mark.parametrize("rho", [math.inf, 3.0])
def test_residual_of_relaxed_steps_is_that_of_the_pair_reported(rho):
    """To first order: within a few percent of the error recomputed once steps are small."""
    known = random_problem(12, 10, 2, generator=4)
    problem = Problem(as_problem(known).geometry, known.a, known.b, epsilon=0.1 * known.scale, rho_a=rho * known.scale)
    sweep = LogSweep(problem)
    iteration = Alternation(problem, sweep, None, 1.6)
    for step in range(40):
        f, g = iteration.potentials()
        wanted = problem.a * (-f / problem.rho_a).exp()
        error = float((problem.a * ((f - sweep.rows(g)) / problem.epsilon).exp() - wanted).abs().sum() / wanted.sum())
        told = float(iteration.step())
        if step > 10 and error > 1e-12:
            assert told == pytest.approx(error, rel=0.1)
    assert error < 1e-3


def test_relaxation_estimates_the_best_factor_from_any_rate():
    """A mode of plain rate theta^2 shrinks by the root of a quadratic when relaxed; the estimate inverts that."""
    theta_squared = 0.97
    best = 2 / (1 + math.sqrt(1 - theta_squared))
    relaxation, size, visited = Relaxation(None), 1.0, []
    for _ in range(200):
        omega = relaxation.omega
        visited.append(omega)
        if omega < best:
            half = omega * math.sqrt(theta_squared) / 2
            rate = (half + math.sqrt(half**2 - (omega - 1))) ** 2
        else:
            rate = omega - 1
        size *= rate
        relaxation.observe(torch.tensor(size, dtype=torch.float64))
    assert max(visited[100:]) == pytest.approx(best, abs=1e-6)
    assert min(visited[100:]) > 1 + 0.8 * (best - 1)


def test_relaxation_starts_plain_and_falls_back_when_the_dual_drops():
    problem = cube_to_blobs(64, generator=2, epsilon=1e-4)
    iteration = Alternation(problem, LogSweep(problem), None, 1.99)
    assert not iteration.is_relaxed
    values, was_plain = [], 0
    for _ in range(60):
        iteration.step()
        f, g = iteration.potentials()
        values.append(float(problem.a @ f + problem.b @ g))
        was_plain += not iteration.is_relaxed
    assert was_plain > 1, "steps of almost 2 at this temperature overshoot; without a fallback they would not stop"
    assert values[-1] > values[0]
    assert all(math.isfinite(value) for value in values)


def test_float32_rounding_amplified_by_relaxation_is_left_behind():
    problem = cube_to_blobs(100, generator=0, epsilon=Relative(0.02), dtype=torch.float32)
    solution = LogSinkhorn(tolerance=1e-9).run(problem)
    assert solution.status.outcome is Outcome.PRECISION
    plain = LogSinkhorn(tolerance=1e-9, relaxation=1.0).run(problem)
    assert max(solution.marginal_error) <= 2 * max(plain.marginal_error) + 1e-6


@each_solver
@pytest.mark.parametrize("relaxation", [0.0, 2.0, -1.0, math.nan])
def test_relaxation_out_of_range_is_refused(make, relaxation):
    with pytest.raises(ValueError, match="`relaxation` must"):
        make(relaxation=relaxation)


@pytest.mark.parametrize("solver", [LogSinkhorn(), Scaling()])
def test_factor_of_a_like_problem_is_taken_until_the_rate_is_known(solver):
    problem = Problem(PointCloud(torch.rand(30, 2), torch.rand(40, 2)), epsilon=0.1)
    iteration = solver.start(problem, None)
    iteration.lengthen(1.6)
    for _ in range(3):
        iteration.step()
    assert iteration.lengthening == 1.6
    assert iteration.is_relaxed
    plain = replace(solver, relaxation=1.0).start(problem, None)
    plain.lengthen(1.6)
    assert plain.lengthening == 1.0
