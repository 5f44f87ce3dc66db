"""Each formula solved by hand against the optimality conditions, a linear programme, or a derivative."""

import math
from types import SimpleNamespace

import pytest
import torch

from isotherm.testing import (
    dirac,
    independent,
    one_dimensional_cost,
    one_dimensional_plan,
    permutation,
    two_by_two,
    two_points,
)

HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)


def symmetric_cost(t: float = 1.0) -> torch.Tensor:
    return torch.tensor([[0.0, t], [t, 0.0]], dtype=torch.float64)


def random_weights(generator: torch.Generator, size: int) -> torch.Tensor:
    weights = torch.rand(size, generator=generator, dtype=torch.float64) + 1e-3
    return weights / weights.sum()


# ------------------------------------------------------------------------------------------ two by two


def test_worked_example_has_the_printed_numbers():
    solution = two_by_two(1.0)
    diagonal, other = math.e / (2 * (math.e + 1)), 1 / (2 * (math.e + 1))
    expected = torch.tensor([[diagonal, other], [other, diagonal]], dtype=torch.float64)
    torch.testing.assert_close(solution.plan, expected, rtol=1e-15, atol=0)
    assert math.isclose(solution.value, 1 + math.log(2) - math.log(math.e + 1), rel_tol=1e-15)


@pytest.mark.parametrize("t", [1.0, -1.0, 0.0, 3.5])
@pytest.mark.parametrize("epsilon", [0.05, 0.3, 1.0, 20.0])
def test_two_by_two_is_optimal(assert_optimal, epsilon, t):
    problem = SimpleNamespace(cost=symmetric_cost(t), a=HALF, b=HALF, epsilon=epsilon)
    assert_optimal(problem, two_by_two(epsilon, off_diagonal=t), tolerance=1e-14)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 7.0])
def test_entropy_value_is_the_entropy_objective(epsilon):
    solution = two_by_two(epsilon)
    objective = float((solution.plan * symmetric_cost()).sum() - epsilon * torch.special.entr(solution.plan).sum())
    assert math.isclose(solution.entropy_value, objective, rel_tol=1e-13)


def test_two_by_two_limits():
    cold, hot = two_by_two(0.0), two_by_two(math.inf)
    assert torch.equal(cold.plan, torch.diag(HALF))
    assert (cold.value, cold.transport_cost, cold.entropy_value) == (0.0, 0.0, 0.0)
    assert torch.equal(hot.plan, torch.full((2, 2), 0.25, dtype=torch.float64))
    assert (hot.value, hot.transport_cost, hot.entropy_value) == (0.5, 0.5, -math.inf)
    assert torch.equal(two_by_two(0.0, off_diagonal=-1.0).plan, torch.diag(HALF).flip(0))
    assert two_by_two(0.0, off_diagonal=-1.0).value == -1.0
    assert torch.equal(two_by_two(0.0, off_diagonal=0.0).plan, hot.plan)


def test_two_by_two_keeps_its_digits_near_the_limits():
    # value = t/2 - t^2 / (8 eps) + O(eps^-3): the second term would drown in eps log(4 p).
    assert math.isclose(0.5 - two_by_two(1e6).value, 1 / 8e6, rel_tol=1e-9)
    assert math.isclose(two_by_two(1e-3).value, 1e-3 * math.log(2), rel_tol=1e-14)
    assert two_by_two(0.01).plan[0, 1] == pytest.approx(math.exp(-100) / 2, rel=1e-13)


def test_negative_temperature_is_refused():
    with pytest.raises(ValueError, match="at least 0"):
        two_by_two(-1.0)
    with pytest.raises(ValueError, match="at least 0"):
        dirac(torch.ones(1, 2), torch.ones(1), HALF, epsilon=math.nan)


# ------------------------------------------------------------------------------------------ two points


@pytest.mark.parametrize("seed", range(40))
def test_two_points_is_optimal(assert_optimal, seed):
    generator = torch.Generator().manual_seed(seed)
    cost = torch.randn(2, 2, generator=generator, dtype=torch.float64)
    a, b = random_weights(generator, 2), random_weights(generator, 2)
    epsilon = 10 ** float(torch.rand(1, generator=generator) * 3 - 1.5)
    problem = SimpleNamespace(cost=cost, a=a, b=b, epsilon=epsilon)
    assert_optimal(problem, two_points(cost, a, b, epsilon=epsilon), tolerance=1e-12)


