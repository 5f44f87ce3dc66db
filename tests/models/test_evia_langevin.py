"""EVIA by chains against its closed forms: laws of the ends, derivatives, critics, decoders, memory, warnings."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from isotherm.models import ChainsWarning, LangevinEVIA
from isotherm.posterior import FourierMask, wedge_mask
from isotherm.testing import LinearGaussianPosterior, optimal_critic

LAM, GAMMA = 1.3, 0.8
W = torch.tensor([[1.2, 0.3], [-0.4, 0.9], [0.5, -0.2]], dtype=torch.float64)
S = torch.tensor([[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]], dtype=torch.float64)
H = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)


class Linear(nn.Module):
    """z -> W z, in float64."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix.clone())

    def forward(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T


class Quadratic(nn.Module):
    """-z'Hz / 2."""

    def __init__(self, curvature: Tensor) -> None:
        super().__init__()
        self.curvature = nn.Parameter(curvature.clone())

    def forward(self, z: Tensor) -> Tensor:
        return -0.5 * ((z @ self.curvature) * z).sum(1)


def gaussian(count: int, covariance: Tensor = S) -> Tensor:
    """Points of mean zero and exactly this covariance."""
    x = torch.randn(count, len(covariance), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / count)).T
    return x @ torch.linalg.cholesky(covariance).T


def made(critic: str = "dual", *, matrix: Tensor = W, curvature: Tensor = H, **settings) -> LangevinEVIA:
    if critic in ("dual", "ratio"):
        settings["critic_network"] = Quadratic(curvature)
    if critic == "ratio":
        settings["discriminator"] = Quadratic(torch.zeros_like(H))
    given = {"lam": LAM, "gamma": GAMMA, "penalty": 0.0, "encoder": Linear(0.1 * matrix.T), "decoder": Linear(matrix)}
    return LangevinEVIA((matrix.shape[0],), matrix.shape[1], critic=critic, **given | settings)


@pytest.mark.parametrize("reference", ["prior", "encoder"])
@pytest.mark.parametrize("chain_steps", [3, 60])
def test_ends_of_unadjusted_chains_have_the_law_of_the_discretisation(chain_steps, reference):
    """Its bias included: covariance P^-1 (1 - step P / 4)^-1, reached from the encoder's output."""
    x = gaussian(4)[:2]
    model = made(chains=40_000, chain_steps=chain_steps, chain_step=0.4, method="ula", reference=reference, beta=1.5)
    code = model.encode(x).detach()
    centre, beta = (None, 1.0) if reference == "prior" else (code, 1.5)
    known = LinearGaussianPosterior(matrix=W, lam=LAM, gamma=GAMMA, curvature=H, centre=centre, beta=beta)
    mean, covariance = known.langevin(x, code, step=0.4, count=chain_steps)
    found = model.step(x)
    found["loss"].backward()
    assert float(found["spread"]) == pytest.approx(float(covariance.trace()), rel=0.02)
    assert float(covariance.trace()) != pytest.approx(float(known.covariance.trace()), rel=0.04)  # which it is not
    torch.testing.assert_close(model.encoder.matrix.grad, (code - mean).T @ x, atol=0.03, rtol=0.02)  # 2 / n = 1
    moments = covariance * 2 + mean.T @ mean
    decoder = 0.5 * LAM * (W @ moments - x.T @ mean)
    torch.testing.assert_close(model.decoder.matrix.grad, decoder, atol=0.03, rtol=0.02)
    critic = 0.5 * torch.eye(2) - 0.25 * moments  # minus the dual's derivative by H: E_prior less E_q of zz' / 2
    torch.testing.assert_close(model.critic_network.curvature.grad, critic, atol=0.02, rtol=0.02)


