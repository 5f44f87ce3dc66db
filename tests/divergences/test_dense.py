"""Many small problems at once by matrix products: the same loss, the same derivatives, or a polite refusal."""

import math

import pytest
import torch

import isotherm
from isotherm.divergences.dense import DenseBatch, dense_divergence

EXACT = {"tolerance": 1e-10}


def clouds(*shape: int, dtype=torch.float64, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two batches of clouds off the origin, the second of 3 points fewer."""
    generator = torch.Generator().manual_seed(seed)
    *batch, n, d = shape
    x = torch.randn(*batch, n, d, generator=generator, dtype=torch.float64) + 5.0
    y = 0.7 * torch.randn(*batch, n - 3, d, generator=generator, dtype=torch.float64) + 5.3
    return x.to(dtype).requires_grad_(), y.to(dtype).requires_grad_()


def weights(*shape: int) -> torch.Tensor:
    """Positive weights of sum two."""
    drawn = torch.rand(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1
    return 2.0 * drawn / drawn.sum(-1, keepdim=True)


def no_other_way(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """What a first derivative must not ask for."""
    raise AssertionError


def dense(x, y, a=None, b=None, *, epsilon=3.0, cost=None, tolerance=1e-10):
    """The loss by matrix products, or None."""
    return dense_divergence(x, y, (a, b), epsilon=epsilon, cost=cost, tolerance=tolerance, general=no_other_way)


@pytest.mark.parametrize("cost", [None, "half_sqeuclidean"])
@pytest.mark.parametrize(("shape", "epsilon"), [((2, 23, 3), 2.0), ((3, 17, 12), 6.0), ((19, 1), 1.0)])
def test_it_is_the_loss_that_solvers_give(shape, epsilon, cost):
    x, y = clouds(*shape)
    a, b = weights(*x.shape[:-1]), weights(*y.shape[:-1])
    found = dense(x, y, a, b, epsilon=epsilon, cost=cost)
    assert found is not None
    pulls = torch.autograd.grad(found.sum(), (x, y))
    wanted = isotherm.sinkhorn_divergence(x, y, a, b, epsilon=epsilon, cost=cost, solver="log", **EXACT)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)
    for pull, right in zip(pulls, torch.autograd.grad(wanted.sum(), (x, y)), strict=True):
        torch.testing.assert_close(pull, right, rtol=0, atol=1e-8)


@pytest.mark.parametrize("epsilon", [isotherm.Relative(0.2), isotherm.Relative(0.5, of="std"), torch.tensor(3.0)])
def test_every_kind_of_constant_temperature(epsilon):
    x, y = clouds(2, 15, 10)
    found = dense(x, y, epsilon=epsilon)
    wanted = isotherm.sinkhorn_divergence(x, y, epsilon=epsilon, solver="log", **EXACT)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


def test_cold_self_terms_do_not_underflow():
    x, _ = clouds(40, 20, dtype=torch.float32)
    found = dense(x, x + 0.1, epsilon=0.1, tolerance=1e-4)  # exp(-|x - x'|^2 / 0.1) is no number of float32
    assert found is not None
    assert found.item() == pytest.approx(20 * 0.1**2, rel=1e-3)  # the divergence of a translation


def test_errors_of_all_marginals_are_within_the_tolerance():
    x, y = clouds(1, 40, 16, dtype=torch.float32)
    for tolerance in (1e-2, 1e-4):
        pull = torch.autograd.grad(dense(x, y, tolerance=tolerance).sum(), x)[0]
        exact = torch.autograd.grad(dense(x.double(), y.double(), tolerance=1e-12).sum(), x)[0]
        assert float((pull - exact).norm() / exact.norm()) < 3.0 * tolerance


def test_parts_of_a_batch_are_solved_like_the_whole(monkeypatch):
    x, y = clouds(5, 12, 9)
    whole = dense(x, y)
    monkeypatch.setattr("isotherm.divergences.dense.CHUNK_ENTRIES", 2 * 12 * 12)
    assert len(list(DenseBatch(x=x, y=y, a=x, b=y, epsilon=x, scale=1.0).chunks())) == 3
    torch.testing.assert_close(dense(x, y), whole, rtol=0, atol=1e-12)


def test_second_derivatives_are_right():
    x, y = clouds(2, 6, 2)
    assert torch.autograd.gradgradcheck(lambda x: isotherm.sinkhorn_divergence(x, y, epsilon=2.0, tolerance=1e-12), x)


@pytest.mark.parametrize("share", [0.2, 0.05, 0.02])
def test_slow_problems_among_quick_ones(share):
    x, y = clouds(3, 40, 2)
    x = torch.cat([x[:1] * 0.01, x[1:]]).detach().requires_grad_()  # the first is one cluster, solved at once
    epsilon = share * (x[1] - y[1, :1]).square().sum(1).mean().item()
    found = dense(x, y, epsilon=epsilon, tolerance=1e-4)
    assert found is not None
    pull = torch.autograd.grad(found.sum(), x)[0]
    wanted = isotherm.sinkhorn_divergence(x, y, epsilon=epsilon, tolerance=1e-10, solver="log")
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    exact = torch.autograd.grad(wanted.sum(), x)[0]
    assert float((pull - exact).norm() / exact.norm()) < 1e-3


def test_an_interrupt_reaches_the_caller(monkeypatch):
    def interrupted(works):
        raise KeyboardInterrupt

    x, y = clouds(30, 2)
    assert dense(x, y, epsilon=0.05, tolerance=1e-4) is not None
    monkeypatch.setattr("isotherm.solvers.work.sinkhorn_sweeps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        dense(x, y, epsilon=0.05, tolerance=1e-4)


def test_gradients_of_other_losses_from_the_plan():
    x, y = clouds(31, 11)
    value = isotherm.entropic_value(x, y, epsilon=4.0, tolerance=1e-10)
    one = torch.autograd.grad(value, x, retain_graph=True)[0]
    both = torch.autograd.grad(value, (x, y))
    unrolled = isotherm.entropic_value(x, y, epsilon=4.0, differentiation=isotherm.Unroll(200))
    right = torch.autograd.grad(unrolled, (x, y))
    for found, expected in zip((one, *both), (right[0], *right), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_only_what_is_asked_for_is_differentiated():
    x, y = clouds(2, 9, 9)
    assert torch.autograd.grad(dense(x, y.detach()).sum(), x)[0].shape == x.shape
    assert torch.autograd.grad(dense(x.detach(), y).sum(), y)[0].shape == y.shape
    assert not dense(x.detach(), y.detach()).requires_grad
    with torch.no_grad():
        assert not dense(x, y).requires_grad


@pytest.mark.parametrize(
    "change",
    [
        {"x": [[0.0], [1.0]]},
        {"x": torch.zeros(7)},
        {"x": torch.full((7, 9), math.nan)},
        {"x": torch.full((7, 9), 1e6)},
        {"y": torch.zeros(7, 8)},
        {"y": torch.zeros(9)},
        {"a": torch.full((1, 7), 1 / 7)},
        {"y": torch.zeros(7, 9, dtype=torch.float64)},
        {"a": torch.zeros(7)},
        {"a": torch.full((7,), 1e-30)},
        {"epsilon": math.inf},
        {"a": torch.full((7,), 1 / 7, requires_grad=True)},
        {"cost": "euclidean"},
        {"epsilon": 1e-3},
        {"epsilon": -1.0},
        {"epsilon": torch.tensor(1.0, requires_grad=True)},
    ],
    ids=str,
)
def test_anything_else_is_left_to_solvers(change):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(7, 9, generator=generator) for _ in range(2))
    assert dense(x, y, epsilon=8.0, tolerance=1e-4) is not None
    assert (
        dense(**{"x": x, "y": y, "epsilon": 8.0, "tolerance": 1e-7 if "epsilon" in change else 1e-4} | change) is None
    )


def test_a_cache_is_filled_only_by_what_takes_many_sweeps():
    x, y = clouds(1, 30, 2)
    cache = isotherm.PotentialCache()
    isotherm.sinkhorn_divergence(x, y, epsilon=5.0, cache=cache)
    assert len(cache) == 0
    isotherm.sinkhorn_divergence(x, y, epsilon=0.01, cache=cache)
    assert len(cache) == 3
