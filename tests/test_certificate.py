"""Bounds enclose the exact and the entropic value, whatever the potentials they were computed from."""

from __future__ import annotations

import itertools
import math

import numpy as np
import ot
import pytest
import torch
from scipy.optimize import linprog, minimize

from isotherm import Annealed, Certificate, CostMatrix, LogSinkhorn, PointCloud, Problem, Relative, Scaling
from isotherm.certificate import certify
from isotherm.testing import as_problem, dense_dual_value, dense_solution, primal_values, random_problem, sorted_line

COSTS = ("sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot", "matrix")


def small_problem(seed: int, *, coldest: float = 0.01, dtype: torch.dtype = torch.float64) -> Problem:
    """Any size up to 8 x 8, any cost, zero weights half the time, any mass, at coldest to 10 times the cost."""
    generator = torch.Generator().manual_seed(seed)
    n, m, d = (int(torch.randint(1, high, (), generator=generator)) for high in (9, 9, 4))
    cost = COSTS[seed % len(COSTS)]
    x, y = (torch.randn(size, d, generator=generator, dtype=torch.float64).to(dtype) for size in (n, m))
    geometry = CostMatrix(x @ x.new_ones(d, m) + torch.rand(n, m, generator=generator).to(x))
    geometry = geometry if cost == "matrix" else PointCloud(x, y, cost)
    a, b = (0.05 + torch.rand(size, generator=generator, dtype=torch.float64) for size in (n, m))
    if seed % 2:
        a[1:] *= torch.rand(n - 1, generator=generator) > 0.3
        b[1:] *= torch.rand(m - 1, generator=generator) > 0.3
    mass = (1.0, 0.01, 20.0)[seed % 3]
    share = coldest * (10 / coldest) ** float(torch.rand((), generator=generator))
    scale = max(float(geometry.block(slice(None)).abs().mean()), 1e-3)
    return Problem(geometry, (mass * a / a.sum()).to(dtype), (mass * b / b.sum()).to(dtype), epsilon=share * scale)


def exact_cost(problem: Problem) -> float:
    """Optimal cost by POT's network simplex, on the float64 problem that was asked."""
    precise = problem.double()
    cost = precise.geometry.block(slice(None)).numpy()
    plan = ot.emd(precise.a.numpy(), precise.b.numpy(), np.ascontiguousarray(cost - cost.min()))  # POT 0.9.7: C >= 0
    return float((plan * cost).sum())


def slack(problem: Problem) -> float:
    cost = problem.geometry.block(slice(None))
    return 1e-11 * float(problem.a.sum()) * (1 + float(cost.abs().max()) + problem.epsilon)


def assert_encloses(low: float, truth: float, high: float, room: float) -> None:
    assert not math.isnan(low)
    assert not math.isnan(high)
    assert low <= truth + room
    assert truth <= high + room


@pytest.mark.parametrize("chunk", range(10))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_certificate_encloses_the_linear_programme(chunk, dtype):
    for seed in range(20 * chunk, 20 * chunk + 20):
        problem = small_problem(seed, dtype=dtype)
        exact, room = exact_cost(problem), slack(problem)
        for solver in (LogSinkhorn(max_iterations=1 + seed % 3), Annealed(solver=LogSinkhorn(max_iterations=100))):
            bounds = solver.run(problem).certificate
            assert_encloses(bounds.exact_lower, exact, bounds.exact_upper, room)