def test_adjusted_chains_are_exact_and_find_their_step():
    x = gaussian(4)
    model = made(chains=2000, chain_steps=20, chain_step=3.0)
    acceptances = [float(model.step(x)["acceptance"]) for _ in range(12)]
    known = LinearGaussianPosterior(matrix=W, lam=LAM, gamma=GAMMA, curvature=H)
    assert acceptances[0] < 0.1
    for _ in range(30):
        found = model.step(x)
    assert 0.4 < float(found["acceptance"]) < 0.75
    assert float(found["spread"]) == pytest.approx(float(known.covariance.trace()), rel=0.04)


@pytest.mark.parametrize("critic", ["dual", "ratio"])
def test_critics_find_the_optimal_curvature(critic):
    known, _ = optimal_critic(W, S, lam=LAM, gamma=GAMMA)
    x = gaussian(40)
    model = made(
        critic, curvature=torch.zeros_like(H), chains=50, chain_steps=3, chain_step=0.6, start="replay", memory=40
    )
    rate = 0.05
    optimiser = torch.optim.Adam(model.parameter_groups(rate)[1:])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300)
    for _ in range(300):
        optimiser.zero_grad()
        model.step(x, index=torch.arange(40))["loss"].backward()
        optimiser.step()
        schedule.step()
    curvature = model.critic_network.curvature.detach()
    assert float((0.5 * (curvature + curvature.T) - known).norm() / known.norm()) < 0.08


def test_the_trained_decoder_is_that_of_probabilistic_components():
    x = gaussian(40, torch.diag(torch.tensor([4.0, 1.0, 0.3]).double()))
    start = torch.tensor([[1.0, 0.2], [-0.1, 0.9], [0.3, -0.3]], dtype=torch.float64)
    model = made("none", matrix=start, lam=1.0, gamma=0.5, chains=20, chain_steps=5, start="replay", memory=40)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 200)
    for _ in range(200):
        optimiser.zero_grad()
        model.step(x, index=torch.arange(40))["loss"].backward()
        optimiser.step()
        schedule.step()
    learnt = model.decoder.matrix.detach()
    known = torch.diag(torch.tensor([3.5, 0.5, 0.0]).double())
    assert float((learnt @ learnt.T - known).norm()) < 0.05 * 3.5


def test_answers_have_their_closed_form():
    x = gaussian(5)
    model = made(chain_step=0.6, chains=40)
    known = LinearGaussianPosterior(matrix=W, lam=LAM, gamma=GAMMA, curvature=H)
    torch.testing.assert_close(model.posterior_mean(x), known.mean(x), atol=0.08, rtol=0.0)
    std = known.covariance.diagonal().sqrt().expand(5, 2)
    torch.testing.assert_close(model.posterior_std(x), std, rtol=0.1, atol=0.0)
    draws = model.posterior_sample(x, 3000)
    assert draws.shape == (5, 3000, 2)
    torch.testing.assert_close(draws.mean(1), known.mean(x), atol=0.08, rtol=0.0)
    assert model.posterior_chains(x).draws.shape == (50, 40, 5, 2)


def test_chains_that_have_not_met_are_told_of():
    model = made(chain_step=1e-6, start="prior")
    with pytest.warns(ChainsWarning, match="have not met"):
        model.posterior_sample(gaussian(4), 2)


def test_the_memory_goes_on_where_its_rows_ended():
    x, index = gaussian(4), torch.tensor([5, 0, 3, 2])
    model = made(start="replay", memory=6, chains=3)
    before = model.replay.clone()
    model.step(x, index=index)
    moved = (model.replay != before).any(2).any(1)
    assert moved.tolist() == [True, False, True, True, False, True]
    assert "replay" in model.state_dict()
    again = made(start="replay", memory=6, chains=3).replay  # from the same seed
    torch.testing.assert_close(again, before, rtol=0.0, atol=0.0)
    for wrong in (None, index[:3], index + 1):
        with pytest.raises(ValueError, match="needs `index`"):
            model.step(x, index=wrong)
    with pytest.raises(ValueError, match="memory"):
        made(start="replay")


