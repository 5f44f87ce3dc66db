"""The Gaussian closed form against quadrature, the optimality conditions, the published formula, its limits."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy.linalg import sqrtm

from isotherm.testing import COSTS, GaussianTransport, gaussian_sinkhorn_divergence, gaussian_wasserstein


def random_moments(d: int, seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(2, d, generator=generator, dtype=torch.float64)
    roots = torch.randn(2, d, d, generator=generator, dtype=torch.float64)
    covariances = roots @ roots.mT + 0.1 * torch.eye(d, dtype=torch.float64)
    return means[0], covariances[0], means[1], covariances[1]


def diagonal(*variances: float) -> torch.Tensor:
    return torch.diag(torch.tensor(variances, dtype=torch.float64))


def grid(mean: torch.Tensor, covariance: torch.Tensor, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Trapezoid rule for a Gaussian up to 7 deviations: points (n^D, D) and weights (n^D,)."""
    axes = [
        m + s * torch.linspace(-7, 7, n, dtype=torch.float64)
        for m, s in zip(mean, covariance.diagonal().sqrt(), strict=True)
    ]
    points = torch.cartesian_prod(*axes).reshape(-1, len(mean))
    law = torch.distributions.MultivariateNormal(mean, covariance)
    weights = law.log_prob(points).exp()
    return points, weights / weights.sum()


def mean_of_quadratic(function, mean: torch.Tensor, covariance: torch.Tensor) -> float:
    """Expectation under a Gaussian, exact for quadratics: the spherical cubature rule of degree three."""
    steps = math.sqrt(len(mean)) * torch.linalg.cholesky(covariance).T
    return float(function(torch.cat([mean + steps, mean - steps])).mean())


@pytest.mark.parametrize(("d", "n", "epsilon"), [(1, 160, 0.2), (1, 80, 1.0), (1, 80, 5.0), (2, 30, 1.0), (2, 30, 5.0)])
def test_gaussian_agrees_with_quadrature(sinkhorn, d, n, epsilon):
    one = torch.eye(d, dtype=torch.float64)
    covariance_x, covariance_y = 0.8 * one, 1.3 * one
    if d == 2:
        covariance_x[0, 1] = covariance_x[1, 0] = 0.3
        covariance_y[0, 1] = covariance_y[1, 0] = -0.4
    mean_x, mean_y = (torch.full((d,), value, dtype=torch.float64) for value in (0.3, -0.5))
    transport = GaussianTransport(mean_x, covariance_x, mean_y, covariance_y, epsilon)
    (x, a), (y, b) = grid(mean_x, covariance_x, n), grid(mean_y, covariance_y, n)
    numeric = sinkhorn(COSTS["sqeuclidean"](x, y), a, b, epsilon)
    assert transport.value == pytest.approx(numeric.value, abs=1e-8)
    assert transport.transport_cost == pytest.approx(numeric.transport_cost, abs=1e-8)
    inner = ((x - mean_x).abs() < 3 * covariance_x.diagonal().sqrt()).all(1)  # beyond, the grid is cut off
    torch.testing.assert_close(transport.f(x)[inner], numeric.f[inner], rtol=0, atol=1e-7)
    barycentric = numeric.plan @ y / a[:, None]
    torch.testing.assert_close(transport.map(x)[inner], barycentric[inner], rtol=0, atol=1e-7)
    inner = ((y - mean_y).abs() < 3 * covariance_y.diagonal().sqrt()).all(1)
    torch.testing.assert_close(transport.g(y)[inner], numeric.g[inner], rtol=0, atol=1e-7)
    back = numeric.plan.T @ x / b[:, None]
    torch.testing.assert_close(transport.map_back(y)[inner], back[inner], rtol=0, atol=1e-7)