def test_oracle_of_exact_costs_agrees_with_another():
    for seed in range(20):
        problem = small_problem(seed)
        n, m = problem.geometry.shape
        rows, columns = np.kron(np.eye(n), np.ones((1, m))), np.kron(np.ones((1, n)), np.eye(m))
        equations = np.concatenate([rows, columns[:-1]])
        masses = np.concatenate([problem.a.numpy(), problem.b.numpy()[:-1]])
        cost = problem.geometry.block(slice(None)).numpy()
        solved = linprog(cost.ravel(), A_eq=equations, b_eq=masses)
        assert solved.success
        assert solved.fun == pytest.approx(exact_cost(problem), rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("chunk", range(10))
def test_certificate_of_random_potentials_encloses_the_linear_programme(chunk):
    for seed in range(20 * chunk, 20 * chunk + 20):
        problem = small_problem(seed)
        generator = torch.Generator().manual_seed(seed)
        exact, room = exact_cost(problem), slack(problem)
        for size in (0.1, 1.0, 30.0):
            g = size * torch.randn(problem.b.shape, generator=generator, dtype=torch.float64)
            bounds = certify(problem, g)
            assert_encloses(bounds.exact_lower, exact, bounds.exact_upper, (1 + size) * room)
            assert bounds.entropic_lower <= bounds.entropic_upper + (1 + size) * room


@pytest.mark.parametrize("chunk", range(5))
def test_certificate_encloses_the_entropic_value(chunk):
    for seed in range(20 * chunk, 20 * chunk + 20):
        problem = small_problem(seed, coldest=0.1)
        truth = dense_solution(problem, steps=2000)
        low = dense_dual_value(problem, truth.f, truth.g)
        generator = torch.Generator().manual_seed(seed)
        candidates = [LogSinkhorn(max_iterations=k, tolerance=1e-12).run(problem).certificate for k in (1, 3, 300)]
        candidates.append(certify(problem, torch.randn(problem.b.shape, generator=generator, dtype=torch.float64)))
        for bounds in candidates:
            assert_encloses(bounds.entropic_lower, low, bounds.entropic_upper, slack(problem))


def test_certificate_closes_as_the_solver_converges():
    problem = as_problem(random_problem(12, 9, 2, generator=0))
    gaps = [LogSinkhorn(max_iterations=k, tolerance=1e-13).run(problem).certificate for k in (1, 5, 20, 100, 1000)]
    lower = [bounds.entropic_lower for bounds in gaps]
    rises = [later - earlier for earlier, later in itertools.pairwise(lower)]
    assert min(rises) > -1e-14 * lower[-1]  # Sinkhorn ascends the dual; at the top only rounding is left
    assert gaps[0].relative_gap > 1e-2
    assert gaps[-1].relative_gap < 1e-11


def test_certificate_narrows_on_the_exact_cost_as_temperature_falls():
    known = sorted_line(generator=0)
    widths = []
    for share in (1.0, 0.1, 0.01):
        bounds = LogSinkhorn(max_iterations=20_000).run(as_problem(known, epsilon=share * known.scale)).certificate
        assert_encloses(bounds.exact_lower, known.exact_cost, bounds.exact_upper, 1e-10)
        widths.append(bounds.exact_upper - bounds.exact_lower)
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 0.02 * known.scale


@pytest.mark.parametrize("budget", [1, 3, 500])
def test_certificate_upper_bounds_belong_to_the_rounded_plan(budget):
    for seed in range(12):
        problem = small_problem(seed)
        solution = LogSinkhorn(max_iterations=budget).run(problem)
        bounds, rounded = solution.certificate, solution.coupling.round()
        plan, mass = rounded.to_dense(), float(problem.a.sum())
        assert float((plan.sum(1) - problem.a).abs().sum()) < 1e-13 * mass
        assert float((plan.sum(0) - problem.b).abs().sum()) < 1e-13 * mass
        paid = primal_values(problem, plan)
        assert bounds.exact_upper == pytest.approx(paid.transport_cost, abs=slack(problem))
        assert bounds.entropic_upper >= paid.value - slack(problem)


def test_certificate_of_a_float32_solution_is_that_of_its_float64_problem():
    problem = small_problem(6, dtype=torch.float32)
    solution = LogSinkhorn().run(problem)
    precise = certify(problem.double(), solution.potentials[1].double())
    for name in ("entropic_lower", "entropic_upper", "exact_lower", "exact_upper"):
        assert getattr(solution.certificate, name) == pytest.approx(getattr(precise, name), rel=1e-9)


def unbalanced_optimum(problem: Problem) -> tuple[float, np.ndarray]:
    """Least value of the unbalanced objective at any temperature, by a generic solver over P = Q^2."""
    cost, a, b = problem.geometry.block(slice(None)).numpy(), problem.a.numpy(), problem.b.numpy()
    kappa = np.outer(a, b) if problem.reference is None else problem.reference.numpy()

    def objective(flat):
        root = flat.reshape(cost.shape)
        plan = root**2
        total, slope = (cost * plan).sum(), cost.copy()
        terms = [(plan, kappa, problem.epsilon, lambda s: s)]
        terms += [(plan.sum(1), a, problem.rho_a, lambda s: s[:, None]), (plan.sum(0), b, problem.rho_b, lambda s: s)]
        for mass, weights, price, spread in terms:
            if price:
                log_ratio = np.log(np.maximum(mass, 1e-300) / weights)
                total += price * (mass * log_ratio - mass + weights).sum()
                slope += price * spread(log_ratio)
        return total, (2 * root * slope).ravel()

    start = np.sqrt(np.outer(a, b)).ravel()
    found = minimize(
        objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 5000, "ftol": 1e-16, "gtol": 1e-10}
    )
    return float(found.fun), found.x.reshape(cost.shape) ** 2