def test_masked_images_are_fitted_and_answered():
    images = torch.rand(30, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = wedge_mask(8, torch.linspace(0.0, 170.0, 30), opening=90.0)
    y = FourierMask().apply(FourierMask().pack((images, mask)), images)
    model = LangevinEVIA(
        (8, 8), 2, gamma=0.5, observe="fourier_mask", widths=(16,), chains=2, chain_steps=5, answer_steps=2000
    )
    before = float(model.step((y, mask))["misfit"])
    model.fit((y, mask), steps=60, batch_size=15, learning_rate=3e-3)
    assert float(model.step((y, mask))["misfit"]) < 0.7 * before
    assert model.posterior_sample((y, mask), 3).shape == (30, 3, 2)
    assert LangevinEVIA(**model.settings()).settings() == model.settings()


def test_half_precision_is_for_networks_alone():
    x = FourierMask().pack((torch.ones(10, 8, 8), wedge_mask(8, torch.linspace(0.0, 170.0, 10), opening=90.0)))
    model = LangevinEVIA((8, 8), 2, gamma=0.5, observe="fourier_mask", widths=(16,), chains=2, chain_steps=5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.step(x)
    found["loss"].backward()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_chains_in_the_geometry_of_the_decoder_meet_where_it_is_cold():
    """Twenty numbers, gamma = 0.01: the closed form with "gauss-newton", chains apart without."""
    matrix = torch.randn(30, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    matrix = matrix * torch.logspace(0, -1.5, 20, dtype=torch.float64)
    x = torch.randn(3, 20, generator=torch.Generator().manual_seed(2), dtype=torch.float64) @ matrix.T
    known = LinearGaussianPosterior(matrix=matrix, lam=1.0, gamma=0.01)

    def made(preconditioner: str, step: float) -> LangevinEVIA:
        return LangevinEVIA(
            (30,),
            20,
            widths=(8,),
            gamma=0.01,
            critic="none",
            chains=20,
            chain_step=step,
            start="prior",
            preconditioner=preconditioner,
            answer_steps=500,
            decoder=Linear(matrix),
        ).double()

    chains = made("gauss-newton", 0.8).posterior_chains(x)
    assert float(chains.r_hat.max()) < 1.1
    torch.testing.assert_close(chains.mean, known.mean(x), atol=0.05, rtol=0.0)
    torch.testing.assert_close(chains.covariance, known.covariance.expand(3, 20, 20), atol=0.1, rtol=0.0)
    with pytest.warns(ChainsWarning, match="3 of 3"):
        made("none", 0.002).posterior_chains(x)
    replayed = made("gauss-newton", 0.8)
    assert 0.3 < float(replayed.step(x)["acceptance"]) < 1.0


class TwoWells(nn.Module):
    """A(z) = (z^2 - 1, 0.4 z): x = (0, 0.4) is z = 1, and z = -1 is nearly as good."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.cat([z.square() - 1.0, 0.4 * z], dim=1)


@pytest.mark.parametrize("gamma_start", [None, 2.0])
def test_chains_that_cool_down_find_the_better_well(gamma_start: float | None):
    """At gamma = 0.02 the worse well weighs e^-16 of the better: chains that begin cold in it stay there."""
    model = LangevinEVIA(
        (2,),
        1,
        widths=(8,),
        gamma=0.02,
        gamma_start=gamma_start,
        critic="none",
        chain_step=0.02,
        chains=100,
        start="prior",
        answer_warm_up=1600,
        answer_steps=50,
        decoder=TwoWells(),
    ).double()
    with pytest.warns(ChainsWarning):
        chains = model.posterior_chains(torch.tensor([[0.0, 0.4]], dtype=torch.float64))
    wrong = float((chains.last < 0.0).double().mean())
    assert (wrong > 0.4) if gamma_start is None else (wrong < 0.25)
