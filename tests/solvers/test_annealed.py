"""Annealing: the schedule, what it costs and what it saves."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import Annealed, Auto, CostMatrix, Exact, LogSinkhorn, PointCloud, Problem, Scaling
from isotherm.testing import as_problem, check_history, check_solution, random_problem


@settings(deadline=None, max_examples=60, derandomize=True)
@given(first=st.floats(1e-3, 1e3), last=st.floats(1e-6, 1e3), ratio=st.floats(0.05, 0.95))
def test_schedule_falls_to_the_temperature_asked(first, last, ratio):
    schedule = Annealed(ratio=ratio).schedule_from(first, to=last)
    assert schedule[-1] == last
    assert all(hot > cold for hot, cold in pairwise(schedule))
    if len(schedule) > 1:
        assert schedule[0] == first
        assert all(cold >= ratio * hot * (1 - 1e-9) for hot, cold in pairwise(schedule))
    else:
        assert first <= last * (1 + 1e-9)


def test_schedule_starts_at_the_mean_cost():
    known = random_problem(6, 5, 2, generator=0)
    mean = float(known.a @ known.cost_matrix @ known.b)
    problem = as_problem(known, epsilon=0.01 * mean)
    assert Annealed().schedule(problem)[0] == pytest.approx(mean)
    heavy = Problem(problem.geometry, 9 * known.a, 9 * known.b, epsilon=0.01 * mean)
    assert Annealed().schedule(heavy)[0] == pytest.approx(mean)
    assert Annealed(first=7.0).schedule(problem)[0] == 7.0
    assert Annealed().schedule(problem.at(2 * mean)) == (2 * mean,)


def test_schedule_of_a_cost_with_negative_mean_is_one_temperature():
    cost = CostMatrix(-torch.ones(2, 2))
    assert Annealed().schedule(Problem(cost, epsilon=0.5)) == (0.5,)


@pytest.mark.parametrize("steps", [1, 3])
def test_history_tells_of_every_temperature(steps):
    problem = as_problem(random_problem(6, 5, 2, generator=0))
    solver = Annealed(ratio=0.5, steps=steps)
    schedule, solution = solver.schedule(problem), solver.run(problem)
    check_history(solution)
    before = len(schedule) - 1
    assert tuple(check.epsilon for check in solution.history[: before + 1]) == schedule
    assert [check.iteration for check in solution.history[:before]] == [steps * (k + 1) for k in range(before)]
    assert solution.iterations == solution.history[-1].iteration
    assert f"annealed over {len(schedule)} temperatures" in solution.method


def test_annealing_saves_iterations_when_cold():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(40, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    problem = Problem(PointCloud(x, y), epsilon=1e-3)
    inner = LogSinkhorn(tolerance=0.02, max_iterations=20_000)
    cold, annealed = inner.run(problem), Annealed(solver=inner).run(problem)
    assert cold.status.is_converged
    assert annealed.status.is_converged
    assert annealed.iterations < cold.iterations


def test_annealing_starts_from_given_potentials():
    problem = as_problem(random_problem(6, 5, 2, generator=1))
    first = Annealed().run(problem)
    again = Annealed().run(problem, init=first)
    assert again.iterations < first.iterations


def test_annealed_scaling_stops_heating_down_when_it_underflows():
    known = random_problem(6, 5, 2, generator=2, dtype=torch.float32)
    solution = Annealed(solver=Scaling()).run(as_problem(known, epsilon=1e-5 * known.scale))
    assert not solution.status.is_converged
    check_solution(solution)
    assert len(solution.history) < len(Annealed().schedule(as_problem(known, epsilon=1e-5 * known.scale)))


def test_annealed_sets_the_tolerance_of_its_solver():
    assert Annealed(solver=Scaling()).with_tolerance(1e-7).solver == Scaling(tolerance=1e-7)


@pytest.mark.parametrize("solver", [Exact(), Auto(), Annealed(), "log"])
def test_annealed_refuses_a_solver_without_steps(solver):
    with pytest.raises(TypeError, match=r"`solver` must be an entropic solver such as LogSinkhorn\(\)"):
        Annealed(solver=solver)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"ratio": 1.0}, "`ratio` must lie between 0 and 1"),
        ({"ratio": 0.0}, "`ratio` must be positive"),
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"first": -1.0}, "`first` must be positive"),
    ],
)
def test_annealed_refuses_settings_out_of_range(given_, message):
    with pytest.raises(ValueError, match=message):
        Annealed(**given_)


def test_annealed_refuses_zero_temperature():
    with pytest.raises(ValueError, match="positive for an entropic solver"):
        Annealed().run(Problem(CostMatrix(torch.ones(2, 2)), epsilon=0.0))