def unbalanced_problem(seed: int, *, rho_a: float, rho_b: float) -> Problem:
    known = random_problem(4, 3, 2, generator=seed)
    return Problem(
        as_problem(known).geometry, 1.5 * known.a, known.b, epsilon=0.3 * known.scale,
        rho_a=rho_a * known.scale, rho_b=rho_b * known.scale,
    )  # fmt: skip


@pytest.mark.parametrize(("rho_a", "rho_b"), [(1.0, 1.0), (0.1, 2.0), (5.0, 0.3)])
def test_certificate_of_unbalanced_problems_encloses_both_values(rho_a, rho_b):
    for seed in range(4):
        problem = unbalanced_problem(seed, rho_a=rho_a, rho_b=rho_b)
        entropic, _ = unbalanced_optimum(problem)
        exact, _ = unbalanced_optimum(problem.at(0.0))
        for budget in (1, 2, 500):
            bounds = LogSinkhorn(max_iterations=budget, tolerance=1e-10).run(problem).certificate
            assert_encloses(bounds.entropic_lower, entropic, bounds.entropic_upper, 1e-7)
            assert_encloses(bounds.exact_lower, exact, bounds.exact_upper, 1e-5)
        assert bounds.relative_gap < 1e-8


@pytest.mark.parametrize(("rho_a", "rho_b"), [(1.0, 1.0), (0.1, 2.0)])
def test_unbalanced_value_and_plan_match_a_generic_solver(rho_a, rho_b):
    for seed in range(4):
        problem = unbalanced_problem(seed, rho_a=rho_a, rho_b=rho_b)
        value, plan = unbalanced_optimum(problem)
        solution = LogSinkhorn(tolerance=1e-11).run(problem)
        assert float(solution.value) == pytest.approx(value, rel=1e-8)
        np.testing.assert_allclose(solution.coupling.to_dense().numpy(), plan, atol=1e-4)


@pytest.mark.parametrize(("rho_a", "rho_b"), [(math.inf, 1.0), (1.0, math.inf)])
def test_certificate_of_semi_unbalanced_problems_encloses_the_value(rho_a, rho_b):
    for seed in range(6):
        problem = unbalanced_problem(seed, rho_a=rho_a, rho_b=rho_b)
        truth = dense_solution(problem)
        value = dense_dual_value(problem, truth.f, truth.g)
        for budget in (1, 2, 3, 1000):
            bounds = LogSinkhorn(max_iterations=budget, tolerance=1e-12).run(problem).certificate
            assert_encloses(bounds.entropic_lower, value, bounds.entropic_upper, slack(problem))
            assert bounds.exact_lower <= bounds.exact_upper + slack(problem)
        assert bounds.relative_gap < 1e-9