@pytest.mark.parametrize("epsilon", [0.003, 0.1, 1.0, 50.0])
def test_two_points_agrees_with_two_by_two(epsilon):
    general, special = two_points(symmetric_cost(), HALF, HALF, epsilon=epsilon), two_by_two(epsilon)
    torch.testing.assert_close(general.plan, special.plan, rtol=1e-12, atol=0)
    torch.testing.assert_close(general.f, special.f, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(general.g, special.g, rtol=0, atol=1e-14)
    assert math.isclose(general.entropy_value, special.entropy_value, rel_tol=1e-12)


def test_potentials_are_derivatives_of_the_value():
    cost = torch.tensor([[0.3, 1.1], [0.7, -0.2]], dtype=torch.float64)
    a, b = torch.tensor([[0.3, 0.7], [0.6, 0.4]], dtype=torch.float64)
    epsilon, h = 0.4, 1e-5
    solution, move = two_points(cost, a, b, epsilon=epsilon), h * torch.tensor([1.0, -1.0]).double()

    def slope(plus: dict, minus: dict) -> float:
        base = {"cost_matrix": cost, "a": a, "b": b, "epsilon": epsilon}
        return (two_points(**base | plus).value - two_points(**base | minus).value) / (2 * h)

    assert slope({"a": a + move}, {"a": a - move}) == pytest.approx(float(solution.f[0] - solution.f[1]), abs=1e-9)
    assert slope({"b": b + move}, {"b": b - move}) == pytest.approx(float(solution.g[0] - solution.g[1]), abs=1e-9)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        bump = torch.zeros(2, 2, dtype=torch.float64)
        bump[i, j] = h
        found = slope({"cost_matrix": cost + bump}, {"cost_matrix": cost - bump})
        assert found == pytest.approx(float(solution.plan[i, j]), abs=1e-9)


def test_two_points_refuses_costs_beyond_floating_point():
    with pytest.raises(ValueError, match="positive and finite"):
        two_points(symmetric_cost(), HALF, HALF, epsilon=0.0)
    with pytest.raises(ValueError, match="700 epsilon"):
        two_points(symmetric_cost(), HALF, HALF, epsilon=1e-3)


# ---------------------------------------------------------------------------- independence and Diracs


def test_independent_is_the_limit_of_high_temperature(sinkhorn):
    generator = torch.Generator().manual_seed(0)
    cost = torch.rand(6, 4, generator=generator, dtype=torch.float64)
    a, b = random_weights(generator, 6), random_weights(generator, 4)
    limit, errors = independent(cost, a, b), []
    for epsilon in (1e2, 1e3):
        hot = sinkhorn(cost, a, b, epsilon)
        gaps = (hot.plan - limit.plan, hot.f - limit.f, hot.g - limit.g, torch.tensor(hot.value - limit.value))
        errors.append([float(gap.abs().max()) for gap in gaps])
    assert max(errors[0]) < 1e-2
    # The distance to the limit falls like 1 / epsilon.
    assert all(first / last == pytest.approx(10, rel=0.05) for first, last in zip(*errors, strict=True))
    assert limit.value == pytest.approx(float(a @ cost @ b), rel=1e-14)
    assert limit.entropy_value == -math.inf


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
@pytest.mark.parametrize("sources", [1, 5])
def test_dirac_is_optimal_at_every_temperature(assert_optimal, sources, epsilon):
    generator = torch.Generator().manual_seed(sources)
    one, many = torch.ones(1, dtype=torch.float64), torch.tensor([0.2, 0.0, 0.5, 0.1, 0.2], dtype=torch.float64)
    a, b = (one, many) if sources == 1 else (many, one)
    cost = torch.rand(len(a), len(b), generator=generator, dtype=torch.float64)
    solution = dirac(cost, a, b, epsilon=epsilon)
    assert_optimal(SimpleNamespace(cost=cost, a=a, b=b, epsilon=epsilon), solution, tolerance=1e-14)
    entropy = float(torch.special.entr(many).sum())
    assert solution.entropy_value == pytest.approx(solution.value - epsilon * entropy, rel=1e-14)


def test_dirac_to_dirac_has_no_entropy_to_lose():
    solution = dirac(torch.tensor([[3.0]]), torch.ones(1), torch.ones(1), epsilon=math.inf)
    assert solution.value == solution.entropy_value == 3.0


def test_dirac_refuses_two_sides():
    with pytest.raises(ValueError, match="one row or column"):
        dirac(symmetric_cost(), HALF, HALF, epsilon=1.0)


def test_permutation_puts_mass_on_its_pairs():
    cost, sigma = torch.arange(9.0).reshape(3, 3).double(), torch.tensor([2, 0, 1])
    solution = permutation(cost, sigma)
    assert torch.equal(solution.plan.argmax(1), sigma)
    torch.testing.assert_close(solution.plan.sum(0), torch.full((3,), 1 / 3, dtype=torch.float64))
    assert solution.transport_cost == pytest.approx((2 + 3 + 7) / 3)
    assert solution.transport_cost == pytest.approx(float((solution.plan * cost).sum()))


# ---------------------------------------------------------------------------------------- one dimension


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_line_is_optimal_by_linear_programme(linear_programme, seed, p):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(size, generator=generator, dtype=torch.float64) for size in (9, 7))
    a, b = random_weights(generator, 9), random_weights(generator, 7)
    cost = (x[:, None] - y).abs() ** p
    plan = one_dimensional_plan(x, y, a, b)
    torch.testing.assert_close(plan.sum(1), a, rtol=0, atol=1e-15)
    torch.testing.assert_close(plan.sum(0), b, rtol=0, atol=1e-15)
    exact = linear_programme(cost, a, b)
    assert float((plan * cost).sum()) == pytest.approx(exact, rel=1e-9)
    assert one_dimensional_cost(x, y, a, b, p=p) == pytest.approx(exact, rel=1e-9)
    assert one_dimensional_cost(y, x, b, a, p=p) == pytest.approx(exact, rel=1e-9)


