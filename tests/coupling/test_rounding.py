"""Rounding: exactly feasible, close to the plan it came from, whatever the potentials."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isotherm import CostMatrix, EntropicCoupling, Grid, PointCloud, Problem
from isotherm.testing import known_problems, random_problem

INF = math.inf


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coupling_of(known, f: Tensor, g: Tensor, **settings) -> EntropicCoupling:
    geometry = CostMatrix(known.cost_matrix) if known.x is None else PointCloud(known.x, known.y, known.cost)
    problem = Problem(geometry, known.a, known.b, **{"epsilon": known.epsilon, **settings})
    return EntropicCoupling(problem, f.to(known.a.dtype), g.to(known.a.dtype))


def errors(plan: Tensor, a: Tensor, b: Tensor) -> tuple[float, float]:
    """L1 distances of the marginals from the weights."""
    return float((plan.double().sum(1) - a.double()).abs().sum()), float(
        (plan.double().sum(0) - b.double()).abs().sum()
    )


def assert_feasible(plan: Tensor, a: Tensor, b: Tensor, tolerance: float = 1e-12) -> None:
    assert (plan >= 0).all()
    assert max(errors(plan, a, b)) <= tolerance * float(a.sum()), "marginals are off"


@settings(deadline=None, derandomize=True, max_examples=100)
@given(
    n=st.integers(1, 8),
    m=st.integers(1, 8),
    seed=st.integers(0, 2**30),
    size=st.sampled_from([0.0, 0.1, 1.0, 10.0]),
    zero_weights=st.booleans(),
)
def test_rounded_plan_is_feasible_and_close_for_any_potentials(n, m, seed, size, zero_weights):
    known = random_problem(n, m, 2, generator=seed, zero_weights=zero_weights)
    noise = size * known.epsilon
    coupling = coupling_of(known, known.f + noise * normal(n, seed=seed), known.g + noise * normal(m, seed=seed + 1))
    plan, rounded = coupling.to_dense(), coupling.round().to_dense()
    assert_feasible(rounded, known.a, known.b)
    assert not rounded[known.a == 0].any()
    assert not rounded[:, known.b == 0].any()
    moved = float((rounded - plan).abs().sum())
    assert moved <= 2.0 * sum(errors(plan, known.a, known.b)) + 1e-12


def test_rounding_check_can_fail():
    known = random_problem(6, 5, 2, generator=0)
    with pytest.raises(AssertionError, match=r"marginals are off"):
        assert_feasible(known.plan * (1 + 1e-11), known.a, known.b)


@pytest.mark.parametrize("known", known_problems(), ids=lambda known: known.name)
def test_rounding_of_the_answer_is_the_answer(known):
    if known.f is None:
        known = type(known)(**{**vars(known), "f": torch.zeros_like(known.a), "g": torch.zeros_like(known.b)})
    coupling = coupling_of(known, known.f, known.g)
    rounded = coupling.round()
    assert_feasible(rounded.to_dense(), known.a, known.b)
    if known.plan is not None:
        assert float((rounded.to_dense() - known.plan).abs().sum()) <= 10 * known.tolerance


def test_rounded_marginals_are_exact_without_forming_the_plan():
    known = random_problem(40, 30, 3, generator=1, zero_weights=True)
    rounded = coupling_of(known, normal(40, seed=1), normal(30, seed=2)).round()
    source, target = rounded.marginals()
    torch.testing.assert_close(source, known.a, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(target, known.b, rtol=1e-12, atol=1e-15)
    source, target = rounded.transpose().marginals()
    torch.testing.assert_close(source, known.b, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(target, known.a, rtol=1e-12, atol=1e-15)


def test_rounded_plan_in_float32_is_feasible_to_its_rounding():
    known = random_problem(20, 13, 3, generator=0, dtype=torch.float32)
    rounded = coupling_of(known, normal(20, seed=1), normal(13, seed=2)).round()
    assert rounded.dtype == rounded.to_dense().dtype == torch.float32
    assert_feasible(rounded.to_dense(), known.a, known.b, 3e-6)


@pytest.mark.parametrize("mass", [1e-6, 1.0, 1e6])
def test_rounded_plan_of_any_mass_is_feasible(mass):
    known = random_problem(9, 7, 2, generator=3)
    geometry = PointCloud(known.x, known.y)
    problem = Problem(geometry, mass * known.a, mass * known.b, epsilon=known.epsilon)
    rounded = EntropicCoupling(problem, normal(9, seed=1), normal(7, seed=2)).round()
    assert_feasible(rounded.to_dense(), mass * known.a, mass * known.b)


def test_rounded_plan_of_a_grid_and_of_a_reference_is_feasible():
    grid = Grid((normal(3, seed=1), normal(4, seed=2)))
    a, b = (w / w.sum() for w in (normal(12, seed=3).exp(), normal(12, seed=4).exp()))
    for problem in (
        Problem(grid, a, b, epsilon=0.2),
        Problem(grid, a, b, epsilon=0.2, reference=normal(12, 12, seed=5).exp()),
    ):
        assert_feasible(EntropicCoupling(problem, normal(12, seed=6), normal(12, seed=7)).round().to_dense(), a, b)


@pytest.mark.parametrize("epsilon", [1e-4, 1e-2, 1e4])
def test_rounded_plan_is_feasible_at_both_ends_of_the_dial(epsilon):
    known = random_problem(9, 7, 2, generator=5)
    rounded = coupling_of(known, torch.zeros(9), torch.zeros(7), epsilon=epsilon).round()
    assert_feasible(rounded.to_dense(), known.a, known.b)


@pytest.mark.parametrize("side", ["source", "target"])
def test_rounding_a_semi_unbalanced_plan_meets_the_side_that_is_a_constraint(side):
    known = random_problem(9, 7, 2, generator=2)
    prices = {"rho_b": 0.5} if side == "source" else {"rho_a": 0.5}
    rounded = coupling_of(known, normal(9, seed=1), normal(7, seed=2), **prices).round()
    found, wanted = getattr(rounded.marginals(), side), known.a if side == "source" else known.b
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-14)
    assert not rounded.missing_a.any()


def test_rounding_is_lazy(monkeypatch):
    size = 2100  # more pairs than are kept between passes
    problem = Problem(PointCloud(normal(size, 2, seed=1), normal(size, 2, seed=2)), epsilon=1.0)
    coupling = EntropicCoupling(problem, torch.zeros(size).double(), torch.zeros(size).double())
    largest = []
    block = PointCloud.block
    monkeypatch.setattr(PointCloud, "block", lambda self, rows: largest.append(block(self, rows)) or largest[-1])
    coupling.round().apply(torch.ones(size))
    assert max((costs.numel() for costs in largest), default=0) <= 2**18  # fused kernels ask for no block at all
