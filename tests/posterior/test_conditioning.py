"""Numbers that A is linear in, integrated out: against Gaussians in closed form, and against quadrature where A bends."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from isotherm.posterior import (
    EffectiveSizeWarning,
    FourierMask,
    GaussianReference,
    Langevin,
    PartlyLinearForward,
    Posterior,
    wedge_mask,
)
from isotherm.testing import LinearGaussianPosterior

LAM, GAMMA, BETA = 1.3, 0.4, 1.5
RANDOM = torch.Generator().manual_seed(0)
FIRST = torch.randn(4, 2, generator=RANDOM, dtype=torch.float64)
LAST = torch.randn(4, 3, generator=RANDOM, dtype=torch.float64)
X = torch.randn(5, 4, generator=RANDOM, dtype=torch.float64)
ENCODER = 0.3 * torch.randn(5, 4, generator=RANDOM, dtype=torch.float64)
SLOPE = torch.tensor([0.3, -0.2], dtype=torch.float64)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def first(h: Tensor) -> Tensor:
    return h @ FIRST.T


def head_critic(z: Tensor) -> Tensor:
    """Of the first two numbers."""
    return z[:, :2] @ SLOPE


def made(around: str, critic: bool) -> tuple[Posterior, LinearGaussianPosterior]:
    """A posterior that takes two of five numbers for bent, though none is, and its closed form."""
    centre = torch.zeros(5).double() if around == "prior" else lambda x: x @ ENCODER.T
    posterior = Posterior(
        PartlyLinearForward(first, LAST),
        GaussianReference(centre, BETA),
        head_critic if critic else None,
        lam=LAM,
        gamma=GAMMA,
    )
    known = LinearGaussianPosterior(
        matrix=torch.cat([FIRST, LAST], dim=1),
        lam=LAM,
        gamma=GAMMA,
        beta=BETA,
        centre=None if around == "prior" else X @ ENCODER.T,
        slope=torch.cat([SLOPE, torch.zeros(3).double()]) if critic else None,
    )
    return posterior, known


@pytest.mark.parametrize("around", ["prior", "encoder"])
@pytest.mark.parametrize("critic", [False, True])
def test_weights_and_draws_have_the_gaussian_law(around: str, *, critic: bool):
    posterior, known = made(around, critic)
    found = posterior.reweight(X, 40_000, generator=seeded())
    torch.testing.assert_close(found.mean, known.mean(X), atol=0.03, rtol=0.0)
    torch.testing.assert_close(found.covariance, known.covariance.expand(5, 5, 5), atol=0.03, rtol=0.0)
    torch.testing.assert_close(found.free_energy, known.free_energy(X), atol=0.03, rtol=0.0)
    draws = posterior.sample(X, 20_000, count=20_000, generator=seeded(1))
    assert draws.shape == (5, 20_000, 5)
    torch.testing.assert_close(draws.mean(1), known.mean(X), atol=0.04, rtol=0.0)
    spreads = torch.stack([torch.cov(each.T) for each in draws])
    torch.testing.assert_close(spreads, known.covariance.expand(5, 5, 5), atol=0.04, rtol=0.0)


def test_linear_numbers_are_drawn_anew():
    """Two candidates only: their linear numbers would be two values, if they were drawn with them."""
    posterior, _ = made("prior", critic=False)
    draws = posterior.sample(X, 50, count=2, generator=seeded(), least_effective=0.0)
    assert len(draws[0, :, 0].unique()) <= 2
    assert len(draws[0, :, 4].unique()) == 50


def test_each_observation_has_its_own_operator():
    """Signals of five values, each with other frequencies missing: against the dense formula for each."""
    matrix = torch.randn(5, 3, generator=seeded(2), dtype=torch.float64)
    offset = torch.randn(5, generator=seeded(3), dtype=torch.float64)
    mask = torch.tensor([[1, 1, 0, 0, 1], [1, 0, 1, 1, 0], [0, 1, 1, 1, 1]], dtype=torch.float64)
    operator, y = FourierMask(), torch.randn(3, 5, generator=seeded(4), dtype=torch.float64)
    x = operator.pack((operator.apply(operator.pack((y, mask)), y), mask))
    forward = PartlyLinearForward(lambda h: offset + h @ matrix[:, :1].T, matrix[:, 1:])
    posterior = Posterior(forward, GaussianReference(torch.zeros(3).double()), None, LAM, GAMMA, operator)
    draws = posterior.sample(x, 20_000, count=20_000, generator=seeded())
    for i in range(3):
        eye = torch.eye(5, dtype=torch.float64)
        dense = operator.apply(x[i].expand(5, 2, 5), eye).T  # columns are O e_k
        seen = dense @ matrix
        covariance = torch.linalg.inv(torch.eye(3).double() + LAM / GAMMA * seen.T @ seen)
        mean = covariance @ (LAM / GAMMA * seen.T @ (x[i, 0] - dense @ offset))
        torch.testing.assert_close(draws[i].mean(0), mean, atol=0.03, rtol=0.0)
        torch.testing.assert_close(torch.cov(draws[i].T), covariance, atol=0.03, rtol=0.0)
        torch.testing.assert_close(
            posterior.covariance_at(torch.zeros(3, 3).double(), x)[i], covariance, atol=1e-10, rtol=0.0
        )


def test_free_energy_of_what_bends_is_that_of_quadrature():
    """-gamma log of the integral of N(x; f(h), W W' + gamma / lam) over h, on a grid; and its derivative in W."""
    gain = torch.tensor([[0.7], [-0.4]], dtype=torch.float64, requires_grad=True)
    x = torch.tensor([[0.8, 0.3], [-0.5, 0.9]], dtype=torch.float64)

    def bent(h: Tensor) -> Tensor:
        return torch.cat([torch.sin(2.0 * h), h.square()], dim=1)

    grid = torch.linspace(-7.0, 7.0, 4001, dtype=torch.float64)[:, None]
    law = torch.distributions.MultivariateNormal(
        torch.zeros(2).double(), gain @ gain.T + GAMMA / LAM * torch.eye(2).double()
    )
    log_joint = law.log_prob(x[:, None] - bent(grid)) - 0.5 * grid[:, 0].square() - 0.5 * math.log(2.0 * math.pi)
    log_mass = log_joint.logsumexp(1) + math.log(14.0 / 4000.0)
    known = -GAMMA * (log_mass + math.log(2.0 * math.pi * GAMMA / LAM))
    posterior = Posterior(
        PartlyLinearForward(bent, gain), GaussianReference(torch.zeros(2).double()), lam=LAM, gamma=GAMMA
    )
    found = posterior.free_energy(x, 100_000, generator=seeded())
    torch.testing.assert_close(found, known, atol=0.01, rtol=0.0)
    slopes = [torch.autograd.grad(each.sum(), gain)[0] for each in (known, found)]
    torch.testing.assert_close(slopes[1], slopes[0], atol=0.02, rtol=0.0)


def test_integrating_out_saves_candidates():
    """Sixty linear numbers at a low temperature: candidates for all at once explain nothing."""
    matrix = 0.2 * torch.eye(60, dtype=torch.float64)
    forward = PartlyLinearForward(lambda h: h.expand(-1, 60), matrix)
    posterior = Posterior(forward, GaussianReference(torch.zeros(61).double()), lam=1.0, gamma=0.0025)
    x = 0.5 + 0.2 * torch.randn(3, 60, generator=seeded(5), dtype=torch.float64)
    assert float(posterior.reweight(x, 4000, generator=seeded()).effective_size.min()) > 50.0
    with pytest.warns(EffectiveSizeWarning):
        blind = posterior.reweight(x, 4000, proposal="reference", generator=seeded())
    assert float(blind.effective_size.max()) < 3.0
    with pytest.warns(EffectiveSizeWarning, match="3 of 3"):
        posterior.sample(x, 10, count=4, generator=seeded())


def test_potentials_of_linear_numbers_are_refused():
    posterior = Posterior(
        PartlyLinearForward(first, LAST), GaussianReference(torch.zeros(5).double()), lambda z: z[:, 4], gamma=0.5
    )
    with pytest.raises(ValueError, match="does not depend on the numbers that A is linear in"):
        posterior.sample(X, 10, generator=seeded())
    with pytest.raises(ValueError, match="must have shape"):
        PartlyLinearForward(first, torch.ones(3))
    opaque = Posterior(first, GaussianReference(torch.zeros(2).double()))
    with pytest.raises(ValueError, match="PartlyLinearForward"):
        opaque.reweight(X, 100, proposal="conditioned")


def test_chains_in_the_geometry_of_each_posterior_meet():
    """Eighteen numbers at a low temperature, pictures whose masks differ: exact, where steps of one length for all do not mix."""
    operator, generator = FourierMask(), seeded(6)
    matrix = torch.randn(36, 18, generator=generator, dtype=torch.float64) * torch.logspace(0, -1.5, 18).double()
    mask = wedge_mask(6, torch.tensor([10.0, 100.0], dtype=torch.float64), opening=90.0)
    whole = (torch.randn(2, 18, generator=generator, dtype=torch.float64) @ matrix.T).view(2, 6, 6)
    x = operator.pack((operator.apply(operator.pack((whole, mask)), whole), mask))
    posterior = Posterior(
        lambda z: (z @ matrix.T).view(-1, 6, 6), GaussianReference(torch.zeros(18).double()), None, 1.0, 0.01, operator
    )
    covariance = posterior.covariance_at(torch.zeros(2, 18).double(), x)
    assert float((covariance[0] - covariance[1]).abs().max()) > 0.01
    settings = {"steps": 400, "warm_up": 100, "thin": 4}
    chains = posterior.langevin(
        x, Langevin(step=0.9, preconditioner=covariance, **settings), chains=80, generator=seeded()
    )
    assert float(chains.acceptance.mean()) > 0.4
    assert float(chains.r_hat.max()) < 1.05
    torch.testing.assert_close(chains.covariance, covariance, atol=0.05, rtol=0.0)
    plain = posterior.langevin(x, Langevin(step=0.002, **settings), chains=20, generator=seeded())
    assert float(plain.r_hat.max()) > 1.5