def test_certificate_with_reference_encloses_the_value():
    for seed in range(8):
        known = random_problem(5, 4, 2, generator=seed)
        generator = torch.Generator().manual_seed(seed)
        reference = torch.rand(5, 4, generator=generator, dtype=torch.float64)
        problem = Problem(as_problem(known).geometry, known.a, known.b, epsilon=0.4 * known.scale, reference=reference)
        truth = dense_solution(problem)
        value, exact = dense_dual_value(problem, truth.f, truth.g), exact_cost(problem)
        for budget in (1, 2, 500):
            bounds = LogSinkhorn(max_iterations=budget, tolerance=1e-12).run(problem).certificate
            assert_encloses(bounds.entropic_lower, value, bounds.entropic_upper, slack(problem))
            assert_encloses(bounds.exact_lower, exact, bounds.exact_upper, slack(problem))


@pytest.mark.parametrize("solver", [LogSinkhorn(max_iterations=50), Scaling(max_iterations=50)])
def test_certificate_of_an_infeasible_reference_has_no_upper_bound(solver):
    cost = CostMatrix(torch.ones(2, 2, dtype=torch.float64))
    problem = Problem(cost, [0.5, 0.5], [0.25, 0.75], epsilon=1.0, reference=torch.eye(2))
    solution = solver.run(problem)
    assert not solution.status.is_converged
    assert solution.certificate.entropic_upper == math.inf
    assert solution.certificate.relative_gap == math.inf
    assert solution.certificate.exact_lower <= 1.0 <= solution.certificate.exact_upper + 1e-12


@pytest.mark.parametrize(
    ("lower", "upper", "gap"),
    [
        (0.99, 1.0, 0.01),
        (-1.0, -0.5, 0.5),
        (1.0, 1.0, 0.0),
        (1.0 + 1e-16, 1.0, 0.0),
        (0.0, 0.0, 0.0),
        (1.0, math.inf, math.inf),
        (math.nan, 1.0, math.inf),
        (math.nan, math.nan, math.inf),
    ],
)
def test_relative_gap_of_any_bounds(lower, upper, gap):
    bounds = Certificate(entropic_lower=lower, entropic_upper=upper, exact_lower=0.0, exact_upper=1.0)
    assert bounds.relative_gap == pytest.approx(gap, abs=1e-15)


def test_certificate_reads_as_a_sentence():
    bounds = Certificate(entropic_lower=0.99, entropic_upper=1.0, exact_lower=0.7, exact_upper=0.8)
    assert str(bounds) == "entropic value in [0.99, 1] (relative gap 1.0e-02); exact cost in [0.7, 0.8]"


def test_certificate_of_one_point_is_tight():
    problem = Problem(PointCloud(torch.zeros(1, 2), torch.ones(1, 2)), epsilon=Relative(0.1))
    bounds = LogSinkhorn().run(problem).certificate
    values = (bounds.entropic_lower, bounds.entropic_upper, bounds.exact_lower, bounds.exact_upper)
    assert values == pytest.approx((2.0,) * 4, rel=1e-6)


@pytest.mark.parametrize("epsilon", [1e-1, 1e-4, 1e-9])
@pytest.mark.parametrize("distance", [0.3, 1.7, 40.0])
def test_bounds_hold_to_the_last_digit_where_costs_are_huge_beside_epsilon(distance, epsilon):
    """One point on each side: the value is the cost, whatever the temperature; exponents of 1e12 round it away."""
    problem = Problem(PointCloud(np.array([[0.0]]), np.array([[distance]])), epsilon=epsilon)
    for g in (0.0, 0.1, distance**2, -3.0):
        bounds = certify(problem, torch.tensor([g], dtype=torch.float64))
        for lower, upper in ((bounds.entropic_lower, bounds.entropic_upper), (bounds.exact_lower, bounds.exact_upper)):
            assert lower <= distance**2 <= upper
