"""Counts of pairs and exponentials: no machine changes them, so they show which work a method saves."""

from __future__ import annotations

import pytest
import torch

import isotherm
from isotherm.geometry import Grid, PointCloud
from isotherm.kernels import Formula, backends, count_work, hard_min, plan_apply, softmin, symmetric_softmin
from isotherm.problem import Problem
from isotherm.solvers import LogSinkhorn, Multiscale, Symmetric, solve_batch

pytestmark = pytest.mark.skipif(bool(backends()["cpu"]), reason="the compiled kernels count")


def points(n, d, *, seed=0, dtype=torch.float32):
    return torch.rand(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_count_work_counts_each_pair_once():
    costs, h = Formula("sqeuclidean", points(300, 3), points(512, 3, seed=1)), torch.zeros(512)
    with count_work() as work:
        softmin(costs, h, epsilon=0.1)
    assert (work.pairs, work.exponentials) == (300 * 512, 300 * 512)
    with count_work() as work:
        hard_min(costs, h)
    assert (work.pairs, work.exponentials) == (300 * 512, 0)
    with count_work() as work:
        plan_apply(costs, torch.zeros(300), h, torch.ones(512, 2), epsilon=0.1)
    assert (work.pairs, work.exponentials) == (300 * 512, 300 * 512)


def test_count_work_is_zero_outside_kernels():
    with count_work() as work:
        points(9, 9) @ points(9, 9)
    assert (work.pairs, work.exponentials) == (0, 0)


def test_count_work_ends_with_an_exception():
    costs = Formula("sqeuclidean", points(64, 3), points(64, 3))

    def fail():
        with count_work() as work:
            found.append(work)
            softmin(costs, torch.zeros(64), epsilon=0.1)
            raise RuntimeError

    found = []
    with pytest.raises(RuntimeError):
        fail()
    assert found[0].pairs == 64 * 64


def test_symmetric_kernel_meets_half_of_the_pairs():
    x = points(2048, 3)
    costs, h = Formula("sqeuclidean", x, x), torch.zeros(2048)
    with count_work() as work:
        symmetric_softmin(costs, h, guess=h, epsilon=1.0)
    assert 0.5 < work.exponentials / 2048**2 < 0.55


def test_own_problem_takes_half_of_the_exponentials():
    x = points(2500, 3)
    problem = Problem(PointCloud(x, x), epsilon=0.05)
    with count_work() as symmetric:
        Symmetric(tolerance=1e-3).run(problem)
    with count_work() as general:
        LogSinkhorn(tolerance=1e-3, relaxation=1.0).run(problem)
    assert symmetric.exponentials < 0.55 * general.exponentials


def test_blocked_sweeps_take_their_exponentials_a_few_times_only():
    x, y = points(700, 3), points(700, 3, seed=1)
    with count_work() as work:
        solution = isotherm.solve(x, y, epsilon=0.005, tolerance=1e-3)
    assert solution.iterations > 20
    assert work.exponentials < 0.4 * solution.iterations * 700**2
    assert work.pairs < 0.9 * solution.iterations * 700**2  # panels of no weight are left out


def test_multiscale_meets_a_part_of_the_pairs():
    n = 6000
    problem = Problem(PointCloud(points(n, 2), points(n, 2, seed=1)), epsilon=1e-3)
    with count_work() as work:
        solution = Multiscale(solver=LogSinkhorn(tolerance=1e-3)).run(problem)
    with count_work() as dense:
        LogSinkhorn(tolerance=1e-3).run(problem)
    assert solution.status.is_converged
    assert work.pairs < 0.25 * dense.pairs


def test_a_grid_meets_pairs_of_an_axis_at_a_time():
    side = torch.arange(32.0)
    weights = points(32, 32).flatten() + 0.1
    with count_work() as work:
        solution = isotherm.solve(Grid([side, side]), a=weights / weights.sum(), epsilon=16.0, tolerance=1e-3)
    passes = 2 * solution.iterations + 12  # both directions, the first potentials and the errors at the end
    assert work.pairs <= passes * 32**2 * (32 + 32)


def test_finished_problems_leave_a_batch():
    sides = [(points(256, 2, seed=k), points(256, 2, seed=k + 9)) for k in range(4)]
    epsilons = [1.0, 1.0, 1.0, 2e-3]
    problems = [Problem(PointCloud(x, y), epsilon=e) for (x, y), e in zip(sides, epsilons, strict=True)]
    with count_work() as alone:
        longest = LogSinkhorn(tolerance=1e-3).run(problems[-1])
    with count_work() as together:
        solutions = solve_batch(problems, tolerance=1e-3)
    assert max(solution.iterations for solution in solutions[:-1]) < longest.iterations / 4
    assert together.pairs < 2 * alone.pairs  # not four times
