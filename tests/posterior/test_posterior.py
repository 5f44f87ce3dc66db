"""Posteriors against their closed forms: reweighting, free energy, derivatives, the dial and its ends."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor

from isotherm import HalfSquaredEuclidean, PointCloud, solve
from isotherm.posterior import (
    EffectiveSizeWarning,
    GaussianReference,
    Langevin,
    LinearForward,
    Posterior,
    SampleReference,
)
from isotherm.testing import LinearGaussianPosterior, optimal_critic

LAM, GAMMA, BETA = 1.3, 0.8, 1.5
RANDOM = torch.Generator().manual_seed(0)
W = torch.randn(3, 2, generator=RANDOM, dtype=torch.float64)
B = torch.tensor([0.2, -0.1, 0.4], dtype=torch.float64)
X = torch.randn(4, 3, generator=RANDOM, dtype=torch.float64)
SLOPE = torch.tensor([0.3, -0.2], dtype=torch.float64)
CURVATURE = torch.tensor([[0.6, 0.1], [0.1, 0.4]], dtype=torch.float64)
ENCODER = torch.randn(2, 3, generator=RANDOM, dtype=torch.float64) * 0.3


def critic(z: Tensor) -> Tensor:
    """A quadratic one, concave."""
    return 0.7 + z @ SLOPE - 0.5 * ((z @ CURVATURE) * z).sum(-1)


def encode(x: Tensor) -> Tensor:
    return x @ ENCODER.T


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(*, around: str, has_critic: bool = True, gamma: float = GAMMA) -> tuple[Posterior, LinearGaussianPosterior]:
    """A posterior and its closed form; candidates around nothing, or around what an encoder says."""
    centre = torch.zeros(2).double() if around == "prior" else encode
    posterior = Posterior(
        LinearForward(W, B), GaussianReference(centre, BETA), critic if has_critic else None, lam=LAM, gamma=gamma
    )
    known = LinearGaussianPosterior(
        matrix=W,
        offset=B,
        lam=LAM,
        gamma=gamma,
        beta=BETA,
        centre=None if around == "prior" else encode(X),
        slope=SLOPE if has_critic else None,
        curvature=CURVATURE if has_critic else None,
        level=0.7 if has_critic else 0.0,
    )
    return posterior, known


@pytest.mark.parametrize("around", ["prior", "encoder"])
@pytest.mark.parametrize("proposal", ["reference", "conditioned"])
def test_reweighting_finds_mean_spread_and_free_energy(around, proposal):
    posterior, known = made(around=around)
    found = posterior.reweight(X, 200_000, proposal=proposal, generator=seeded())
    torch.testing.assert_close(found.mean, known.mean(X), atol=0.02, rtol=0.0)
    torch.testing.assert_close(found.covariance, known.covariance.expand(4, 2, 2), atol=0.01, rtol=0.0)
    torch.testing.assert_close(found.spread, known.covariance.trace().expand(4), atol=0.01, rtol=0.0)
    torch.testing.assert_close(found.free_energy, known.free_energy(X), atol=0.02, rtol=0.0)
    torch.testing.assert_close(found.weights.sum(1), torch.ones(4).double())
    if proposal == "reference":
        share = found.effective_size / 200_000
        torch.testing.assert_close(share, known.effective_share(X), rtol=0.05, atol=0.0)


def test_the_error_of_the_mean_falls_like_the_root_of_the_candidates():
    posterior, known = made(around="prior")
    errors = []
    for count in (400, 40_000):
        means = torch.stack(
            [posterior.reweight(X, count, proposal="reference", generator=seeded(k)).mean for k in range(20)]
        )
        errors.append(float((means - known.mean(X)).square().mean().sqrt()))
    assert 6.0 < errors[0] / errors[1] < 16.0  # ten, in the limit


def test_conditioning_leaves_only_the_critic_to_weigh():
    posterior, known = made(around="encoder", has_critic=False)
    found = posterior.reweight(X, 50, generator=seeded())
    torch.testing.assert_close(found.weights, torch.full((4, 50), 0.02).double())
    torch.testing.assert_close(found.free_energy, known.free_energy(X))
    sharp = posterior.at(1e-4)  # candidates of the reference would all miss
    torch.testing.assert_close(sharp.reweight(X, 50).effective_size, torch.full((4,), 50.0).double())
    with pytest.warns(EffectiveSizeWarning, match="4 of 4 observations have fewer than 5 effective"):
        sharp.reweight(X, 50, proposal="reference", generator=seeded())


def test_a_forward_model_that_is_not_known_to_be_linear_gives_the_same():
    posterior, _ = made(around="prior")
    opaque = Posterior(lambda z: z @ W.T + B, posterior.reference, critic, lam=LAM, gamma=GAMMA)
    one = posterior.reweight(X, 500, proposal="reference", generator=seeded())
    two = opaque.reweight(X, 500, generator=seeded())
    torch.testing.assert_close(one.weights, two.weights)
    with pytest.raises(ValueError, match="LinearForward"):
        opaque.reweight(X, 500, proposal="conditioned")


def test_observations_of_any_shape():
    def image(z: Tensor) -> Tensor:
        return (z @ W.T).reshape(-1, 1, 3)

    posterior = Posterior(image, GaussianReference(torch.zeros(2).double()), lam=LAM, gamma=GAMMA)
    flat = Posterior(lambda z: z @ W.T, posterior.reference, lam=LAM, gamma=GAMMA)
    one = posterior.reweight(X.reshape(4, 1, 3), 300, generator=seeded())
    torch.testing.assert_close(one.weights, flat.reweight(X, 300, generator=seeded()).weights)
    around = Posterior(image, GaussianReference(lambda x: x.flatten(1)[:, :2]), lam=LAM, gamma=GAMMA)
    assert around.reweight(X.reshape(4, 1, 3), 30, generator=seeded(), least_effective=0.0).z.shape == (4, 30, 2)


# Derivatives of the free energy ------------------------------------------------------------------------


@pytest.mark.parametrize("proposal", ["reference", "conditioned"])
def test_derivatives_are_means_under_the_posterior(proposal):
    weight, level = W.clone().requires_grad_(), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    slope, x = SLOPE.clone().requires_grad_(), X.clone().requires_grad_()
    posterior = Posterior(
        LinearForward(weight, B),
        GaussianReference(torch.zeros(2).double(), BETA),
        lambda z: level + z @ slope,
        lam=LAM,
        gamma=GAMMA,
    )
    free = posterior.free_energy(x, 200_000, proposal=proposal, generator=seeded())
    by_x, by_weight, by_slope, by_level = torch.autograd.grad(free.sum(), (x, weight, slope, level))
    known = LinearGaussianPosterior(matrix=W, offset=B, lam=LAM, gamma=GAMMA, beta=BETA, slope=SLOPE, level=0.3)
    mean = known.mean(X)
    second = known.covariance + mean[:, :, None] * mean[:, None]  # E[z z'], (n, K, K)
    torch.testing.assert_close(by_x, LAM * (X - mean @ W.T - B), atol=0.05, rtol=0.0)
    torch.testing.assert_close(by_slope, -mean.sum(0), atol=0.06, rtol=0.0)
    torch.testing.assert_close(by_level, torch.tensor(-4.0).double())
    wanted = LAM * ((W @ second).sum(0) - (X - B).T @ mean)
    torch.testing.assert_close(by_weight, wanted, atol=0.15, rtol=0.0)


def test_descending_the_free_energy_in_the_centre_is_regressing_on_the_barycentre():
    centre = torch.tensor([0.3, -0.4], dtype=torch.float64, requires_grad=True)
    posterior = Posterior(LinearForward(W, B), GaussianReference(centre, BETA), lam=LAM, gamma=GAMMA)
    (by_centre,) = torch.autograd.grad(posterior.free_energy(X).sum(), centre)
    barycentre = LinearGaussianPosterior(
        matrix=W, offset=B, lam=LAM, gamma=GAMMA, beta=BETA, centre=centre.detach()
    ).mean(X)
    torch.testing.assert_close(by_centre, (GAMMA * BETA * (centre.detach() - barycentre)).sum(0))


def test_the_derivative_is_that_of_the_estimate_itself():
    def value(x: Tensor) -> Tensor:
        return made(around="encoder")[0].free_energy(x, 7, proposal="reference", generator=seeded())

    torch.autograd.gradcheck(value, X.clone().requires_grad_())


def test_a_constant_in_the_critic_moves_the_free_energy_alone():
    posterior, _ = made(around="prior")
    moved = Posterior(posterior.forward, posterior.reference, lambda z: critic(z) + 5.0, lam=LAM, gamma=GAMMA)
    one, two = (p.reweight(X, 300, generator=seeded()) for p in (posterior, moved))
    torch.testing.assert_close(one.weights, two.weights)
    torch.testing.assert_close(one.free_energy - 5.0, two.free_energy)


def test_the_estimate_is_too_high_by_what_is_said():
    posterior, known = made(around="prior")
    count, repeats = 40, 2000
    free = torch.stack(
        [posterior.free_energy(X, count, proposal="reference", generator=seeded(k)) for k in range(repeats)]
    )
    variance = 1.0 / known.effective_share(X) - 1.0
    bias = GAMMA * variance / (2.0 * count)
    noise = free.std(0) / repeats**0.5
    assert ((free.mean(0) - known.free_energy(X) - bias).abs() < 4.0 * noise + 0.15 * bias).all()
    assert (bias > 4.0 * noise).any()  # else this test could not fail


# The dial ------------------------------------------------------------------------------------------------


def test_the_dial_at_a_fixed_critic():
    posterior, _ = made(around="encoder")
    gammas = [0.05, 0.2, 1.0, 5.0, 100.0]
    spreads = torch.stack([posterior.at(g).reweight(X, 40_000, generator=seeded()).spread for g in gammas])
    assert (spreads.diff(dim=0) > 0).all()
    hot = posterior.at(1e7).reweight(X, 100_000, generator=seeded())
    torch.testing.assert_close(hot.mean, encode(X), atol=0.02, rtol=0.0)
    torch.testing.assert_close(hot.effective_size, torch.full((4,), 1e5).double(), rtol=1e-4, atol=0.0)
    cold = made(around="encoder", has_critic=False, gamma=1e-8)[0].reweight(X, 2000, generator=seeded())
    wanted = torch.linalg.solve(W.T @ W, W.T @ (X - B).T).T
    torch.testing.assert_close(cold.mean, wanted, atol=1e-4, rtol=0.0)
    assert (cold.spread < 1e-6).all()


def test_the_dial_at_the_optimal_critic():
    root = torch.randn(3, 3, generator=seeded(3), dtype=torch.float64)
    data = root @ root.T
    x = torch.randn(3000, 3, generator=seeded(4), dtype=torch.float64) @ root.T
    found = []
    for gamma in (1.0, 2.0, 6.0, 30.0):
        curvature, sigma = optimal_critic(W, data, lam=LAM, gamma=gamma)
        known = LinearGaussianPosterior(matrix=W, lam=LAM, gamma=gamma, curvature=curvature)

        def best(z: Tensor, curvature: Tensor = curvature) -> Tensor:
            return -0.5 * ((z @ curvature) * z).sum(-1)

        posterior = Posterior(lambda z: z @ W.T, GaussianReference(torch.zeros(2).double()), best, lam=LAM, gamma=gamma)
        with warnings.catch_warnings():  # of single, far observations
            warnings.simplefilter("ignore", EffectiveSizeWarning)
            weighed = posterior.reweight(x, 4000, generator=seeded())
        found.append(weighed.mutual_information())
        assert found[-1] == pytest.approx(-0.5 * float(torch.logdet(sigma)), rel=0.08)
        assert known.mutual_information(data) == pytest.approx(-0.5 * float(torch.logdet(sigma)))
        aggregated = weighed.mean.T @ weighed.mean / len(x) + weighed.covariance.mean(0)
        torch.testing.assert_close(aggregated, torch.eye(2).double(), atol=0.12, rtol=0.0)
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.05


def test_the_map_is_the_cold_end():
    posterior, _ = made(around="encoder")
    mode = posterior.map(X, generator=seeded())
    wanted = torch.linalg.solve(LAM * W.T @ W + CURVATURE, LAM * W.T @ (X - B).T + SLOPE[:, None]).T
    assert mode.is_converged
    torch.testing.assert_close(mode.z, wanted, atol=1e-6, rtol=0.0)
    torch.testing.assert_close(mode.utility, posterior.utility(wanted, X))
    started = posterior.map(X, start=torch.zeros(4, 2).double(), max_iterations=1)
    assert not started.is_converged


# Given causes: rows of a plan ----------------------------------------------------------------------------


def test_given_causes_are_the_rows_of_an_entropic_plan():
    x, z = torch.randn(30, 3, generator=seeded(5)).double(), torch.randn(40, 2, generator=seeded(6)).double()
    b = torch.rand(40, generator=seeded(7)).double() + 0.1
    b[3] = 0.0
    b = b / b.sum()
    solution = solve(PointCloud(x, z @ W.T, cost=HalfSquaredEuclidean()), b=b, epsilon=0.5, tolerance=1e-10)
    f, g = solution.potentials
    reference = SampleReference(z, b)
    posterior = Posterior(lambda z: z @ W.T, reference, torch.where(b > 0, g, 0.0), lam=1.0, gamma=0.5)
    found = posterior.reweight(x, least_effective=0.0)
    torch.testing.assert_close(found.weights, solution.coupling.conditional(range(30)).probabilities, atol=1e-9, rtol=0)
    torch.testing.assert_close(found.free_energy, f, atol=1e-9, rtol=0.0)
    torch.testing.assert_close(found.mean, solution.coupling.conditional(range(30)).mean(z), atol=1e-8, rtol=0.0)
    torch.testing.assert_close(posterior.free_energy(x), f, atol=1e-9, rtol=0.0)
    drawn = found.sample(5, generator=seeded())
    assert drawn.shape == (30, 5, 2)
    assert not (drawn == z[3]).all(-1).any()


def test_the_map_among_given_causes_is_the_best_of_them():
    z = torch.randn(50, 2, generator=seeded(6)).double()
    weights, values = torch.ones(50).double(), torch.randn(50, generator=seeded(7)).double()
    weights[:5], values[:5] = 0.0, 100.0
    mode = Posterior(LinearForward(W, B), SampleReference(z, weights), values, lam=LAM).map(X)
    utilities = values - 0.5 * LAM * (X[:, None] - z @ W.T - B).square().sum(-1)
    torch.testing.assert_close(mode.utility, utilities[:, 5:].max(1).values)
    torch.testing.assert_close(mode.z, z[5:][utilities[:, 5:].argmax(1)])


def test_draws_follow_the_weights():
    posterior, known = made(around="encoder")
    drawn = posterior.reweight(X, 20_000, generator=seeded()).sample(20_000, generator=seeded(1))
    torch.testing.assert_close(drawn.mean(1), known.mean(X), atol=0.03, rtol=0.0)
    for k in range(4):
        torch.testing.assert_close(drawn[k].T.cov(), known.covariance, atol=0.02, rtol=0.0)


def test_mutual_information_needs_shared_candidates():
    with pytest.raises(ValueError, match="same candidates"):
        made(around="encoder")[0].reweight(X, 20).mutual_information()


# Wrong input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda p: p.reweight(X[0]), ValueError, r"shape \(n, ...\)"),
        (lambda p: p.reweight(X.numpy()), TypeError, "must be a tensor"),
        (lambda p: p.reweight(X * float("nan")), ValueError, "`x` must be finite"),
        (lambda p: p.reweight(X, 0), ValueError, "`count` must be at least 1"),
        (lambda p: p.reweight(X, proposal="prior"), ValueError, "`proposal` must be one of"),
        (lambda p: p.at(0.0), ValueError, "`gamma` must be positive"),
        (lambda p: Posterior(p.forward, p.reference, lam=-1.0), ValueError, "`lam` must be positive"),
        (lambda p: Posterior(p.forward, p.reference, torch.zeros(3)), ValueError, "must be a function"),
        (lambda p: Posterior(p.forward, SampleReference(X), torch.zeros(3)), ValueError, "one value per point"),
        (lambda p: Posterior(p.forward, SampleReference(X[:, :2]), X[:, 0]).utility(X, X), TypeError, "as a function"),
        (lambda p: Posterior(p.forward, SampleReference(X)).langevin(X, Langevin(step=0.1)), TypeError, "density"),
        (lambda p: Posterior(p.forward, SampleReference(X[:, :2])).reweight(X, 3), ValueError, "must be left out"),
        (lambda p: GaussianReference(X), ValueError, "`centre` must have shape"),
        (lambda p: GaussianReference(X[0], 0.0), ValueError, "`precision` must be positive"),
        (lambda p: SampleReference(X[0]), ValueError, "`points` must have shape"),
        (lambda p: SampleReference(X, torch.ones(3)), ValueError, "one weight per point"),
        (lambda p: LinearForward(X[0]), ValueError, "`matrix` must have shape"),
        (lambda p: LinearForward(X, torch.zeros(3)), ValueError, "`offset` must have shape"),
    ],
)
def test_wrong_input_gets_one_clear_error(call, kind, text):
    with pytest.raises(kind, match=text):
        call(made(around="prior")[0])


def test_utilities_that_are_no_numbers_are_an_error():
    posterior = Posterior(lambda z: z @ W.T * float("nan"), GaussianReference(torch.zeros(2).double()))
    with pytest.raises(FloatingPointError, match="Utilities must be finite"):
        posterior.reweight(X, 10)
