"""Every generated problem carries a right answer to its stated tolerance and is as awkward as its name says."""

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from isotherm.testing import (
    COSTS,
    KnownProblem,
    clusters,
    decoupled_clusters,
    duplicates,
    far_from_origin,
    gaussian_grid,
    known_problems,
    matching,
    random_problem,
    worked_example,
)

DTYPES = [torch.float64, torch.float32]
NAMES = [problem.name for problem in known_problems()]


def solved_again(problem: KnownProblem, sinkhorn):
    """The answer by brute force, from zero potentials: nothing planted is reused."""
    return sinkhorn(problem.cost_matrix, problem.a, problem.b, problem.epsilon, steps=3000)


def assert_agrees(problem: KnownProblem, numeric) -> None:
    allowed = problem.tolerance * problem.scale
    a, b = problem.a.double(), problem.b.double()
    assert abs(problem.value - numeric.value) <= allowed
    assert abs(problem.transport_cost - numeric.transport_cost) <= allowed
    assert float((problem.plan - numeric.plan).abs().sum()) <= problem.tolerance
    assert float(a @ (problem.f - numeric.f).abs()) <= allowed
    assert float(b @ (problem.g - numeric.g).abs()) <= allowed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_known_answer_is_found_by_brute_force(sinkhorn, linear_programme, index, dtype):
    problem = known_problems(1, dtype=dtype)[index]
    assert {t.dtype for t in (problem.x, problem.y, problem.a, problem.b) if t is not None} == {dtype}
    assert problem.cost_matrix.dtype == torch.float64
    if problem.x is not None:
        expected = COSTS[problem.cost](problem.x.double(), problem.y.double())
        assert torch.equal(problem.cost_matrix, expected)
    if problem.value is not None:
        assert_agrees(problem, solved_again(problem, sinkhorn))
    if problem.exact_cost is not None:
        a, b = (w.double() / w.double().sum() for w in (problem.a, problem.b))
        exact = linear_programme(problem.cost_matrix, a, b)
        assert abs(problem.exact_cost - exact) <= 1e-9 + problem.tolerance * problem.scale
        plan_cost = float((problem.exact_plan * problem.cost_matrix).sum())
        assert plan_cost == pytest.approx(problem.exact_cost, rel=1e-6)
    assert problem.value is not None or problem.exact_cost is not None


def test_names_are_distinct():
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("field", ["plan", "value", "transport_cost", "f", "g"])
def test_agreement_check_notices_one_wrong_field(sinkhorn, field):
    problem = random_problem(6, 5, 2, generator=0)
    numeric = solved_again(problem, sinkhorn)
    assert_agrees(problem, numeric)
    wrong = replace(problem, **{field: getattr(problem, field) * (1 + 1e-6)})
    with pytest.raises(AssertionError):
        assert_agrees(wrong, numeric)


def test_same_seed_same_problem_and_no_global_randomness():
    state = torch.get_rng_state()
    for one, other in zip(known_problems(5), known_problems(5), strict=True):
        for field in fields(KnownProblem):
            first, second = getattr(one, field.name), getattr(other, field.name)
            same = torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second
            assert same, (one.name, field.name)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(random_problem(3, 3, 2, generator=0).x, random_problem(3, 3, 2, generator=1).x)


def test_generator_object_is_advanced():
    generator = torch.Generator().manual_seed(0)
    first, second = (random_problem(3, 3, 2, generator=generator) for _ in range(2))
    assert not torch.equal(first.x, second.x)
    assert torch.equal(first.x, random_problem(3, 3, 2, generator=0).x)


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    d=st.integers(1, 4),
    seed=st.integers(0, 2**31),
    zero_weights=st.booleans(),
    cost=st.sampled_from(sorted(COSTS)),
)
def test_random_problem_of_any_size_is_valid(n, m, d, seed, zero_weights, cost):
    problem = random_problem(n, m, d, generator=seed, zero_weights=zero_weights, cost=cost)
    assert problem.epsilon > 0
    assert float((problem.plan.sum(1) - problem.a).abs().sum()) < 1e-12
    assert float((problem.plan.sum(0) - problem.b).abs().sum()) < 1e-12
    gibbs = torch.exp((problem.f[:, None] + problem.g - problem.cost_matrix) / problem.epsilon)
    torch.testing.assert_close(problem.plan, problem.a[:, None] * problem.b * gibbs, rtol=1e-9, atol=1e-14)
    assert float(problem.b @ problem.g) == pytest.approx(0, abs=1e-10)
    assert problem.transport_cost <= problem.value + 1e-12
    assert bool((problem.b.sum() - 1).abs() < 1e-12)


