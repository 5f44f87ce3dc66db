"""The log domain: right at every temperature, balanced or not."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import CostMatrix, LogSinkhorn, Outcome, PointCloud, Problem
from isotherm.testing import as_problem, check_solution, diracs, random_problem, sorted_line

EXAMPLES = settings(deadline=None, max_examples=40, derandomize=True)
EXACTLY = LogSinkhorn(tolerance=1e-12, max_iterations=20_000)


@EXAMPLES
@given(
    sizes=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 10)),
    seed=st.integers(0, 10**6),
    power=st.floats(-4, 4),
    zero_weights=st.booleans(),
    single=st.booleans(),
    cost=st.sampled_from(["sqeuclidean", "euclidean", "negative_dot"]),
)
def test_log_sinkhorn_is_finite_at_every_temperature(sizes, seed, power, zero_weights, single, cost):
    dtype = torch.float32 if single else torch.float64
    known = random_problem(*sizes, generator=seed, zero_weights=zero_weights, dtype=dtype, cost=cost)
    solution = LogSinkhorn(max_iterations=5).run(as_problem(known, epsilon=10**power * known.scale))
    check_solution(solution)
    assert solution.status.outcome is not Outcome.NON_FINITE


@pytest.mark.parametrize("epsilon", [1e-300, 1e-30, 1e-12, 1e12, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_log_sinkhorn_beyond_its_precision_has_finite_potentials_and_bounds(epsilon, dtype):
    known = random_problem(6, 5, 2, generator=0, dtype=dtype)
    solution = LogSinkhorn(max_iterations=5).run(as_problem(known, epsilon=epsilon))
    assert solution.f.isfinite().all()
    assert solution.g.isfinite().all()
    assert not solution.coupling.to_dense().isnan().any()
    bounds = solution.certificate
    assert not any(map(math.isnan, vars(bounds).values()))
    assert bounds.exact_lower <= float(known.a.double() @ known.cost_matrix @ known.b.double()) * (1 + 1e-6)


def test_log_sinkhorn_reaches_one_ten_thousandth_of_the_cost():
    known = sorted_line(6, 6, generator=3)
    solution = LogSinkhorn(max_iterations=200_000, tolerance=1e-3).run(as_problem(known, epsilon=1e-3 * known.scale))
    check_solution(solution, tolerance=1e-3)
    assert solution.status.is_converged
    assert float(solution.transport_cost) == pytest.approx(known.exact_cost, rel=0.02)


@pytest.mark.parametrize("epsilon", [1e-8, 1e-3, 1.0, 1e8])
def test_log_sinkhorn_of_one_point_needs_one_step(epsilon):
    known = diracs(generator=0)
    for problem in (as_problem(known, epsilon=epsilon), as_problem(known, epsilon=epsilon).transpose()):
        solution = LogSinkhorn().run(problem)
        assert solution.status.is_converged
        assert solution.iterations <= 2
        torch.testing.assert_close(solution.coupling.to_dense(), torch.outer(problem.a, problem.b), rtol=1e-6, atol=0)


@EXAMPLES
@given(seed=st.integers(0, 10**6), power=st.floats(-3, 3))
def test_cost_that_separates_gives_independence_at_every_temperature(seed, power):
    generator = torch.Generator().manual_seed(seed)
    u, v, a, b = (torch.rand(n, generator=generator, dtype=torch.float64) + 0.1 for n in (5, 4, 5, 4))
    a, b = a / a.sum(), b / b.sum()
    solution = EXACTLY.run(Problem(CostMatrix(u[:, None] + v), a, b, epsilon=10**power))
    torch.testing.assert_close(solution.coupling.to_dense(), torch.outer(a, b), rtol=0, atol=1e-11)
    torch.testing.assert_close(solution.f, u + b @ v, rtol=0, atol=1e-11 * 10 ** max(power, 0))
    assert float(solution.value) == pytest.approx(float(a @ u + b @ v), rel=1e-10)


def test_cold_plan_of_duplicated_points_shares_mass_by_weight():
    x = torch.tensor([[0.0], [0.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([[0.0], [1.0], [1.0]], dtype=torch.float64)
    a = torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    b = torch.tensor([0.4, 0.15, 0.45], dtype=torch.float64)
    plan = EXACTLY.run(Problem(PointCloud(x, y), a, b, epsilon=0.02)).coupling.to_dense()
    expected = torch.tensor([[0.1, 0, 0], [0.3, 0, 0], [0, 0.15, 0.45]], dtype=torch.float64)
    torch.testing.assert_close(plan, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("rho_a", "rho_b"), [(1e-6, 1e-6), (math.inf, 1e-6), (1e-6, math.inf)])
def test_free_marginals_leave_the_gibbs_kernel(rho_a, rho_b):
    known = random_problem(5, 4, 2, generator=4)
    a, b, epsilon = 2 * known.a, known.b, 0.5 * known.scale
    problem = Problem(as_problem(known).geometry, a, b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b)
    solution = EXACTLY.run(problem)
    expected = torch.outer(a, b) * (-known.cost_matrix / epsilon).exp()  # what remains when rho = 0
    if math.isinf(rho_a):
        expected = expected * (a / expected.sum(1))[:, None]
    if math.isinf(rho_b):
        expected = expected * (b / expected.sum(0))
    torch.testing.assert_close(solution.coupling.to_dense(), expected, rtol=1e-4, atol=1e-9)


def test_unbalanced_mass_vanishes_where_moving_is_dear():
    known = random_problem(6, 6, 2, generator=5)
    far = CostMatrix(known.cost_matrix + known.scale)
    masses = []
    for share in (100.0, 10.0, 1.0, 0.1, 0.01):
        rho = share * known.scale
        problem = Problem(far, known.a, known.b, epsilon=0.02 * known.scale, rho_a=rho, rho_b=rho)
        masses.append(float(LogSinkhorn(tolerance=1e-6).run(problem).coupling.marginals().source.sum()))
    assert masses == sorted(masses, reverse=True)
    assert masses[0] > 0.95
    assert masses[-1] < 1e-6


@pytest.mark.parametrize("enforced", ["source", "target"])
def test_semi_unbalanced_keeps_the_enforced_marginal(enforced):
    known = random_problem(6, 5, 2, generator=6)
    a, b = 3 * known.a, known.b
    rhos = {"rho_a" if enforced == "target" else "rho_b": known.scale}
    solution = EXACTLY.run(Problem(as_problem(known).geometry, a, b, epsilon=0.3 * known.scale, **rhos))
    marginals, wanted = solution.coupling.marginals(), {"source": a, "target": b}
    torch.testing.assert_close(getattr(marginals, enforced), wanted[enforced], rtol=0, atol=1e-11)
    other = "target" if enforced == "source" else "source"
    assert float((getattr(marginals, other) - wanted[other]).abs().sum()) > 0.1


def test_unbalanced_marginals_obey_their_price():
    known = random_problem(6, 5, 2, generator=7)
    rho_a, rho_b = 0.5 * known.scale, 2 * known.scale
    problem = Problem(
        as_problem(known).geometry, known.a, 2 * known.b, epsilon=0.3 * known.scale, rho_a=rho_a, rho_b=rho_b
    )
    solution = EXACTLY.run(problem)
    row, column = solution.coupling.marginals()
    torch.testing.assert_close(row, known.a * (-solution.f / rho_a).exp(), rtol=1e-10, atol=0)
    torch.testing.assert_close(column, 2 * known.b * (-solution.g / rho_b).exp(), rtol=1e-10, atol=0)


def test_forbidden_pairs_stay_empty_and_the_rest_adapts():
    known = random_problem(5, 5, 2, generator=8)
    band = torch.ones(5, 5, dtype=torch.float64).tril(1).triu(-1)
    reference = band / band.sum()
    a, b = reference.sum(1), reference.sum(0)  # feasible: the reference itself has these marginals
    problem = Problem(as_problem(known).geometry, a, b, epsilon=0.5 * known.scale, reference=reference)
    solution = EXACTLY.run(problem)
    check_solution(solution, tolerance=1e-12)
    plan = solution.coupling.to_dense()
    assert bool((plan[band == 0] == 0).all())
    hot = EXACTLY.run(problem.at(1e6 * known.scale)).coupling.to_dense()
    torch.testing.assert_close(hot, reference, rtol=0, atol=1e-6)  # eps -> inf: the reference, if feasible


@pytest.mark.parametrize("field", ["tolerance", "max_iterations", "relative_gap", "check_every"])
def test_log_sinkhorn_refuses_settings_that_are_not_positive(field):
    with pytest.raises(ValueError, match=f"`{field}` must be"):
        LogSinkhorn(**{field: 0})


def test_log_sinkhorn_refuses_zero_temperature():
    with pytest.raises(ValueError, match=r"positive for an entropic solver.*Exact\(\)"):
        LogSinkhorn().run(Problem(CostMatrix(torch.ones(2, 2)), epsilon=0.0))
