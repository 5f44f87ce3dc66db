"""A planted answer is the optimum, whatever the problem and however few steps were run."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from isotherm.testing import COSTS, KnownProblem, plant


def unsolved(*, cost: str = "sqeuclidean", epsilon: float = 0.5, zeros: bool = False) -> KnownProblem:
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(size, 2, generator=generator, dtype=torch.float64) for size in (7, 5))
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) + 0.1 for size in (7, 5))
    if zeros:
        a[2], b[4] = 0, 0
    return KnownProblem("mine", x, y, a / a.sum(), b / b.sum(), cost, epsilon, COSTS[cost](x, y), 1e-11)


def check_form(problem: KnownProblem) -> SimpleNamespace:
    return SimpleNamespace(cost=problem.cost_matrix, a=problem.a, b=problem.b, epsilon=problem.epsilon)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("steps", [0, 1, 30])
def test_planted_answer_is_optimal(assert_optimal, cost, steps):
    problem = plant(unsolved(cost=cost), steps=steps)
    assert_optimal(check_form(problem), problem, tolerance=1e-12)


@pytest.mark.parametrize("epsilon", [0.01, 0.5, 100.0])
def test_planted_answer_with_zero_weights_is_optimal(assert_optimal, epsilon):
    problem = plant(unsolved(epsilon=epsilon, zeros=True))
    assert_optimal(check_form(problem), problem, tolerance=1e-12)
    assert problem.b[4] == 0
    assert problem.f.isfinite().all()
    assert problem.g.isfinite().all()


def test_planted_weights_approach_the_wish():
    wish = unsolved()
    distance = [float((plant(wish, steps=steps).b - wish.b).abs().sum()) for steps in (0, 3, 200)]
    assert distance[0] > distance[1] > distance[2]
    assert distance[2] < 1e-10


def test_planted_answer_agrees_with_sinkhorn(sinkhorn):
    problem = plant(unsolved())
    numeric = sinkhorn(problem.cost_matrix, problem.a, problem.b, problem.epsilon)
    torch.testing.assert_close(problem.plan, numeric.plan, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(problem.f, numeric.f, rtol=0, atol=1e-10)
    torch.testing.assert_close(problem.g, numeric.g, rtol=0, atol=1e-10)


def test_planting_drops_exact_answers_and_leaves_its_input():
    wish = replace(unsolved(), exact_cost=1.0)
    before = wish.b.clone()
    problem = plant(wish, steps=1)
    assert problem.exact_cost is None
    assert wish.exact_cost == 1.0
    assert torch.equal(wish.b, before)
    assert not torch.equal(problem.b, before)


def test_scale_is_the_mean_cost():
    problem = unsolved(cost="negative_dot")
    expected = sum(
        float(problem.a[i] * problem.b[j] * problem.cost_matrix[i, j].abs()) for i in range(7) for j in range(5)
    )
    assert problem.scale == pytest.approx(expected, rel=1e-12)


def test_problem_moves_between_devices():
    moved = plant(unsolved()).to("meta")
    assert {t.device.type for t in (moved.x, moved.y, moved.a, moved.b, moved.plan, moved.f)} == {"meta"}
    assert moved.exact_plan is None


@pytest.mark.parametrize("field", ["a", "b", "plan", "f", "g", "value", "transport_cost"])
def test_check_notices_a_wrong_planted_answer(assert_optimal, field):
    problem = plant(unsolved())
    wrong = replace(problem, **{field: getattr(problem, field) * (1 + 1e-6)})
    with pytest.raises(AssertionError):
        assert_optimal(check_form(wrong), wrong)
