"""The closed forms of linear-Gaussian posteriors, against quadrature and each other."""

from __future__ import annotations

import math

import pytest
import torch

from isotherm.testing import LinearGaussianPosterior, optimal_critic

W = torch.tensor([[1.0], [0.4]], dtype=torch.float64)
X = torch.tensor([[0.7, -0.2], [2.0, 1.0]], dtype=torch.float64)


def line(**given) -> LinearGaussianPosterior:
    """One cause, two features, everything switched on."""
    options = {
        "matrix": W,
        "offset": torch.tensor([0.1, 0.3]).double(),
        "lam": 1.3,
        "gamma": 0.6,
        "beta": 0.8,
        "centre": torch.tensor([[0.4], [-0.5]]).double(),
        "slope": torch.tensor([0.25]).double(),
        "curvature": torch.tensor([[0.5]]).double(),
        "level": 0.7,
    }
    return LinearGaussianPosterior(**options | given)


@pytest.mark.parametrize("gamma", [0.3, 1.0, 4.0])
def test_everything_against_quadrature(gamma):
    known = line(gamma=gamma)
    z = torch.linspace(-14.0, 14.0, 40_001, dtype=torch.float64)[:, None]
    width = float(z[1, 0] - z[0, 0])
    for k, x in enumerate(X):
        kappa = (-0.4 * (z[:, 0] - known.centre[k, 0]).square()).exp() * math.sqrt(0.8 / (2.0 * math.pi))
        utility = known.utility(z, x.expand(len(z), 2))
        density = kappa * (utility / gamma).exp()
        total = density.sum() * width
        mean = (density @ z[:, 0]) * width / total
        variance = (density @ (z[:, 0] - mean).square()) * width / total
        torch.testing.assert_close(known.mean(X)[k, 0], mean, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(known.covariance[0, 0], variance, rtol=1e-8, atol=1e-9)
        torch.testing.assert_close(known.free_energy(X)[k], -gamma * total.log(), rtol=1e-8, atol=1e-9)
        squares = (kappa * (2.0 * utility / gamma).exp()).sum() * width
        torch.testing.assert_close(known.effective_share(X)[k], total.square() / squares, rtol=1e-8, atol=1e-9)


def test_unnormalised_form_is_the_integral_without_the_constant():
    known = line(gamma=1.0)
    z = torch.linspace(-14.0, 14.0, 40_001, dtype=torch.float64)[:, None]
    exponent = known.utility(z, X[0].expand(len(z), 2)) - 0.4 * (z[:, 0] - known.centre[0, 0]).square()
    integral = exponent.exp().sum() * float(z[1, 0] - z[0, 0])
    torch.testing.assert_close(known.unnormalised_free_energy(X)[0], -integral.log())
    with pytest.raises(ValueError, match="gamma = 1"):
        line().unnormalised_free_energy(X)


def test_without_a_critic_it_is_probabilistic_pca():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(4, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    known = LinearGaussianPosterior(matrix=matrix, lam=2.0, gamma=0.5)
    noise = 0.25  # gamma / lam
    inner = matrix.T @ matrix + noise * torch.eye(2).double()
    torch.testing.assert_close(known.mean(x), x @ matrix @ torch.linalg.inv(inner))
    torch.testing.assert_close(known.covariance, noise * torch.linalg.inv(inner))
    law = torch.distributions.MultivariateNormal(
        torch.zeros(4).double(), matrix @ matrix.T + noise * torch.eye(4).double()
    )
    wanted = -0.5 * law.log_prob(x) - 0.25 * 4 * math.log(2.0 * math.pi * noise)
    torch.testing.assert_close(known.free_energy(x), wanted)


@pytest.mark.parametrize("gamma", [0.1, 0.7, 5.0])
def test_under_the_optimal_critic_posteriors_add_up_to_the_prior(gamma):
    generator = torch.Generator().manual_seed(1)
    matrix = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    root = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    data = root @ root.T
    curvature, sigma = optimal_critic(matrix, data, lam=1.3, gamma=gamma)
    known = LinearGaussianPosterior(matrix=matrix, lam=1.3, gamma=gamma, curvature=curvature)
    torch.testing.assert_close(known.covariance, sigma)
    gain = sigma @ matrix.T * (1.3 / gamma)
    torch.testing.assert_close(gain @ data @ gain.T + sigma, torch.eye(2).double())
    assert known.mutual_information(data) == pytest.approx(-0.5 * float(torch.logdet(sigma)))


def test_langevin_tends_to_its_stationary_law_and_that_to_the_posterior():
    known = line()
    start = torch.full((2, 1), 3.0).double()
    mean, covariance = known.langevin(X, start, step=0.2, count=10_000)
    torch.testing.assert_close(mean, known.mean(X))
    wide = known.covariance / (1.0 - 0.05 * known.precision)
    torch.testing.assert_close(covariance, wide)
    _, fine = known.langevin(X, start, step=1e-6, count=10**8)
    torch.testing.assert_close(fine, known.covariance, rtol=1e-5, atol=0.0)
    after_one = known.langevin(X, start, step=0.2, count=1)
    torch.testing.assert_close(after_one[1], torch.tensor([[0.2]]).double())  # the noise of a single step


def test_a_critic_that_grows_too_fast_is_refused():
    with pytest.raises(ValueError, match="normalisable"):
        line(curvature=torch.tensor([[-9.0]]).double())