def test_line_plan_is_a_staircase_with_zero_weights_and_ties():
    x = torch.tensor([1.0, 0.0, 1.0, 5.0], dtype=torch.float64)
    y = torch.tensor([2.0, 2.0, -1.0], dtype=torch.float64)
    a = torch.tensor([0.25, 0.5, 0.25, 0.0], dtype=torch.float64)
    b = torch.tensor([0.3, 0.0, 0.7], dtype=torch.float64)
    plan = one_dimensional_plan(x, y, a, b)
    assert torch.equal(plan[3], torch.zeros(3, dtype=torch.float64))
    assert torch.equal(plan[:, 1], torch.zeros(4, dtype=torch.float64))
    assert int((plan > 0).sum()) <= 4 + 3 - 1
    expected = 0.5 * 1 + 0.2 * 4 + 0.3 * 1
    assert one_dimensional_cost(x, y, a, b, p=2) == pytest.approx(expected, rel=1e-14)
    assert float((plan * (x[:, None] - y) ** 2).sum()) == pytest.approx(expected, rel=1e-14)


def test_line_with_uniform_weights_matches_sorted_points():
    generator = torch.Generator().manual_seed(3)
    x, y = (torch.randn(500, generator=generator) for _ in range(2))
    uniform = torch.full((500,), 1 / 500)
    expected = float((x.sort().values - y.sort().values).abs().mean())
    assert one_dimensional_cost(x, y, uniform, uniform, p=1) == pytest.approx(expected, rel=1e-4)  # float32
    assert one_dimensional_plan(x, y, uniform, uniform).dtype == torch.float32


def test_line_refuses_concave_costs():
    with pytest.raises(ValueError, match="at least 1"):
        one_dimensional_cost(HALF, HALF, HALF, HALF, p=0.5)


# ------------------------------------------------------------------------------- the checks can fail


@pytest.mark.parametrize("field", ["plan", "value", "transport_cost", "f", "g"])
def test_optimality_check_notices_one_wrong_field(assert_optimal, field):
    problem = SimpleNamespace(cost=symmetric_cost(), a=HALF, b=HALF, epsilon=1.0)
    wrong = SimpleNamespace(**vars(two_by_two(1.0)))
    setattr(wrong, field, getattr(wrong, field) + 1e-6)
    with pytest.raises(AssertionError):
        assert_optimal(problem, wrong)


def test_optimality_check_notices_a_wrong_gauge(assert_optimal):
    problem = SimpleNamespace(cost=symmetric_cost(), a=HALF, b=HALF, epsilon=1.0)
    wrong = SimpleNamespace(**vars(two_by_two(1.0)))
    wrong.f, wrong.g = wrong.f + 1e-6, wrong.g - 1e-6
    with pytest.raises(AssertionError):
        assert_optimal(problem, wrong)


def test_linear_programme_is_below_a_wrong_plan(linear_programme):
    assert linear_programme(symmetric_cost(), HALF, HALF) == pytest.approx(0.0, abs=1e-12)
    assert linear_programme(symmetric_cost(-1.0), HALF, HALF) == pytest.approx(-1.0)
