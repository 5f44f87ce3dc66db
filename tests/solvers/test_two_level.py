"""A sample of the points finds the start and the slow modes; the answer is that of alternation."""

from __future__ import annotations

import pytest
import torch

import isotherm.solvers.auto as auto_module
import isotherm.solvers.two_level as module
from isotherm import Auto, CostMatrix, LogSinkhorn, PointCloud, Problem, Relative, TwoLevel
from isotherm.solvers.anderson import Anderson
from isotherm.solvers.initial import extended_potentials
from isotherm.solvers.sample import drawn, gathered, sample_of
from isotherm.solvers.slow_modes import slow_modes
from isotherm.testing import check_solution

SIZES = 1300, 1140


def clusters(*, dtype: torch.dtype = torch.float64, **given) -> Problem:
    """Clusters with other weights on each side, between which mass passes slowly; two points have none."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    clouds, weights = [], []
    for size in SIZES:
        kinds = torch.randint(6, (size,), generator=generator)
        clouds.append(centres[kinds] + 0.25 * torch.randn(size, 5, generator=generator, dtype=torch.float64))
        share = torch.rand(6, generator=generator, dtype=torch.float64)[kinds] + 0.3
        share[:2] = 0.0
        weights.append(share / share.sum())
    x, y = (cloud.to(dtype) for cloud in clouds)
    a, b = (weight.to(dtype) for weight in weights)
    return Problem(PointCloud(x, y), a, b, epsilon=Relative(0.05), **given)


@pytest.mark.parametrize("prices", [{}, {"rho_a": 3.0}, {"rho_a": 2.0, "rho_b": 5.0}])
def test_two_levels_end_where_alternation_ends(prices):
    problem = clusters(**prices)
    found, wanted = TwoLevel(tolerance=1e-10).run(problem), LogSinkhorn(tolerance=1e-10).run(problem)
    check_solution(found, tolerance=1e-10)
    for ours, theirs, weights in zip(found.potentials, wanted.potentials, (problem.a, problem.b), strict=True):
        torch.testing.assert_close(ours[weights > 0], theirs[weights > 0], rtol=0, atol=1e-7)
    torch.testing.assert_close(found.value, wanted.value, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_passes_are_left(dtype):
    problem = clusters(dtype=dtype)
    found, plain = TwoLevel(tolerance=1e-3).run(problem), LogSinkhorn(tolerance=1e-3).run(problem)
    assert found.status.is_converged
    assert 2 * found.iterations <= plain.iterations
    assert found.method == "TwoLevel from a sample of 162 x 142 points, 5 slow modes, as asked"
    check_solution(found, tolerance=1e-3)


def test_slow_modes_make_steps_as_long_as_they_should_be():
    problem = clusters()
    solution = LogSinkhorn(tolerance=1e-9).run(problem)
    sample = sample_of(problem, share=8)
    modes = slow_modes(problem, sample, LogSinkhorn(tolerance=1e-3).run(sample.problem), potentials=solution.potentials)
    assert modes is not None
    plan = solution.coupling.to_dense()[2:, 2:]
    a, b = problem.a[2:], problem.b[2:]
    scaled = plan / (a.sqrt()[:, None] * b.sqrt())
    _, values, vectors = torch.linalg.svd(scaled)
    rates = values.square()
    assert modes.count == int((rates[1:] > 0.5).sum()) == 5
    for k in range(1, 6):  # the exact correction of the mode phi is phi / (1 - lambda)
        mode = torch.zeros_like(problem.b)
        mode[2:] = vectors[k] / b.sqrt()
        wanted = mode / (1.0 - rates[k])
        missed = modes.lengthened(mode, problem.b) - wanted
        norm = lambda v: float((problem.b * v.square()).sum().sqrt())  # noqa: E731
        assert norm(missed) < 0.45 * norm(wanted)
        assert norm(mode - wanted) > 0.5 * norm(wanted)
    constant = torch.ones_like(problem.b)
    torch.testing.assert_close(modes.lengthened(constant, problem.b), constant, rtol=0, atol=1e-6)


def test_modes_of_the_sample_alone_are_not_believed():
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(600, 8, generator=generator, dtype=torch.float64) for _ in range(2))
    problem = Problem(PointCloud(x, y), epsilon=0.3)  # so cold that points of a small sample stand alone
    sample = sample_of(problem, share=8)
    small = LogSinkhorn(tolerance=1e-6).run(sample.problem)
    plan = small.coupling.to_dense()
    values = torch.linalg.svdvals(plan / (plan.sum(1).sqrt()[:, None] * plan.sum(0).sqrt()))
    claimed = int((values[1:].square() > 0.5).sum())
    assert claimed > 25
    modes = slow_modes(problem, sample, small, potentials=extended_potentials(small, problem.geometry))
    assert modes is not None
    assert 2 * modes.count < claimed


def test_each_point_of_a_sample_has_the_mass_that_is_nearest_to_it():
    problem = clusters()
    cloud, weights = problem.geometry, problem.a
    assert isinstance(cloud, PointCloud)
    chosen = drawn(weights, 100)
    assert not set(chosen.tolist()) & {0, 1}
    assert not set(chosen.tolist()) & set(drawn(weights, 100, skip=1).tolist())
    nearest = torch.cdist(cloud.x, cloud.x[chosen]).argmin(1)
    wanted = torch.zeros(100, dtype=torch.float64).index_add_(0, nearest, weights)
    found = gathered(cloud.x, weights, chosen)
    assert float((found - wanted).abs().sum()) < 1e-2
    torch.testing.assert_close(found.sum(), weights.sum())


def test_anderson_needs_a_step_for_each_rate():
    rates = torch.tensor([0.9, 0.9, 0.5, -0.3, 0.99], dtype=torch.float64)  # four different ones
    x, wanted = torch.zeros(5, dtype=torch.float64), 1.0 / (1.0 - rates)
    mixing = Anderson(6, torch.ones(5))
    for _ in range(5):
        x = mixing.next(x, rates * x + 1.0 - x)
    torch.testing.assert_close(x, wanted, rtol=1e-8, atol=0)


def test_anderson_without_memory_takes_plain_steps_and_ignores_what_has_no_weight():
    point, step = torch.ones(3), torch.tensor([0.5, 0.25, 0.0])
    plain = Anderson(0, torch.ones(3))
    for _ in range(3):
        assert torch.equal(plain.next(point, step), point + step)
    rates, x = torch.tensor([0.9, 0.5]), torch.zeros(2)
    mixing = Anderson(6, torch.tensor([1.0, 0.0]))
    for _ in range(2):
        x = mixing.next(x, rates * x + 1.0 - x)
    torch.testing.assert_close(x[0], torch.tensor(10.0))


def test_alternation_goes_on_where_mixing_does_not_help(monkeypatch):
    monkeypatch.setattr(module, "RISE", 0.0)  # every step is one too many
    problem = clusters()
    found = TwoLevel(tolerance=1e-6).run(problem)
    check_solution(found, tolerance=1e-6)
    assert "slow modes, then LogSinkhorn with over-relaxation" in found.method


def test_mixing_ends_without_progress(monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 1)
    monkeypatch.setattr(module.Anderson, "next", lambda self, point, step: point - step)  # the wrong way
    found = TwoLevel(tolerance=1e-6).run(clusters())
    check_solution(found, tolerance=1e-6)
    assert ", then LogSinkhorn" in found.method


def test_a_sample_that_is_hard_says_so_and_alternation_runs(monkeypatch):
    monkeypatch.setattr(module, "LONG", 3)
    problem = clusters()
    found, plain = TwoLevel(tolerance=1e-4).run(problem), LogSinkhorn(tolerance=1e-4).run(problem)
    assert found.iterations == plain.iterations
    assert torch.equal(found.f, plain.f)


def test_potentials_that_are_known_need_no_sample():
    problem = clusters()
    known = LogSinkhorn(tolerance=1e-9).run(problem)
    found = TwoLevel(tolerance=1e-6).run(problem, init=known)
    assert found.iterations <= 2
    assert found.method == "TwoLevel without a sample, as asked"


def test_without_points_steps_are_mixed():
    generator = torch.Generator().manual_seed(0)
    costs = torch.rand(50, 41, generator=generator, dtype=torch.float64)
    problem = Problem(CostMatrix(costs), epsilon=0.02)
    found, plain = TwoLevel(tolerance=1e-9).run(problem), LogSinkhorn(tolerance=1e-9, relaxation=1.0).run(problem)
    check_solution(found, tolerance=1e-9)
    assert 2 * found.iterations < plain.iterations


def test_auto_takes_two_levels_for_many_points_in_many_dimensions(monkeypatch):
    monkeypatch.setattr(auto_module, "LARGE", 1 << 20)
    monkeypatch.setattr(auto_module, "SCALING_ENTRIES", 1 << 20)
    problem = clusters(dtype=torch.float32)
    monkeypatch.setattr(auto_module, "_is_blocked", lambda problem: False)
    solution = Auto(tolerance=1e-3).run(problem)
    assert solution.method.startswith("Auto chose TwoLevel from a sample of 162 x 142 points, 5 slow modes: ")
    check_solution(solution, tolerance=1e-3)


def test_the_sample_has_a_least_size():
    with pytest.raises(ValueError, match="most"):
        TwoLevel(most=0)
