"""Exact transport: three algorithms, one answer, with optimal prices."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment, linprog

import isotherm._checks
from isotherm import CostMatrix, EuclideanPower, Exact, LogSinkhorn, Outcome, PointCloud, Problem, solve
from isotherm.testing import (
    as_problem,
    check_dual_feasible,
    check_solution,
    matching,
    one_dimensional_cost,
    one_dimensional_plan,
    random_problem,
)

EXAMPLES = settings(deadline=None, max_examples=50, derandomize=True)
LINE_COSTS = {
    "sqeuclidean": "sqeuclidean",
    "half": "half_sqeuclidean",
    "euclidean": "euclidean",
    "dot": "negative_dot",
    "cube": EuclideanPower(3),
    "power 1.5": EuclideanPower(1.5),
}


def line_problem(n: int, m: int, seed: int, cost, *, is_uniform: bool, with_ties: bool = False) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(size, 1, generator=generator, dtype=torch.float64) for size in (n, m))
    if with_ties:
        x, y = x.round(), y.round()
    if is_uniform:
        return Problem(PointCloud(x, y, cost), epsilon=0.0)
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) for size in (n, m))
    a[1:] *= torch.rand(n - 1, generator=generator) > 0.3
    b[1:] *= torch.rand(m - 1, generator=generator) > 0.3
    return Problem(PointCloud(x, y, cost), 3 * a / a.sum(), 3 * b / b.sum(), epsilon=0.0)


@EXAMPLES
@given(
    n=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    cost=st.sampled_from(list(LINE_COSTS.values())),
    with_ties=st.booleans(),
)
def test_three_algorithms_agree(n, seed, cost, with_ties):
    problem = line_problem(n, n, seed, cost, is_uniform=True, with_ties=with_ties)
    values = []
    for algorithm in ("sorting", "assignment", "simplex"):
        solution = Exact(algorithm=algorithm).run(problem)
        check_solution(solution)
        check_dual_feasible(solution)
        values.append(float(solution.value))
    assert values == pytest.approx([values[0]] * 3, rel=1e-10, abs=1e-12)


@EXAMPLES
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    seed=st.integers(0, 10**6),
    cost=st.sampled_from(list(LINE_COSTS.values())),
    with_ties=st.booleans(),
)
def test_sorting_agrees_with_the_simplex_for_any_weights(n, m, seed, cost, with_ties):
    problem = line_problem(n, m, seed, cost, is_uniform=False, with_ties=with_ties)
    values = []
    for algorithm in ("sorting", "simplex"):
        solution = Exact(algorithm=algorithm).run(problem)
        check_solution(solution)
        check_dual_feasible(solution)
        values.append(float(solution.value))
        bounds = solution.certificate
        assert bounds.exact_lower == pytest.approx(bounds.exact_upper, rel=1e-9, abs=1e-11)
    assert values[0] == pytest.approx(values[1], rel=1e-10, abs=1e-12)


@pytest.mark.parametrize("p", [1, 2])
def test_sorting_matches_the_closed_form(p):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (500, 300))
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) for size in (500, 300))
    a, b = a / a.sum(), b / b.sum()
    solution = Exact().run(Problem(PointCloud(x, y, EuclideanPower(p)), a, b, epsilon=0.0))
    assert "sorting" in solution.method
    assert float(solution.value) == pytest.approx(one_dimensional_cost(x, y, a, b, p=p), rel=1e-10)
    torch.testing.assert_close(solution.coupling.to_dense(), one_dimensional_plan(x, y, a, b), rtol=0, atol=1e-14)
    check_dual_feasible(solution)


def test_assignment_finds_the_known_matching():
    known = matching(30, generator=0)
    solution = Exact().run(as_problem(known, epsilon=0.0))
    assert "SciPy's assignment" in solution.method
    torch.testing.assert_close(solution.coupling.to_dense(), known.exact_plan)
    assert float(solution.value) == pytest.approx(known.exact_cost, rel=1e-12)
    check_dual_feasible(solution)


@EXAMPLES
@given(
    n=st.integers(1, 7),
    m=st.integers(1, 7),
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["smooth", "integer", "constant"]),
)
def test_simplex_matches_the_linear_programme(n, m, seed, kind):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.randn(n, m, generator=generator, dtype=torch.float64)
    cost = {"smooth": cost, "integer": cost.round(), "constant": torch.zeros_like(cost)}[kind]
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.01 for size in (n, m))
    a, b = a / a.sum(), b / b.sum()
    solution = Exact(algorithm="simplex").run(Problem(CostMatrix(cost), a, b, epsilon=0.0))
    check_solution(solution)
    check_dual_feasible(solution)
    rows, columns = np.kron(np.eye(n), np.ones((1, m))), np.kron(np.ones((1, n)), np.eye(m))
    solved = linprog(
        cost.numpy().ravel(),
        A_eq=np.concatenate([rows, columns[:-1]]),
        b_eq=np.concatenate([a.numpy(), b.numpy()[:-1]]),
    )
    assert float(solution.value) == pytest.approx(solved.fun, rel=1e-6, abs=1e-8)
    assert float(a @ solution.f + b @ solution.g) == pytest.approx(float(solution.value), abs=1e-10)  # tight duals


@pytest.mark.parametrize("shift", [-1e6, -3.7, -1.0, 1e6])
@pytest.mark.parametrize("sizes", [(1, 1), (2, 1), (3, 4)])
def test_simplex_takes_costs_of_any_sign(shift, sizes):
    cost = torch.rand(*sizes, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, two = (Exact(algorithm="simplex").run(Problem(CostMatrix(c), epsilon=0.0)) for c in (cost, cost + shift))
    check_dual_feasible(two)
    assert float(two.value) == pytest.approx(float(one.value) + shift, rel=1e-12)
    torch.testing.assert_close(two.coupling.to_dense(), one.coupling.to_dense())


def test_exact_prices_are_derivatives_where_they_are_unique():
    known = random_problem(4, 3, 2, generator=5)
    problem = as_problem(known, epsilon=0.0)
    solution, step = Exact().run(problem), 1e-7
    for i in range(1, 4):
        move = torch.zeros(4, dtype=torch.float64)
        move[0], move[i] = -step, step
        more, less = (float(Exact().run(problem._with(a=problem.a + s * move)).value) for s in (1, -1))
        assert (more - less) / (2 * step) == pytest.approx(float(solution.f[i] - solution.f[0]), abs=1e-6)


def test_entropic_plans_tend_to_the_exact_one():
    known = matching(6, 2, generator=1)
    exact = Exact().run(as_problem(known, epsilon=0.0))
    apart = []
    for share in (0.1, 0.01, 0.002):
        solution = LogSinkhorn(max_iterations=50_000).run(as_problem(known, epsilon=share * known.scale))
        apart.append(float((solution.coupling.to_dense() - exact.coupling.to_dense()).abs().sum()))
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 0.02


@pytest.mark.parametrize(
    ("problem", "algorithm"),
    [
        (line_problem(5, 4, 0, "sqeuclidean", is_uniform=False), "sorting"),
        (line_problem(5, 5, 0, "sqeuclidean", is_uniform=True), "sorting"),
        (line_problem(5, 5, 0, EuclideanPower(0.5), is_uniform=True), "assignment"),
        (line_problem(5, 5, 0, EuclideanPower(0.5), is_uniform=False), "simplex"),
        (line_problem(5, 5, 0, lambda x, y: (x - y.T).abs(), is_uniform=True), "assignment"),
        (Problem(CostMatrix(torch.eye(3)), epsilon=0.0), "assignment"),
        (Problem(CostMatrix(torch.ones(3, 2)), epsilon=0.0), "simplex"),
        (Problem(PointCloud(torch.eye(3), torch.eye(3)), epsilon=0.0), "assignment"),
        (Problem(CostMatrix(torch.ones(2, 2)), [0.25, 0.75], epsilon=0.0), "simplex"),
    ],
)
def test_exact_chooses_the_cheapest_algorithm_that_applies(problem, algorithm):
    assert Exact().choose(problem) == algorithm
    check_dual_feasible(Exact().run(problem))


def test_concave_costs_on_a_line_are_not_sorted():
    problem = line_problem(6, 6, 3, EuclideanPower(0.5), is_uniform=True)
    values = [float(Exact(algorithm=name).run(problem).value) for name in ("assignment", "simplex")]
    assert values[0] == pytest.approx(values[1], rel=1e-10)
    with pytest.raises(ValueError, match="needs one feature and a convex cost"):
        Exact(algorithm="sorting").run(problem)


def test_exact_solution_is_sparse_and_says_so():
    solution = Exact().run(line_problem(7, 5, 0, "sqeuclidean", is_uniform=False))
    assert solution.status.outcome is Outcome.EXACT
    assert solution.iterations == 0
    assert solution.history == ()
    assert len(solution.coupling.mass) <= 7 + 5 - 1
    assert max(solution.marginal_error) < 1e-14
    assert solution.certificate.relative_gap < 1e-12


@pytest.mark.parametrize(
    ("given_", "init", "message"),
    [
        ({"epsilon": 0.1}, None, "solves the problem at epsilon = 0: got 0.1"),
        ({"epsilon": 0.0, "rho_a": 1.0}, None, "balanced transport only"),
        ({"epsilon": 0.0, "reference": torch.ones(3, 3)}, None, "reference coupling has no effect"),
        ({"epsilon": 0.0}, (torch.zeros(3), torch.zeros(3)), "does not start from potentials"),
    ],
)
def test_exact_refuses_what_has_no_meaning_when_cold(given_, init, message):
    with pytest.raises(ValueError, match=message):
        Exact().run(Problem(CostMatrix(torch.eye(3)), **given_), init=init)


def test_exact_refuses_a_tolerance():
    with pytest.raises(ValueError, match=r"Exact\(\) has no tolerance"):
        solve([0.0, 1.0], [0.0, 1.0], solver="exact", tolerance=1e-3)


def test_exact_refuses_algorithms_that_do_not_apply():
    with pytest.raises(ValueError, match="as many sources as targets, equally weighted"):
        Exact(algorithm="assignment").run(Problem(CostMatrix(torch.ones(2, 3)), epsilon=0.0))
    with pytest.raises(ValueError, match="Did you mean 'simplex'"):
        Exact(algorithm="simplx")


def test_exact_refuses_costs_that_do_not_fit(monkeypatch):
    monkeypatch.setattr(isotherm._checks, "available_memory", lambda device: 10)
    with pytest.raises(MemoryError, match=r"cost matrix of Exact\(\) of 3 x 3 needs"):
        Exact().run(Problem(CostMatrix(torch.eye(3)), epsilon=0.0))


@pytest.mark.parametrize(("package", "algorithm"), [("ot", "simplex"), ("scipy.optimize", "assignment")])
def test_exact_names_the_extra_that_is_missing(monkeypatch, package, algorithm):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"isotherm\[exact\]"):
        Exact(algorithm=algorithm).run(Problem(CostMatrix(torch.eye(3)), epsilon=0.0))


@pytest.mark.parametrize(
    ("n", "shift", "scale"), [(64, 0.0, 1.0), (150, 3.0, 1.0), (150, -1e3, 1e6), (201, 0.0, 1e-9), (70, 0.0, 1e60)]
)
def test_warm_assignment_is_the_cheapest_and_its_prices_prove_it(n, shift, scale):
    generator = torch.Generator().manual_seed(n)
    costs = scale * (torch.cdist(*torch.randn(2, n, 3, generator=generator).double()).square() + shift)
    solution = Exact().run(Problem(CostMatrix(costs), epsilon=0.0))
    rows, columns = linear_sum_assignment(costs.numpy())
    size = scale * (10.0 + abs(shift))
    assert float(solution.transport_cost) == pytest.approx(float(costs[rows, columns].mean()), abs=1e-13 * size)
    slack = costs - solution.f[:, None] - solution.g
    assert float(slack.min()) > -1e-12 * size
    assert float(solution.f.mean() + solution.g.mean()) == pytest.approx(
        float(solution.transport_cost), abs=1e-12 * size
    )


def test_assignment_of_equal_costs_needs_no_warming():
    solution = Exact(algorithm="assignment").run(Problem(CostMatrix(torch.full((70, 70), 2.0)), epsilon=0.0))
    assert float(solution.transport_cost) == pytest.approx(2.0)


def test_simplex_prices_are_feasible_between_points_without_mass():
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(9, 7, generator=generator).double()
    a, b = torch.rand(9, generator=generator).double(), torch.rand(7, generator=generator).double()
    a[:4] = 0.0
    b[:3] = 0.0
    solution = Exact(algorithm="simplex").run(Problem(CostMatrix(costs), a / a.sum(), b / b.sum(), epsilon=0.0))
    assert float((costs - solution.f[:, None] - solution.g).min()) > -1e-12
