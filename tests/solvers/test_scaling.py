"""The scaling form: the same answers as the log domain where it is safe, and it knows where that is."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import isotherm._checks
from isotherm import CostMatrix, LogSinkhorn, Outcome, PointCloud, Problem, Scaling
from isotherm.testing import as_problem, check_finite, check_solution, random_problem

EXAMPLES = settings(deadline=None, max_examples=40, derandomize=True)


@EXAMPLES
@given(
    sizes=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4)),
    seed=st.integers(0, 10**6),
    budget=st.integers(1, 12),
    rho=st.sampled_from([math.inf, 0.5, 10.0]),
    mass=st.sampled_from([1.0, 20.0]),
)
def test_scaling_takes_the_same_steps_as_the_log_domain(sizes, seed, budget, rho, mass):
    known = random_problem(*sizes, generator=seed, zero_weights=True)
    problem = Problem(
        as_problem(known).geometry, mass * known.a, mass * known.b, epsilon=0.3 * known.scale, rho_a=rho * known.scale
    )
    settings_ = {"max_iterations": budget, "tolerance": 1e-14}
    one, two = Scaling(**settings_).run(problem), LogSinkhorn(**settings_).run(problem)
    for p, q in zip(one.potentials, two.potentials, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-9 * (1 + known.scale))
    for check, other in zip(one.history, two.history, strict=False):
        assert check.marginal_error == pytest.approx(other.marginal_error, rel=1e-6, abs=1e-12)


@EXAMPLES
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.02, 100.0),
    single=st.booleans(),
    zero_weights=st.booleans(),
    rho=st.sampled_from([(math.inf, math.inf), (1.0, 1.0), (math.inf, 0.1)]),
    cost=st.sampled_from(["sqeuclidean", "negative_dot"]),
)
def test_scaling_is_finite_wherever_it_claims_to_be(seed, share, single, zero_weights, rho, cost):
    dtype = torch.float32 if single else torch.float64
    known = random_problem(7, 6, 2, generator=seed, zero_weights=zero_weights, dtype=dtype, cost=cost)
    rho_a, rho_b = (r * known.scale for r in rho)
    problem = Problem(
        as_problem(known).geometry, known.a, known.b, epsilon=share * known.scale, rho_a=rho_a, rho_b=rho_b
    )
    solver = Scaling(max_iterations=50)
    if not solver.why_not(problem, problem.geometry.cost_range()):
        solution = solver.run(problem)
        assert solution.status.outcome is not Outcome.NON_FINITE
        check_solution(solution)


@pytest.mark.parametrize(
    ("dtype", "spread", "is_safe"),
    [
        (torch.float32, 38.0, True),
        (torch.float32, 41.0, False),
        (torch.float64, 300.0, True),
        (torch.float64, 330.0, False),
    ],
)
def test_scaling_knows_the_range_of_its_dtype(dtype, spread, is_safe):
    cost = torch.tensor([[0.0, spread], [spread, 0.0]], dtype=dtype)
    reasons = Scaling().why_not(Problem(CostMatrix(cost), epsilon=1.0), (0.0, spread))
    assert (not reasons) is is_safe
    if reasons:
        assert f"could underflow in {dtype}" in reasons[0]


def test_scaling_forgives_a_constant_cost_only_when_balanced():
    cost = CostMatrix(torch.full((2, 2), 1e4))
    assert not Scaling().why_not(Problem(cost, epsilon=1.0), (1e4, 1e4))
    assert Scaling().why_not(Problem(cost, epsilon=1.0, rho_a=1.0), (1e4, 1e4))
    solution = Scaling().run(Problem(cost, epsilon=1.0))
    assert float(solution.value) == pytest.approx(1e4)


def test_scaling_distrusts_a_general_reference():
    problem = Problem(CostMatrix(torch.zeros(2, 2)), epsilon=1.0, reference=torch.ones(2, 2))
    assert "reference" in Scaling().why_not(problem, (0.0, 0.0))[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("zero_weights", [False, True])
def test_scaling_too_cold_is_a_status_and_finite(dtype, zero_weights):
    known = random_problem(7, 5, 2, generator=0, dtype=dtype, zero_weights=zero_weights)
    solution = Scaling().run(as_problem(known, epsilon=1e-5 * known.scale))
    assert solution.status.outcome is Outcome.NON_FINITE
    assert "LogSinkhorn()" in solution.status.advice
    check_finite(solution)
    bounds = solution.certificate
    assert bounds.exact_lower < float(known.a.double() @ known.cost_matrix @ known.b.double()) + 1e-9
    assert bounds.relative_gap > 1e-3


def test_scaling_survives_an_empty_point_out_of_range():
    x = torch.tensor([[0.0], [1.0], [1e3]])
    problem = Problem(PointCloud(x, torch.tensor([[0.0], [1.0]])), torch.tensor([0.5, 0.5, 0.0]), epsilon=1.0)
    solution = Scaling().run(problem)
    check_finite(solution)
    assert bool((solution.coupling.to_dense()[2] == 0).all())


def test_scaling_refuses_a_kernel_that_does_not_fit(monkeypatch):
    monkeypatch.setattr(isotherm._checks, "available_memory", lambda device: 100)
    with pytest.raises(MemoryError, match=r"kernel of Scaling\(\) of 8 x 7 needs .* GiB"):
        Scaling().run(as_problem(random_problem(8, 7, 2, generator=0)))


def test_scaling_refuses_settings_that_are_not_positive():
    with pytest.raises(ValueError, match="`tolerance` must be positive"):
        Scaling(tolerance=-1.0)
