"""The dial: order kept, starts warm, cost and entropy in order."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import CostMatrix, Exact, LogSinkhorn, Problem, TemperaturePath, temperature_path
from isotherm.testing import as_problem, check_solution, matching, random_problem, two_by_two

EXACTLY = LogSinkhorn(tolerance=1e-9, max_iterations=20_000)


@pytest.fixture(scope="module")
def problem() -> Problem:
    known = random_problem(9, 8, 2, generator=0)
    return as_problem(known, epsilon=known.scale)


def test_path_keeps_the_order_asked(problem):
    asked = [0.5, 4.0, 0.0, 1.0, 0.5]
    path = temperature_path(problem, asked)
    assert isinstance(path, TemperaturePath)
    assert path.epsilons == tuple(asked)
    assert len(path) == 5
    assert path[0] is path[4]  # a temperature asked twice is solved once
    assert [solution.epsilon for solution in path] == asked
    for solution in path:
        check_solution(solution)


def test_path_slices_are_paths(problem):
    path = temperature_path(problem, [2.0, 1.0, 0.5])
    assert isinstance(path[:2], TemperaturePath)
    assert path[:2].epsilons == (2.0, 1.0)
    assert path[-1].epsilon == 0.5


@pytest.mark.parametrize("solver", ["log", "auto", "scaling", "annealed"])
def test_path_answers_are_those_of_separate_solves(problem, solver):
    asked = [0.7, 3.0]
    path = temperature_path(problem, asked, solver=solver)
    for epsilon, solution in zip(asked, path, strict=True):
        alone = EXACTLY.run(problem.at(epsilon))
        apart = float((solution.coupling.to_dense() - alone.coupling.to_dense()).abs().sum())
        assert solution.status.is_converged
        assert apart < 1e-2


def test_path_starts_warm(problem):
    solver = LogSinkhorn(tolerance=1e-6, relaxation=1.0)
    asked = [float(problem.epsilon * 0.9**k) for k in range(12)]
    warm = sum(solution.iterations for solution in temperature_path(problem, asked, solver=solver))
    cold = sum(solver.run(problem.at(epsilon)).iterations for epsilon in asked)
    assert warm < 0.8 * cold


def test_path_runs_from_hot_to_cold_whatever_the_order(problem):
    asked = [1.0, 3.0, 2.0]
    seen = []
    temperature_path(problem, asked, callback=seen.append)
    order = list(dict.fromkeys(check.epsilon for check in seen))
    assert order == [3.0, 2.0, 1.0]


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    n=st.integers(2, 7),
    m=st.integers(2, 7),
    seed=st.integers(0, 10**6),
    shares=st.lists(st.floats(0.1, 10.0), min_size=2, max_size=6, unique=True),
)
def test_cost_and_entropy_rise_with_temperature(n, m, seed, shares):
    known = random_problem(n, m, 2, generator=seed)
    asked = sorted(share * known.scale for share in shares)
    path = temperature_path(as_problem(known), [0.0, *asked], solver=EXACTLY)
    assert all(cold <= hot + 1e-8 * known.scale for cold, hot in pairwise(path.transport_costs))
    assert all(cold <= hot + 1e-8 for cold, hot in pairwise(path.normalised_entropies))
    assert all(0 <= entropy <= 1 for entropy in path.normalised_entropies)


def test_path_reaches_both_ends_of_the_dial():
    known = matching(8, generator=0)
    scale = known.scale
    path = temperature_path(as_problem(known), [1e4 * scale, 0.1 * scale, 0.0])
    assert path.normalised_entropies[0] == pytest.approx(1.0, abs=1e-6)
    assert path.normalised_entropies[2] == pytest.approx(0.0, abs=1e-12)
    assert path.transport_costs[0] == pytest.approx(scale, rel=1e-3)
    assert path.transport_costs[2] == pytest.approx(known.exact_cost, rel=1e-12)
    assert path[2].method.startswith("Exact by")


def test_path_of_the_worked_example_is_the_closed_form():
    cost = CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64))
    asked = [1e3, 1.0, 0.1, 0.01, 0.0]
    path = temperature_path(Problem(cost, epsilon=1.0), asked)
    assert path.transport_costs == pytest.approx([two_by_two(epsilon).transport_cost for epsilon in asked], abs=1e-12)


def test_path_reports_what_did_not_converge(problem):
    path = temperature_path(problem, [1.0, 0.01], solver=LogSinkhorn(max_iterations=3))
    assert not path[1].status.is_converged
    check_solution(path[1])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([], "at least one temperature: got none"),
        ([1.0, -1.0], "`epsilon` must be positive and finite: got -1"),
        ([math.nan], "`epsilon` must be positive and finite: got nan"),
    ],
)
def test_path_refuses_bad_temperatures(problem, asked, message):
    with pytest.raises(ValueError, match=message):
        temperature_path(problem, asked)


def test_path_refuses_zero_where_exact_transport_has_no_meaning(problem):
    loose = Problem(problem.geometry, problem.a, problem.b, epsilon=1.0, rho_a=1.0)
    with pytest.raises(ValueError, match="balanced transport only"):
        temperature_path(loose, [1.0, 0.0])
    assert len(temperature_path(loose, [1.0, 0.5])) == 2


def test_path_refuses_unknown_solvers(problem):
    with pytest.raises(ValueError, match="`solver` must be one of"):
        temperature_path(problem, [1.0], solver="anealed")


def test_path_does_not_use_the_temperature_of_the_problem(problem):
    one, two = (temperature_path(problem.at(epsilon), [1.0]) for epsilon in (0.0, 9.0))
    assert torch.equal(one[0].f, two[0].f)
    assert Exact().run(problem.at(0.0)).epsilon == 0.0
