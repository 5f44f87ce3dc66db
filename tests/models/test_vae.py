"""The evidence bound against the free energy that it bounds, all in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from isotherm.models import VAE
from isotherm.testing import LinearGaussianPosterior

LAM, GAMMA = 1.7, 0.6
RANDOM = torch.Generator().manual_seed(0)
# Orthogonal columns, for a posterior of diagonal covariance: the one that the encoder can have.
W = torch.linalg.qr(torch.randn(4, 2, generator=RANDOM, dtype=torch.float64))[0] * torch.tensor([1.5, 0.4])
OFFSET = torch.randn(4, generator=RANDOM, dtype=torch.float64)
X = torch.randn(5, 4, generator=RANDOM, dtype=torch.float64)
EXACT = LinearGaussianPosterior(matrix=W, offset=OFFSET, lam=LAM, gamma=GAMMA)


class Affine(nn.Module):
    """Means affine in x, variances constant."""

    def __init__(self, mean, variance: Tensor) -> None:
        super().__init__()
        self.mean, self.log_variance = mean, variance.log()

    def forward(self, x: Tensor) -> Tensor:
        mean = self.mean(x)
        return torch.cat([mean, self.log_variance.expand_as(mean)], dim=1)


def model(encoder: nn.Module) -> VAE:
    decoder = nn.Linear(2, 4).double()
    with torch.no_grad():
        decoder.weight.copy_(W)
        decoder.bias.copy_(OFFSET)
    return VAE((4,), 2, lam=LAM, gamma=GAMMA, encoder=encoder, decoder=decoder)


def bound(vae: VAE, x: Tensor) -> Tensor:
    """The loss of one observation without noise of its own: the misfit is quadratic in z, four points are exact."""
    points = math.sqrt(2.0) * torch.cat([torch.eye(2), -torch.eye(2)]).double()
    vae.prior = lambda count, generator: points  # type: ignore[method-assign]
    return vae.step(x.expand(4, 4))["loss"]


def test_bound_with_the_exact_posterior_is_the_free_energy():
    vae = model(Affine(EXACT.mean, EXACT.covariance.diagonal()))
    found = torch.stack([bound(vae, x) for x in X])
    torch.testing.assert_close(found, EXACT.free_energy(X), rtol=1e-12, atol=1e-12)


def test_bound_exceeds_the_free_energy_by_the_divergence_from_the_posterior():
    # E_q[c] + gamma KL(q | p) = Psi + gamma KL(q | q*): the seed of all amortised inference
    for scale, shift in ((1.0, 0.3), (0.4, 0.0), (2.5, -1.0)):
        variance = scale * EXACT.covariance.diagonal()
        vae = model(Affine(lambda x, shift=shift: EXACT.mean(x) + shift, variance))
        divergence = 0.5 * (shift**2 / EXACT.covariance.diagonal() + scale - 1.0 - math.log(scale)).sum()
        found = torch.stack([bound(vae, x) for x in X])
        torch.testing.assert_close(found, EXACT.free_energy(X) + GAMMA * divergence, rtol=1e-12, atol=1e-12)
        assert (found > EXACT.free_energy(X)).all()


def test_bound_of_any_encoder_is_at_least_the_free_energy():
    for seed in range(20):
        start = torch.Generator().manual_seed(seed)
        slope, spread = torch.randn(4, 2, generator=start).double(), torch.rand(2, generator=start).double() * 3 + 0.01
        vae = model(Affine(lambda x, slope=slope: x @ slope, spread))
        assert (torch.stack([bound(vae, x) for x in X]) > EXACT.free_energy(X)).all()


def test_posterior_samples_have_the_mean_and_spread_that_are_said():
    vae = VAE((4,), 2, widths=(8,), gamma=0.1, seed=1).double()
    draws = vae.posterior_sample(X, 20000)
    assert draws.shape == (5, 20000, 2)
    error = vae.posterior_std(X).detach() / math.sqrt(20000)
    assert ((draws.mean(1) - vae.posterior_mean(X)).abs() < 4.5 * error).all()
    torch.testing.assert_close(draws.std(1), vae.posterior_std(X).detach(), rtol=0.03, atol=0)
    assert torch.equal(vae.encode(X), vae.posterior_mean(X))


def test_posterior_samples_follow_the_generator_given():
    vae = VAE((4,), 2, widths=(8,)).double()
    one, two, other = (vae.posterior_sample(X, 3, generator=torch.Generator().manual_seed(k)) for k in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="`count` must be at least 1"):
        vae.posterior_sample(X, 0)