def test_gaussian_bridge_agrees_with_quadrature(sinkhorn):
    moments = [torch.tensor(v, dtype=torch.float64) for v in ([0.2], [[0.7]], [-1.0], [[1.5]])]
    epsilon, t = 1.2, 0.3
    (x, a), (y, b) = grid(moments[0], moments[1], 120), grid(moments[2], moments[3], 120)
    plan = sinkhorn(COSTS["sqeuclidean"](x, y), a, b, epsilon).plan
    place = (1 - t) * x + t * y.T  # (N, M), mean of the Brownian bridge that joins each pair
    mean, covariance = GaussianTransport(*moments, epsilon).bridge(t)
    average = float((plan * place).sum())
    assert float(mean) == pytest.approx(average, abs=1e-9)
    spread = float((plan * (place - average) ** 2).sum()) + epsilon / 2 * t * (1 - t)
    assert float(covariance) == pytest.approx(spread, abs=1e-8)


@pytest.mark.parametrize("d", [1, 3, 6])
@pytest.mark.parametrize("epsilon", [0.05, 1.0, 30.0])
def test_gaussian_meets_the_optimality_conditions(d, epsilon):
    moments = random_moments(d, seed=d)
    mean_x, covariance_x, mean_y, covariance_y = moments
    transport = GaussianTransport(*moments, epsilon)
    mean, covariance = transport.plan()
    # Marginals.
    torch.testing.assert_close(mean, torch.cat([mean_x, mean_y]))
    torch.testing.assert_close(covariance[:d, :d], covariance_x)
    torch.testing.assert_close(covariance[d:, d:], covariance_y)
    # Gibbs form: the density against the product of the marginals is exp((f + g - C) / eps).
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(20, d, generator=generator, dtype=torch.float64) for _ in range(2))
    law = torch.distributions.MultivariateNormal
    log_ratio = law(mean, covariance).log_prob(torch.cat([x, y], 1))
    log_ratio = log_ratio - law(mean_x, covariance_x).log_prob(x) - law(mean_y, covariance_y).log_prob(y)
    exponent = transport.f(x) + transport.g(y) - (x - y).square().sum(1)
    torch.testing.assert_close(exponent, epsilon * log_ratio, rtol=1e-8, atol=1e-8)
    # Gauge, and the value from both sides of duality.
    assert mean_of_quadratic(transport.g, mean_y, covariance_y) == pytest.approx(0, abs=1e-9)
    assert mean_of_quadratic(transport.f, mean_x, covariance_x) == pytest.approx(transport.value, rel=1e-10)
    cross = covariance[:d, d:]
    cost = float((mean_x - mean_y).square().sum() + (covariance_x + covariance_y - 2 * cross).trace())
    information = covariance_x.logdet() + covariance_y.logdet() - covariance.logdet()
    assert transport.transport_cost == pytest.approx(cost, rel=1e-10)
    assert transport.value == pytest.approx(cost + epsilon / 2 * float(information), rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.1, 2.0])
