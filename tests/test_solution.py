"""Every number of a solution against its definition, closed forms and derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import (
    CostMatrix,
    Exact,
    Grid,
    LogSinkhorn,
    Outcome,
    PointCloud,
    Problem,
    Relative,
    Scaling,
    Status,
    solve,
)
from isotherm.solution import marginal_error
from isotherm.testing import (
    GaussianTransport,
    as_problem,
    check_solution,
    clusters,
    dense_dual_value,
    dense_solution,
    gaussian_grid,
    primal_values,
    random_problem,
    two_by_two,
    two_points,
)

EXAMPLES = settings(deadline=None, max_examples=30, derandomize=True)
EXACTLY = LogSinkhorn(tolerance=1e-12, max_iterations=20_000)
WORKED_COST = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)

problems = st.fixed_dictionaries(
    {
        "n": st.integers(1, 7),
        "m": st.integers(1, 7),
        "seed": st.integers(0, 10**6),
        "cost": st.sampled_from(["sqeuclidean", "half_sqeuclidean", "euclidean", "negative_dot"]),
        "zero_weights": st.booleans(),
        "share": st.floats(0.2, 5.0),
        "rho": st.sampled_from([(math.inf, math.inf), (1.0, 1.0), (math.inf, 0.5), (3.0, math.inf)]),
        "mass": st.sampled_from([1.0, 0.1, 30.0]),
        "general_reference": st.booleans(),
    }
)


def make(given_: dict, *, dtype: torch.dtype = torch.float64) -> Problem:
    """A problem of every kind there is, at a temperature where it converges."""
    known = random_problem(
        given_["n"], given_["m"], 2, generator=given_["seed"], cost=given_["cost"], zero_weights=given_["zero_weights"],
        dtype=dtype,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(given_["seed"])
    reference = 0.1 + torch.rand(given_["n"], given_["m"], generator=generator, dtype=torch.float64)
    scale, mass = known.scale, given_["mass"]
    rho_a, rho_b = (rho * scale for rho in given_["rho"])
    return Problem(
        as_problem(known).geometry, mass * known.a, mass * known.b, epsilon=given_["share"] * scale, rho_a=rho_a,
        rho_b=rho_b, reference=mass * reference if given_["general_reference"] else None,
    )  # fmt: skip


@EXAMPLES
@given(given_=problems)
def test_values_match_dense_evaluation(given_):
    problem = make(given_)
    solution = EXACTLY.run(problem)
    check_solution(solution, tolerance=1e-12)
    truth = dense_solution(problem)
    paid, unit = primal_values(problem, truth.plan), 1e-8 * (1 + float(problem.reference_mass)) * (1 + problem.epsilon)
    assert float(solution.value) == pytest.approx(paid.value, rel=1e-8, abs=unit)
    assert float(solution.entropy_value) == pytest.approx(paid.entropy_value, rel=1e-8, abs=unit)
    assert float(solution.transport_cost) == pytest.approx(paid.transport_cost, rel=1e-8, abs=unit)


@EXAMPLES
@given(given_=problems, budget=st.integers(1, 3))
def test_value_of_any_iterate_is_a_lower_bound(given_, budget):
    problem = make(given_)
    solution = LogSinkhorn(max_iterations=budget, tolerance=1e-14).run(problem)
    check_solution(solution, tolerance=1e-14)
    truth = dense_solution(problem)
    best = dense_dual_value(problem, truth.f, truth.g)
    assert float(solution.value) <= best + 1e-10 * (1 + abs(best)) * (1 + float(problem.reference_mass))


@EXAMPLES
@given(given_=problems)
def test_float32_values_are_those_of_float64(given_):
    single = make(given_, dtype=torch.float32)
    precise = EXACTLY.run(single.double())
    solution = LogSinkhorn(tolerance=1e-5).run(single)
    scale = abs(float(precise.value)) + float(single.geometry.block(slice(None)).abs().max()) * float(single.a.sum())
    assert float(solution.value) == pytest.approx(float(precise.value), abs=3e-5 * scale)


@pytest.mark.parametrize("share", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("solver", [Scaling(), LogSinkhorn()])
def test_float32_value_keeps_its_digits_when_hot(share, solver):
    known = random_problem(7, 5, 2, generator=0, dtype=torch.float32)
    solution = solver.run(as_problem(known, epsilon=share * known.scale))
    truth = dense_solution(as_problem(known, epsilon=share * known.scale).double())
    value = dense_dual_value(solution.problem, truth.f, truth.g)
    assert float(solution.value) == pytest.approx(value, rel=1e-5)
    assert float(solution.transport_cost) == pytest.approx(value, rel=1e-5 + 3 / share)


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 0.1, 0.5, 1.0, 3.0, 1e2, 1e4])
def test_worked_example_at_every_temperature(epsilon):
    solution, known = EXACTLY.run(Problem(CostMatrix(WORKED_COST), epsilon=epsilon)), two_by_two(epsilon)
    torch.testing.assert_close(solution.coupling.to_dense(), known.plan, rtol=0, atol=1e-12)
    torch.testing.assert_close(solution.f, known.f, rtol=0, atol=1e-11)
    torch.testing.assert_close(solution.g, known.g, rtol=0, atol=1e-11)
    assert float(solution.value) == pytest.approx(known.value, abs=1e-11)
    assert float(solution.transport_cost) == pytest.approx(known.transport_cost, abs=1e-12)
    assert float(solution.entropy_value) == pytest.approx(known.entropy_value, rel=1e-11)


def test_worked_example_of_the_introduction():
    plan = solve(CostMatrix(WORKED_COST), epsilon=1.0).coupling.to_dense()
    diagonal, other = math.e / (2 * (math.e + 1)), 1 / (2 * (math.e + 1))
    expected = torch.tensor([[diagonal, other], [other, diagonal]], dtype=torch.float64)
    torch.testing.assert_close(plan, expected, rtol=0, atol=1e-15)
    cold = solve(CostMatrix(WORKED_COST), solver=Exact()).coupling.to_dense()
    torch.testing.assert_close(cold, torch.eye(2, dtype=torch.float64) / 2)


@EXAMPLES
@given(
    costs=st.lists(st.floats(-2, 2), min_size=4, max_size=4),
    weights=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)),
    epsilon=st.floats(0.3, 30.0),
)
def test_two_points_match_the_quadratic_formula(costs, weights, epsilon):
    cost = torch.tensor(costs, dtype=torch.float64).reshape(2, 2)
    a, b = (torch.tensor([w, 1 - w], dtype=torch.float64) for w in weights)
    solution, known = (
        EXACTLY.run(Problem(CostMatrix(cost), a, b, epsilon=epsilon)),
        two_points(cost, a, b, epsilon=epsilon),
    )
    torch.testing.assert_close(solution.coupling.to_dense(), known.plan, rtol=0, atol=1e-10)
    torch.testing.assert_close(solution.f, known.f, rtol=0, atol=1e-8)
    assert float(solution.value) == pytest.approx(known.value, abs=1e-9)


def test_value_of_gaussians_on_a_grid_is_the_closed_form():
    known = gaussian_grid(32, 2, generator=0)
    axes = [[side[:, d].unique() for d in range(2)] for side in (known.x, known.y)]
    for rows, points in zip(axes, (known.x, known.y), strict=True):
        torch.testing.assert_close(torch.cartesian_prod(*rows), points)
    problem = Problem(Grid(tuple(axes[0]), target_axes=tuple(axes[1])), known.a, known.b, epsilon=known.epsilon)
    solution = LogSinkhorn(tolerance=1e-9).run(problem)
    assert float(solution.value) == pytest.approx(known.value, rel=1e-8)
    assert float(solution.transport_cost) == pytest.approx(known.transport_cost, rel=1e-7)
    assert float(problem.a @ (solution.f - known.f).abs()) < 1e-6
    moments = []
    for points, weights in ((known.x, known.a), (known.y, known.b)):
        mean = weights @ points
        moments += [mean, (points - mean).T @ (weights[:, None] * (points - mean))]
    transport = GaussianTransport(*moments, epsilon=known.epsilon)
    heavy = known.a > 1e-6
    image = solution.coupling.barycentric_map()
    torch.testing.assert_close(image[heavy], transport.map(known.x)[heavy], rtol=0, atol=1e-5)


@EXAMPLES
@given(seed=st.integers(0, 10**6), share=st.floats(0.2, 5.0))
def test_entropy_value_differs_by_the_entropies_of_the_weights(seed, share):
    known = random_problem(5, 6, 2, generator=seed, zero_weights=True)
    solution = EXACTLY.run(as_problem(known, epsilon=share * known.scale))
    entropies = sum(float(torch.special.entr(w).sum()) for w in (known.a, known.b))
    expected = float(solution.value) - share * known.scale * entropies
    assert float(solution.entropy_value) == pytest.approx(expected, rel=1e-9, abs=1e-9)


# --------------------------------------------------------------------------------- prices are derivatives


@pytest.fixture(scope="module")
def priced():
    known = random_problem(4, 5, 2, generator=21)
    problem = as_problem(known, epsilon=0.5 * known.scale)
    return problem, EXACTLY.run(problem)


def value_of(problem: Problem, **changes) -> float:
    return float(EXACTLY.run(problem._with(**changes)).value)


def test_derivative_by_weights_is_the_potential(priced):
    problem, solution = priced
    step = 1e-5
    for i in range(4):
        move = torch.zeros(4, dtype=torch.float64)
        move[i], move[(i + 1) % 4] = step, -step
        slope = (value_of(problem, a=problem.a + move) - value_of(problem, a=problem.a - move)) / (2 * step)
        assert slope == pytest.approx(float(solution.f[i] - solution.f[(i + 1) % 4]), rel=1e-6, abs=1e-7)
    for j in range(5):
        move = torch.zeros(5, dtype=torch.float64)
        move[j], move[(j + 1) % 5] = step, -step
        slope = (value_of(problem, b=problem.b + move) - value_of(problem, b=problem.b - move)) / (2 * step)
        assert slope == pytest.approx(float(solution.g[j] - solution.g[(j + 1) % 5]), rel=1e-6, abs=1e-7)


def test_derivative_by_mass_on_both_sides_is_the_sum_of_potentials(priced):
    problem, solution = priced
    step = 1e-5
    for i, j in ((0, 0), (2, 4), (3, 1)):
        a, b = torch.zeros(4, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
        a[i], b[j] = step, step
        more, less = (value_of(problem, a=problem.a + s * a, b=problem.b + s * b) for s in (1, -1))
        # a ⊗ b has the derivative b_j of its mass as well, epsilon times that of the plan: they cancel for mass one
        assert (more - less) / (2 * step) == pytest.approx(float(solution.f[i] + solution.g[j]), rel=1e-6, abs=1e-7)


def test_derivative_by_cost_is_the_plan(priced):
    problem, solution = priced
    cost, plan, step = problem.geometry.block(slice(None)), solution.coupling.to_dense(), 1e-5
    for i, j in ((0, 0), (1, 3), (3, 4)):
        move = torch.zeros_like(cost)
        move[i, j] = step
        more, less = (value_of(problem, geometry=CostMatrix(cost + s * move)) for s in (1, -1))
        assert (more - less) / (2 * step) == pytest.approx(float(plan[i, j]), rel=1e-6, abs=1e-8)


def test_derivative_by_temperature_is_the_relative_entropy(priced):
    problem, solution = priced
    step = 1e-5 * problem.epsilon
    more, less = (value_of(problem, epsilon=problem.epsilon + s * step) for s in (1, -1))
    relative = primal_values(problem, solution.coupling.to_dense()).relative_entropy
    assert (more - less) / (2 * step) == pytest.approx(relative, rel=1e-6)


def test_derivative_by_weights_of_an_unbalanced_value():
    known = random_problem(4, 5, 2, generator=22)
    rho, scale = 0.7 * known.scale, known.scale
    problem = Problem(as_problem(known).geometry, known.a, 2 * known.b, epsilon=0.5 * scale, rho_a=rho, rho_b=2 * rho)
    f = EXACTLY.run(problem).f
    step = 1e-5
    for i in range(4):
        move = torch.zeros(4, dtype=torch.float64)
        move[i] = step
        slope = (value_of(problem, a=problem.a + move) - value_of(problem, a=problem.a - move)) / (2 * step)
        price = rho * (1 - math.exp(-float(f[i]) / rho))  # what rho KL charges for the last unit
        plan_share = math.exp(-float(f[i]) / rho) - 2.0  # epsilon (row mass per weight - mass of b)
        assert slope == pytest.approx(price - problem.epsilon * plan_share, rel=1e-6, abs=1e-7)


# ---------------------------------------------------------------------------------- what a solution keeps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", [Scaling(), LogSinkhorn(), Exact()])
def test_numpy_in_gives_numpy_out(dtype, solver):
    rng = np.random.default_rng(0)
    x, y, a = rng.normal(size=(6, 2)).astype(dtype), rng.normal(size=(5, 2)).astype(dtype), np.full(6, 1 / 6, dtype)
    epsilon = 0.0 if isinstance(solver, Exact) else 1.0
    solution = solver.run(Problem(PointCloud(x, y), a, epsilon=epsilon))
    check_solution(solution)
    coupling = solution.coupling
    i, j = coupling.sample(3, generator=torch.Generator().manual_seed(0))
    floats = [solution.f, solution.g, coupling.barycentric_map(), coupling.apply(y), coupling.apply_transpose(x)]
    floats += [coupling.conditional(0).probabilities, coupling.conditional(0).mean(), *coupling.marginals()]
    assert all(isinstance(array, np.ndarray) and array.dtype == dtype for array in floats)
    assert all(isinstance(index, np.ndarray) and index.dtype == np.int64 for index in (i, j, coupling.top_k(2).indices))
    for scalar in (solution.value, solution.entropy_value, solution.transport_cost, coupling.entropy()):
        assert isinstance(scalar, np.generic)
        assert scalar.dtype == dtype
    assert all(type(error) is float for error in solution.marginal_error)
    assert all(type(bound) is float for bound in vars(solution.certificate).values())


def test_solution_keeps_its_problem_and_temperature():
    problem = as_problem(clusters(generator=0))
    solution = LogSinkhorn(max_iterations=3).run(problem)
    assert solution.epsilon == solution.problem.epsilon == problem.epsilon
    assert solution.problem.geometry.shape == problem.geometry.shape
    assert [check.iteration for check in solution.history] == [1, 2, 3]
    assert {check.epsilon for check in solution.history} == {problem.epsilon}


@pytest.mark.parametrize("solver", ["auto", "scaling", "log", "annealed", "exact"])
@pytest.mark.parametrize("kind", ["cloud", "matrix"])
def test_inputs_that_require_gradients_are_read_as_numbers(solver, kind, recwarn):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(5, 2, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
    a = torch.full((5,), 0.2, dtype=torch.float64, requires_grad=True)
    geometry = PointCloud(x, y) if kind == "cloud" else CostMatrix(torch.cdist(x, y).detach().requires_grad_())
    torch.set_warn_always(True)
    try:
        solution = solve(geometry, None, a, epsilon=None if solver == "exact" else Relative(0.2), solver=solver)
        check_solution(solution)
        outputs = [solution.f, solution.g, solution.value, solution.transport_cost, solution.coupling.to_dense()]
    finally:
        torch.set_warn_always(False)
    assert not any(output.requires_grad for output in outputs)
    assert a.grad is None
    assert not recwarn.list


def test_marginal_error_is_relative_to_the_mass_wanted():
    known = random_problem(5, 4, 2, generator=3)
    for rho in (math.inf, 0.5 * known.scale):
        errors = []
        for mass in (1.0, 7.0):
            a, b = mass * known.a, known.b * mass
            problem = Problem(as_problem(known).geometry, a, b, epsilon=known.scale, rho_a=rho, rho_b=rho)
            solution = LogSinkhorn(max_iterations=2, tolerance=1e-14).run(problem)
            plan, (f, g) = solution.coupling.to_dense(), solution.potentials
            wanted = a * (-f / rho).exp(), b * (-g / rho).exp()
            dense = [float((plan.sum(1 - k) - w).abs().sum() / w.sum()) for k, w in enumerate(wanted)]
            assert solution.marginal_error == pytest.approx(dense, rel=1e-9, abs=1e-14)
            assert marginal_error(problem, solution.potentials, solution.coupling) == solution.marginal_error
            errors.append(solution.marginal_error.source)
        if math.isinf(rho):
            assert errors[0] == pytest.approx(errors[1], rel=1e-9)


@pytest.mark.parametrize(("outcome", "is_converged"), [(o, o in (Outcome.CONVERGED, Outcome.EXACT)) for o in Outcome])
def test_status_says_whether_it_converged(outcome, is_converged):
    status = Status(outcome=outcome, advice="Do this.")
    assert status.is_converged is is_converged
    assert str(status) == f"{outcome.value}: Do this."
