"""Chains against the law that their discretisation has, and diagnostics against known autocorrelations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from isotherm.posterior import Chains, GaussianReference, Langevin, LinearForward, Posterior
from isotherm.testing import LinearGaussianPosterior

LAM, GAMMA, BETA = 1.0, 0.5, 1.2
W = torch.tensor([[1.0, 0.3], [-0.2, 0.8], [0.4, 0.1]], dtype=torch.float64)
X = torch.tensor([[0.5, 1.0, -0.3], [2.0, -1.0, 0.2]], dtype=torch.float64)
KNOWN = LinearGaussianPosterior(matrix=W, lam=LAM, gamma=GAMMA, beta=BETA)
POSTERIOR = Posterior(LinearForward(W), GaussianReference(torch.zeros(2).double(), BETA), lam=LAM, gamma=GAMMA)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_unadjusted_steps_have_the_bias_of_the_formula():
    step = 0.6
    chains = POSTERIOR.langevin(
        X, Langevin(step=step, steps=200, warm_up=50, method="ula"), chains=2000, generator=seeded()
    )
    wide = KNOWN.langevin(X, torch.zeros(2, 2).double(), step=step, count=1000)[1]
    assert float((wide - KNOWN.covariance).abs().max()) > 0.05  # what is to be seen
    torch.testing.assert_close(chains.mean, KNOWN.mean(X), atol=0.01, rtol=0.0)
    torch.testing.assert_close(chains.covariance, wide.expand(2, 2, 2), atol=0.01, rtol=0.0)
    assert (chains.acceptance == 1.0).all()


def test_a_few_steps_have_the_law_of_a_few_steps():
    start = torch.full((20_000, 2, 2), 2.0, dtype=torch.float64)
    chains = POSTERIOR.langevin(X, Langevin(step=0.3, steps=3, thin=3, method="ula"), start=start, generator=seeded())
    mean, covariance = KNOWN.langevin(X, start[0], step=0.3, count=3)
    torch.testing.assert_close(chains.last.mean(0), mean, atol=0.02, rtol=0.0)
    for k in range(2):
        torch.testing.assert_close(chains.last[:, k].T.cov(), covariance, atol=0.02, rtol=0.0)


@pytest.mark.parametrize("preconditioner", [None, "diagonal", "covariance"])
def test_adjusted_steps_have_none(preconditioner):
    matrix = {None: None, "diagonal": KNOWN.covariance.diagonal(), "covariance": KNOWN.covariance}[preconditioner]
    step = 0.6 if matrix is None else 1.5
    settings = Langevin(step=step, steps=400, warm_up=50, preconditioner=matrix)
    chains = POSTERIOR.langevin(X, settings, chains=1500, generator=seeded())
    torch.testing.assert_close(chains.mean, KNOWN.mean(X), atol=0.01, rtol=0.0)
    torch.testing.assert_close(chains.covariance, KNOWN.covariance.expand(2, 2, 2), atol=0.01, rtol=0.0)
    assert 0.5 < float(chains.acceptance.mean()) < 0.999
    assert (chains.r_hat < 1.01).all()


def test_preconditioning_by_the_covariance_mixes_a_stretched_law():
    stretched = Posterior(
        LinearForward(torch.diag(torch.tensor([1.0, 30.0]).double())), POSTERIOR.reference, lam=LAM, gamma=GAMMA
    )
    known = LinearGaussianPosterior(matrix=stretched.forward.matrix, lam=LAM, gamma=GAMMA, beta=BETA)
    x = torch.zeros(1, 2).double()
    plain = stretched.langevin(x, Langevin(step=5e-4, steps=500, warm_up=100), chains=8, generator=seeded())
    shaped = stretched.langevin(
        x, Langevin(step=1.2, steps=500, warm_up=100, preconditioner=known.covariance), chains=8, generator=seeded()
    )
    assert float(shaped.effective_size.min()) > 10.0 * float(plain.effective_size.min())


def test_chains_around_an_encoder_and_persistence():
    around = Posterior(lambda z: z @ W.T, GaussianReference(lambda x: 0.3 * x[:, :2], BETA), lam=LAM, gamma=GAMMA)
    known = LinearGaussianPosterior(matrix=W, lam=LAM, gamma=GAMMA, beta=BETA, centre=0.3 * X[:, :2])
    settings = Langevin(step=0.5, steps=200)
    generator = seeded()
    chains = around.langevin(X, settings, chains=500, generator=generator)
    for _ in range(2):
        chains = around.langevin(X, settings, start=chains.last, generator=generator)
    assert chains.draws.shape == (200, 500, 2, 2)
    torch.testing.assert_close(chains.mean, known.mean(X), atol=0.02, rtol=0.0)
    energy = around.energy(chains.last[0], X)
    torch.testing.assert_close(chains.energies[-1, 0], energy)


def test_the_same_seed_gives_the_same_chains_and_the_global_state_is_left_alone():
    before = torch.get_rng_state()
    one, two = (POSTERIOR.langevin(X, Langevin(step=0.5, steps=20), generator=seeded(3)) for _ in range(2))
    assert torch.equal(one.draws, two.draws)
    assert torch.equal(before, torch.get_rng_state())


def test_chains_that_run_away_are_named():
    with pytest.raises(FloatingPointError, match="Shorten `step`"):
        POSTERIOR.langevin(X, Langevin(step=50.0, steps=2000, method="ula"), generator=seeded())


def test_a_clipped_gradient_holds_them():
    settings = Langevin(step=0.5, steps=100, method="ula", clip=1.0)
    start = torch.full((3, 2, 2), 1e3).double()
    chains = POSTERIOR.langevin(X, settings, start=start, generator=seeded())
    moved = (chains.draws[0] - start).norm(dim=-1)
    assert float(moved.max()) < 0.25 + 5.0 * 0.5**0.5


def autoregressive(rho: float, *, steps: int = 4000, chains: int = 40) -> Tensor:
    """Chains whose autocorrelation at lag t is rho^t, standard normal, (S, C, 1, 1)."""
    generator = seeded(1)
    noise = torch.randn(steps, chains, generator=generator, dtype=torch.float64) * (1.0 - rho**2) ** 0.5
    value, out = torch.randn(chains, generator=generator, dtype=torch.float64), []
    for xi in noise:
        value = rho * value + xi
        out.append(value)
    return torch.stack(out)[..., None, None]


def as_chains(draws: Tensor) -> Chains:
    return Chains(draws=draws, energies=draws[..., 0], acceptance=torch.ones(draws.shape[1:3]))


@pytest.mark.parametrize("rho", [-0.4, 0.0, 0.5, 0.9])
def test_effective_size_of_an_autoregressive_process(rho):
    chains = as_chains(autoregressive(rho))
    wanted = 160_000 * (1.0 - rho) / (1.0 + rho)
    assert float(chains.effective_size) == pytest.approx(wanted, rel=0.15)
    assert float(chains.r_hat) == pytest.approx(1.0, abs=0.01)


def test_r_hat_sees_chains_that_have_not_met():
    draws = autoregressive(0.0, steps=100, chains=4)
    draws[:, 0] += 3.0
    chains = as_chains(draws)
    # Means 3, 0, 0, 0, halves alike: variance of eight means 3^2 * 3/16 * 8/7, within one.
    assert float(chains.r_hat) == pytest.approx((0.98 + 9.0 * 3.0 / 16.0 * 8.0 / 7.0) ** 0.5, rel=0.1)
    assert float(chains.effective_size) < 20.0


def test_few_draws_cannot_be_judged():
    with pytest.raises(ValueError, match="at least 8 kept draws"):
        _ = as_chains(autoregressive(0.0, steps=6)).r_hat


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"step": 0.0}, "`step` must be positive"),
        ({"step": 0.1, "steps": 0}, "`steps` must be at least 1"),
        ({"step": 0.1, "method": "hmc"}, "`method` must be one of"),
        ({"step": 0.1, "clip": -1.0}, "`clip` must be positive"),
        ({"step": 0.1, "preconditioner": torch.ones(2, 2, 2, 2)}, "`preconditioner` must have shape"),
        ({"step": 0.1, "preconditioner": torch.ones(3)}, "`preconditioner` must be of size 2"),
        ({"step": 0.1, "steps": 3, "thin": 4}, "`thin` must be at most"),
    ],
)
def test_wrong_settings_get_one_clear_error(options, text):
    with pytest.raises(ValueError, match=text):
        POSTERIOR.langevin(X, Langevin(**options))
