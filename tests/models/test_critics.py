"""Losses of critics against what their pages say, and the identity behind the ratio."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isotherm import CostMatrix, solve
from isotherm.models.critics import Causes, DualCritic, NoCritic, RatioCritic, SinkhornCritic, cooled

GAMMA = 0.7


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Affine(nn.Module):
    """v'z + u."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.slope, self.level = nn.Parameter(random(2, seed=seed)), nn.Parameter(random(1, seed=seed + 10))

    def forward(self, z: Tensor) -> Tensor:
        return (z @ self.slope + self.level)[:, None]


def causes() -> Causes:
    return Causes(random(5, 2, seed=1), random(7, 2, seed=2), random(7, seed=3).softmax(0))


def test_ratio_moves_the_potential_by_gamma_times_the_logit():
    w, d = Affine(0), Affine(1)
    given = causes()
    RatioCritic(w, d).loss(given, GAMMA).backward()
    logit = d(given.prior)[:, 0].detach()
    torch.testing.assert_close(w.slope.grad, -GAMMA * (logit[:, None] * given.prior).mean(0))
    torch.testing.assert_close(w.level.grad, -GAMMA * logit.mean()[None])


def test_the_discriminator_learns_which_is_which():
    w, d = Affine(0), Affine(1)
    given = causes()
    RatioCritic(w, d).loss(given, GAMMA).backward()
    again = Affine(1)
    real, fake = again(given.prior)[:, 0].sigmoid(), again(given.posterior)[:, 0].sigmoid()
    (-real.log().mean() - given.share @ (1.0 - fake).log()).backward()
    torch.testing.assert_close(d.slope.grad, again.slope.grad)
    torch.testing.assert_close(d.level.grad, again.level.grad)


def test_the_penalty_is_that_of_the_measured_potential():
    w, given = Affine(0), causes()
    heavy, light = DualCritic(w, 0.6).loss(given, GAMMA), DualCritic(w, 0.0).loss(given, GAMMA)
    values = w(given.prior)[:, 0]
    torch.testing.assert_close(heavy - light, 0.3 / GAMMA * values.var(correction=0))
    torch.testing.assert_close(light, given.share @ w(given.posterior)[:, 0] - values.mean())


def test_gathering_log_ratios_is_the_iteration_of_sinkhorn():
    """w <- w + gamma log(p / q) with the posteriors' own q, on given causes, ends at the potential of the plan."""
    costs = random(6, 9, seed=4).square()
    w = torch.zeros(9).double()
    for _ in range(2000):
        together = ((w - costs) / GAMMA).softmax(1).mean(0)
        w = w - GAMMA * (9 * together).log()
    known = solve(CostMatrix(costs), epsilon=GAMMA, tolerance=1e-12).g
    torch.testing.assert_close(w - w.mean(), known - known.mean(), atol=1e-8, rtol=0.0)
    critic = SinkhornCritic(torch.zeros(9, 2).double(), tolerance=1e-12)
    torch.testing.assert_close(critic.solve(costs, GAMMA), known - known.mean(), atol=1e-8, rtol=0.0)
    assert not critic.is_known
    critic.remember(costs, GAMMA)
    assert critic.is_known
    torch.testing.assert_close(critic.values, known - known.mean(), atol=1e-8, rtol=0.0)


def test_without_critic_there_is_nothing_to_learn():
    critic = NoCritic()
    assert critic.loss(causes(), GAMMA) == 0.0
    assert critic(random(4, 2, seed=0)).tolist() == [0.0] * 4
    assert not list(critic.parameters())


def test_cooling_is_geometric():
    assert cooled(None, 0.5, 0.3) == 0.5
    assert [cooled(8.0, 0.5, share) for share in (0.0, 0.5, 1.0)] == pytest.approx([8.0, 2.0, 0.5])