def test_gaussian_value_is_the_published_formula(epsilon):
    mean_x, covariance_x, mean_y, covariance_y = random_moments(4, seed=7)
    s, one = epsilon / 2, torch.eye(4, dtype=torch.float64)  # sigma^2 of the paper
    root = torch.from_numpy(sqrtm(covariance_x.numpy()).real)
    inner = torch.from_numpy(sqrtm((4 * root @ covariance_y @ root + s**2 * one).numpy()).real)
    bures = (covariance_x + covariance_y - inner).trace() + 4 * s * (1 - math.log(2 * s))
    published = (mean_x - mean_y).square().sum() + bures + s * torch.logdet(inner + s * one)
    transport = GaussianTransport(mean_x, covariance_x, mean_y, covariance_y, epsilon)
    assert transport.value == pytest.approx(float(published), rel=1e-11)
    slope = torch.linalg.solve(covariance_x, root @ (inner - s * one) / 2 @ torch.linalg.inv(root))
    torch.testing.assert_close(transport.map(one + mean_x) - mean_y, slope, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("epsilon", [0.3, 3.0])
def test_gaussian_value_has_the_derivatives_of_its_potential(epsilon):
    mean_x, covariance_x, mean_y, covariance_y = random_moments(3, seed=2)
    transport, h = GaussianTransport(mean_x, covariance_x, mean_y, covariance_y, epsilon), 1e-5
    one = torch.eye(3, dtype=torch.float64)

    def value(mean: torch.Tensor, covariance: torch.Tensor) -> float:
        return GaussianTransport(mean, covariance, mean_y, covariance_y, epsilon).value

    bump = torch.tensor([[0.5, 0.2, 0.0], [0.2, -0.3, 0.1], [0.0, 0.1, 0.4]], dtype=torch.float64)
    slope = transport.map(one + mean_x) - mean_y
    found = (value(mean_x, covariance_x + h * bump) - value(mean_x, covariance_x - h * bump)) / (2 * h)
    assert found == pytest.approx(float(((one - slope) * bump).sum()), abs=1e-8)  # E[Hessian of f] / 2
    step = h * one[0]
    found = (value(mean_x + step, covariance_x) - value(mean_x - step, covariance_x)) / (2 * h)
    assert found == pytest.approx(2 * float(mean_x[0] - mean_y[0]), abs=1e-8)


def test_conditional_covariance_is_the_schur_complement():
    moments, epsilon = random_moments(3, seed=4), 0.7
    transport = GaussianTransport(*moments, epsilon)
    _, covariance = transport.plan()
    cross = covariance[:3, 3:]
    schur = moments[3] - cross.T @ torch.linalg.solve(moments[1], cross)
    torch.testing.assert_close(transport.conditional_covariance(), schur, rtol=1e-9, atol=1e-10)
    hot = GaussianTransport(*moments, math.inf)
    torch.testing.assert_close(hot.conditional_covariance(), moments[3])


def test_gaussian_cold_limit_is_exact_transport():
    mean_x, covariance_x, mean_y, covariance_y = moments = random_moments(4, seed=5)
    root = torch.from_numpy(sqrtm(covariance_x.numpy()).real)
    inner = torch.from_numpy(sqrtm((root @ covariance_y @ root).numpy()).real)
    exact = (mean_x - mean_y).square().sum() + (covariance_x + covariance_y - 2 * inner).trace()
    assert gaussian_wasserstein(*moments) == pytest.approx(float(exact), rel=1e-10)
    cold = GaussianTransport(*moments, 0.0)
    slope = cold.map(mean_x + torch.eye(4, dtype=torch.float64)) - mean_y
    torch.testing.assert_close(slope @ covariance_x @ slope, covariance_y, rtol=1e-9, atol=1e-9)
    assert cold.transport_cost == cold.value
    near = [GaussianTransport(*moments, epsilon) for epsilon in (1e-3, 1e-6)]
    assert abs(near[0].transport_cost - cold.value) < 1e-2
    assert abs(near[1].transport_cost - cold.value) < 1e-5
    torch.testing.assert_close(near[1].plan()[1], cold.plan()[1], rtol=0, atol=1e-5)


def test_gaussian_hot_limit_is_independence():
    mean_x, covariance_x, mean_y, covariance_y = moments = random_moments(3, seed=6)
    hot, warm = GaussianTransport(*moments, math.inf), GaussianTransport(*moments, 1e9)
    product = float((mean_x - mean_y).square().sum() + (covariance_x + covariance_y).trace())
    assert hot.value == hot.transport_cost == pytest.approx(product, rel=1e-14)
    assert float(hot.plan()[1][:3, 3:].abs().max()) == 0
    x = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(hot.map(x), mean_y.expand(3, 3))
    # value = product - 2 tr(A B) / eps + ..., which rounding of the logarithm would hide.
    assert warm.value == pytest.approx(product - 2 * float((covariance_x @ covariance_y).trace()) / 1e9, rel=1e-13)
    torch.testing.assert_close(warm.f(x), hot.f(x), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 4.0])
