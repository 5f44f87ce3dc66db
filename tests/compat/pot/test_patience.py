"""Tight tolerances: quick sweeps first, Newton's method where they turn slow."""

import numpy as np
import torch

import isotherm
from isotherm import CostMatrix, Outcome, PointCloud, Problem
from isotherm.compat.pot.patience import LOOK, QUICK, patient_work
from isotherm.solvers.work import perform, perform_all

from .problems import random_costs


def problem_at(epsilon: float, size: int = 20) -> Problem:
    a, b, M, *_ = random_costs(size, size - 3)
    return Problem(CostMatrix(M), a, b, epsilon=epsilon)


def test_warm_problems_are_done_by_sweeps():
    solution = perform(patient_work(problem_at(1.0), 1e-12, 1000))
    assert solution.status.is_converged
    assert "Newton" not in solution.method
    assert solution.iterations < LOOK


def test_slow_problems_go_on_with_newton_and_count_all_iterations():
    solution = perform(patient_work(problem_at(0.02), 1e-12, 3000))
    assert solution.status.is_converged
    assert max(solution.marginal_error) <= 1e-12
    assert "Newton" in solution.method
    assert LOOK <= solution.iterations == solution.history[-1].iteration
    steps = [check.iteration for check in solution.history]
    assert steps == sorted(set(steps))


def test_budget_is_that_of_all_stages():
    for budget in (1, LOOK, QUICK, QUICK + 1, QUICK + 20):
        solution = perform(patient_work(problem_at(1e-4), 1e-13, budget))
        assert solution.status.outcome is Outcome.MAX_ITERATIONS
        assert solution.iterations <= budget + 100  # a few at each temperature of the way down come on top


def test_cold_problems_start_again_and_cool():
    solution = perform(patient_work(problem_at(2e-3), 1e-9, 5000))
    assert solution.status.is_converged
    assert len({check.epsilon for check in solution.history}) > 1


def test_points_and_float32_are_left_to_auto():
    a, b, M, x, y = random_costs()
    for geometry in (PointCloud(x, y), CostMatrix(torch.from_numpy(M.astype(np.float32)))):
        problem = Problem(geometry, a.astype(str(geometry.dtype)[6:]), b.astype(str(geometry.dtype)[6:]), epsilon=0.5)
        solution = perform(patient_work(problem, 1e-5, 1000))
        assert solution.method.startswith("Auto")
        assert solution.status.is_converged


def test_many_are_served_together():
    problems = [problem_at(epsilon) for epsilon in (1.0, 0.1, 0.02)]
    together = perform_all([patient_work(problem, 1e-10, 2000) for problem in problems])
    for problem, solution in zip(problems, together, strict=True):
        alone = isotherm.solve(problem.geometry, a=problem.a, b=problem.b, epsilon=problem.epsilon, tolerance=1e-12)
        torch.testing.assert_close(solution.potentials[0], alone.potentials[0], atol=1e-7, rtol=0.0)
