"""Values of the objectives against their definitions, written out densely in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotherm import CostMatrix, Problem
from isotherm.objective import dual_value, entropy, kl, log_ratio_sum, marginal_penalty
from isotherm.testing import dense_dual_value, gibbs_plan

EXAMPLES = settings(deadline=None, max_examples=40, derandomize=True)
RHOS = (math.inf, 0.3, 5.0)


def random_tensors(seed: int, *sizes: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.rand(size, generator=generator, dtype=torch.float64) for size in sizes]


@EXAMPLES
@given(seed=st.integers(0, 10**6), rho_a=st.sampled_from(RHOS), rho_b=st.sampled_from(RHOS), mass=st.floats(0.1, 5.0))
def test_dual_value_matches_definition(seed, rho_a, rho_b, mass):
    a, b, f, g, cost = random_tensors(seed, 4, 3, 4, 3, 12)
    a[1] = 0.0
    a, b = mass * a / a.sum(), mass * b / b.sum()
    problem = Problem(CostMatrix(cost.reshape(4, 3)), a, b, epsilon=0.7, rho_a=rho_a, rho_b=rho_b)
    plan_mass = gibbs_plan(problem, f, g).sum()
    value = float(dual_value(problem, f, g, plan_mass))
    assert value == pytest.approx(dense_dual_value(problem, f, g), rel=1e-12, abs=1e-13)


def test_dual_value_ignores_infinite_potentials_of_empty_points():
    problem = Problem(CostMatrix(torch.zeros(2, 1)), torch.tensor([1.0, 0.0]), torch.tensor([1.0]), epsilon=1.0)
    f, g = torch.tensor([2.0, math.inf]), torch.tensor([3.0])
    assert float(dual_value(problem, f, g, torch.tensor(1.0))) == 5.0


@EXAMPLES
@given(seed=st.integers(0, 10**6), balanced=st.booleans())
def test_dual_value_at_zero_temperature_ignores_the_plan(seed, balanced):
    a, b, f, g = random_tensors(seed, 4, 3, 4, 3)
    rho = math.inf if balanced else 2.0
    problem = Problem(CostMatrix(torch.zeros(4, 3, dtype=torch.float64)), a, b * a.sum() / b.sum(), epsilon=0.0)
    problem = Problem(problem.geometry, problem.a, problem.b, epsilon=0.0, rho_a=rho, rho_b=rho)
    values = {float(dual_value(problem, f, g, torch.tensor(mass))) for mass in (0.0, 7.0)}
    gains = [p if balanced else 2.0 * (1 - (-p / 2.0).exp()) for p in (f, g)]
    assert len(values) == 1
    assert values.pop() == pytest.approx(float(problem.a @ gains[0] + problem.b @ gains[1]), rel=1e-12)


@EXAMPLES
@given(seed=st.integers(0, 10**6))
def test_kl_matches_definition(seed):
    mass, reference = random_tensors(seed, 6, 6)
    mass[0] = 0.0
    terms = [m * math.log(m / r) - m + r if m else r for m, r in zip(mass.tolist(), reference.tolist(), strict=True)]
    assert float(kl(mass, reference)) == pytest.approx(sum(terms), rel=1e-12)
    assert float(kl(reference, reference)) == 0.0
    assert float(kl(mass, reference)) > 0


def test_kl_is_infinite_where_the_reference_has_nothing():
    mass, reference = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])
    assert float(kl(mass, reference)) == math.inf
    assert float(log_ratio_sum(mass, reference)) == math.inf
    assert float(kl(reference, reference)) == 0.0  # 0 log (0 / 0) = 0


def test_entropy_matches_definition():
    mass = torch.tensor([0.5, 0.25, 0.25, 0.0], dtype=torch.float64)
    assert float(entropy(mass)) == pytest.approx(1.5 * math.log(2))


def test_marginal_penalty_is_free_when_balanced():
    marginal, weights = torch.tensor([0.2, 0.8]), torch.tensor([0.5, 0.5])
    assert float(marginal_penalty(marginal, weights, math.inf)) == 0.0
    assert float(marginal_penalty(marginal, weights, 3.0)) == pytest.approx(3.0 * float(kl(marginal, weights)))