def test_singular_covariances_are_limits_of_regular_ones(epsilon):
    mean_x, mean_y = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    turn, _ = torch.linalg.qr(random_moments(3, seed=8)[1])
    covariance_x, covariance_y = diagonal(1.0, 2.0, 0.0), turn @ diagonal(0.5, 0.0, 0.0) @ turn.T
    singular = GaussianTransport(mean_x, covariance_x, mean_y, covariance_y, epsilon)
    blur = 1e-12 * torch.eye(3, dtype=torch.float64)
    regular = GaussianTransport(mean_x, covariance_x + blur, mean_y, covariance_y + blur, epsilon)
    assert singular.value == pytest.approx(regular.value, abs=1e-5)
    torch.testing.assert_close(singular.plan()[1], regular.plan()[1], rtol=0, atol=1e-5)
    assert singular.plan()[1].isfinite().all()
    assert singular.map(turn).isfinite().all()
    if epsilon > 0:
        torch.testing.assert_close(singular.map(turn), regular.map(turn), rtol=0, atol=1e-5)
        torch.testing.assert_close(singular.f(turn), regular.f(turn), rtol=0, atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.0, 1.0, math.inf])
def test_dirac_to_gaussian_is_the_product(epsilon):
    mean_x, _, mean_y, covariance_y = random_moments(3, seed=9)
    transport = GaussianTransport(mean_x, torch.zeros(3, 3).double(), mean_y, covariance_y, epsilon)
    expected = float((mean_x - mean_y).square().sum() + covariance_y.trace())
    assert transport.value == pytest.approx(expected, rel=1e-14)
    torch.testing.assert_close(transport.map_back(mean_y[None]), mean_x[None])


def test_sinkhorn_divergence_is_its_definition_and_has_its_limits():
    source, target = random_moments(3, seed=10)[:2], random_moments(3, seed=10)[2:]
    epsilon = 0.8

    def value(one: tuple, other: tuple) -> float:
        return GaussianTransport(*one, *other, epsilon).value

    expected = value(source, target) - value(source, source) / 2 - value(target, target) / 2
    found = gaussian_sinkhorn_divergence(*source, *target, epsilon=epsilon)
    assert found == pytest.approx(expected, rel=1e-12)
    assert gaussian_sinkhorn_divergence(*source, *source, epsilon=epsilon) == pytest.approx(0, abs=1e-14)
    cold = gaussian_sinkhorn_divergence(*source, *target, epsilon=0.0)
    assert cold == pytest.approx(gaussian_wasserstein(*source, *target), rel=1e-12)
    hot = gaussian_sinkhorn_divergence(*source, *target, epsilon=math.inf)
    assert hot == pytest.approx(float((source[0] - target[0]).square().sum()), rel=1e-14)
    assert hot < found < cold


def test_half_the_cost_is_half_the_value_at_twice_the_temperature(sinkhorn):
    moments = [torch.tensor(v, dtype=torch.float64) for v in ([0.0], [[1.0]], [0.5], [[0.6]])]
    (x, a), (y, b) = grid(moments[0], moments[1], 100), grid(moments[2], moments[3], 100)
    numeric = sinkhorn(COSTS["half_sqeuclidean"](x, y), a, b, 0.5)
    assert GaussianTransport(*moments, 1.0).value / 2 == pytest.approx(numeric.value, abs=1e-9)


def test_gaussian_refuses_negative_temperature():
    with pytest.raises(ValueError, match="at least 0"):
        GaussianTransport(*random_moments(2, seed=0), -1.0)


def test_quadrature_notices_a_wrong_temperature(sinkhorn):
    one = SimpleNamespace(mean=torch.zeros(1, dtype=torch.float64), covariance=diagonal(1.0))
    x, a = grid(one.mean, one.covariance, 60)
    numeric = sinkhorn(COSTS["sqeuclidean"](x, x), a, a, 1.0)
    wrong = GaussianTransport(one.mean, one.covariance, one.mean, one.covariance, 1.0 + 1e-5)
    assert abs(wrong.value - numeric.value) > 1e-6
    assert mean_of_quadratic(lambda points: points[:, 0] ** 2, one.mean, diagonal(2.0)) == pytest.approx(2.0)