def test_zero_weights_are_exact_zeros():
    problem = random_problem(30, 30, 2, generator=0, zero_weights=True, dtype=torch.float32)
    for weights, mass in ((problem.a, problem.plan.sum(1)), (problem.b, problem.plan.sum(0))):
        assert 3 < int((weights == 0).sum()) < 25
        assert torch.equal(weights == 0, mass == 0)
        assert weights[0] > 0


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_the_optimal_assignment(seed):
    problem = matching(40, 2, generator=seed)
    rows, columns = linear_sum_assignment(problem.cost_matrix.numpy())
    assert problem.exact_cost == pytest.approx(float(problem.cost_matrix[rows, columns].mean()), rel=1e-12)
    assert torch.equal(problem.exact_plan.argmax(1), torch.from_numpy(columns))
    assert not torch.equal(torch.from_numpy(columns), torch.arange(40))


def test_matching_value_lies_in_its_bracket(sinkhorn):
    problem = matching(generator=0)
    numeric = sinkhorn(problem.cost_matrix, problem.a, problem.b, problem.epsilon)
    assert problem.exact_cost < numeric.value < problem.exact_cost + problem.epsilon * math.log(16)


def test_gaussian_grid_refuses_a_coarse_grid():
    with pytest.raises(ValueError, match="Raise n"):
        gaussian_grid(12, generator=0)


def test_gaussian_grid_states_an_honest_accuracy(sinkhorn):
    problem = gaussian_grid(34, generator=0)
    assert 1e-10 < problem.tolerance < 1e-6
    assert_agrees(problem, solved_again(problem, sinkhorn))


def test_clusters_are_tight_and_apart():
    problem = clusters(generator=0)
    nearest = problem.cost_matrix.min(1).values
    assert float(nearest.max()) < problem.epsilon < float(problem.cost_matrix.mean())


def test_decoupled_clusters_hold_up_sinkhorn(sinkhorn):
    problem = decoupled_clusters(generator=0)
    leak = float(problem.b[10:].sum() - problem.a[10:].sum())
    rest = int(15 / (8 * leak))  # half of the steps which it is said to take
    errors = sinkhorn(problem.cost_matrix, problem.a, problem.b, 1.0, steps=2000).errors
    assert errors[rest] == pytest.approx(2 * leak, rel=0.2)
    tail = [error for error in errors if 1e-10 < error < 1e-4]
    rate = (tail[-1] / tail[0]) ** (1 / (len(tail) - 1))
    assert 1 - rate == pytest.approx(4 * leak, rel=0.3)


def test_far_from_origin_breaks_the_expanded_cost():
    problem = far_from_origin(generator=0, dtype=torch.float32)
    x, y = problem.x, problem.y
    expanded = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T
    assert float((expanded - problem.cost_matrix).abs().max()) > problem.epsilon
    torch.testing.assert_close(COSTS["sqeuclidean"](x, y).double(), problem.cost_matrix, rtol=1e-5, atol=0)


def test_duplicates_share_their_rows():
    problem = duplicates(generator=0)
    conditional = problem.plan / problem.a[:, None]
    torch.testing.assert_close(conditional[0], conditional[5], rtol=1e-12, atol=0)
    assert float(problem.cost_matrix.min()) == 0


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_worked_example_matches_its_points(epsilon):
    problem = worked_example(epsilon)
    assert torch.equal(COSTS[problem.cost](problem.x, problem.y), problem.cost_matrix)
    assert problem.value == pytest.approx(epsilon * math.log(2 / (1 + math.exp(-1 / epsilon))), rel=1e-13)
