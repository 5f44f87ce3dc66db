"""Barycenters of Gaussians against formulas, and what must hold for any measures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from isotherm import ConvergenceWarning, FreeSupport, Grid, Outcome, PointCloud, barycenter
from isotherm.barycenters.measures import on_points

AXIS = torch.linspace(-8.0, 8.0, 161, dtype=torch.float64)


def gaussian(axis: Tensor, mean: float, variance: float) -> Tensor:
    density = torch.exp(-((axis - mean) ** 2) / (2 * variance))
    return density / density.sum()


def moments(axis: Tensor, mass: Tensor) -> tuple[float, float]:
    mean = float(mass @ axis / mass.sum())
    return mean, float(mass @ (axis - mean) ** 2 / mass.sum())


def variance_of_barycenter(variances: list[float], shares: list[float], epsilon: float, *, debiased: bool) -> float:
    """Variance s of the barycenter of centred Gaussians on a line, cost |x - y|^2, by bisection; t = epsilon / 2.

    The coupling of N(0, s) and N(0, v) has precision [[1/t + 2A, -1/t], [-1/t, 1/t + 2B]], hence covariance
    c = (sqrt(t^2 + 4 s v) - t) / 2 and source potential -epsilon A x^2 with 2 A t = v / c - 1 (reference: Lebesgue).
    The shares' mean of A is 0, or that of the coupling of N(0, s) with itself:

        plain      sum_k w_k (t + sqrt(t^2 + 4 s v_k)) / 2 = s
        debiased   sum_k w_k sqrt(t^2 + 4 s v_k) = sqrt(t^2 + 4 s^2)
    """
    t = epsilon / 2

    def excess(s: float) -> float:
        roots = sum(w * math.sqrt(t**2 + 4 * s * v) for w, v in zip(shares, variances, strict=True))
        return roots - (math.sqrt(t**2 + 4 * s**2) if debiased else 2 * s - t)

    low, high = 1e-9, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return low


def test_formula_for_one_gaussian_adds_half_epsilon_or_nothing():
    assert variance_of_barycenter([1.3], [1.0], 0.8, debiased=False) == pytest.approx(1.7)
    assert variance_of_barycenter([1.3], [1.0], 0.8, debiased=True) == pytest.approx(1.3)
    by_deviations = (0.3 * math.sqrt(0.5) + 0.7 * math.sqrt(2.0)) ** 2  # exact transport: deviations are averaged
    assert variance_of_barycenter([0.5, 2.0], [0.3, 0.7], 1e-6, debiased=True) == pytest.approx(by_deviations, rel=1e-4)


# ---------------------------------------------------------------------------------------------------- fixed support


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize(
    ("means", "variances", "shares"),
    [
        ((0.5,), (0.9,), (1.0,)),
        ((-1.0, 1.5), (0.8, 0.8), (0.5, 0.5)),
        ((-1.0, 0.5, 1.0), (0.4, 0.9, 1.6), (0.2, 0.5, 0.3)),
    ],
)
@pytest.mark.parametrize("kind", ["grid", "points"])
def test_barycenter_of_gaussians_on_a_line_is_the_formula(kind, means, variances, shares, debiased, epsilon):
    images = [gaussian(AXIS, m, v) for m, v in zip(means, variances, strict=True)]
    measures = images if kind == "grid" else [(AXIS[:, None], image) for image in images]
    support = Grid((AXIS,)) if kind == "grid" else AXIS[:, None]
    found = barycenter(measures, shares, epsilon=epsilon, support=support, debiased=debiased, tolerance=1e-8)
    assert found.status.is_converged
    mean, variance = moments(AXIS, found.weights)
    assert mean == pytest.approx(sum(w * m for w, m in zip(shares, means, strict=True)), abs=1e-6)
    expected = variance_of_barycenter(list(variances), list(shares), epsilon, debiased=debiased)
    assert variance == pytest.approx(expected, rel=1e-6)
    torch.testing.assert_close(found.weights, gaussian(AXIS, mean, expected), rtol=0, atol=1e-6)


def test_barycenter_of_upright_gaussians_in_the_plane_is_that_of_each_axis():
    axes = (torch.linspace(-6.0, 6.0, 41).double(), torch.linspace(-7.0, 7.0, 47).double())
    variances, shares = ((0.7, 1.5), (1.6, 0.6)), (0.35, 0.65)
    images = [torch.outer(gaussian(axes[0], 0.4, v), gaussian(axes[1], -0.3, w)) for v, w in variances]
    found = barycenter(images, shares, epsilon=0.6, support=Grid(axes), tolerance=1e-6)
    assert found.weights.shape == (41, 47)
    for d in range(2):
        expected = variance_of_barycenter([pair[d] for pair in variances], list(shares), 0.6, debiased=True)
        mean, variance = moments(axes[d], found.weights.sum(1 - d))
        assert variance == pytest.approx(expected, rel=1e-4)
        assert mean == pytest.approx((0.4, -0.3)[d], abs=1e-5)


def root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp(min=0.0).sqrt() @ vectors.T


def bures(covariances: list[Tensor], shares: list[float]) -> Tensor:
    """Covariance of the exact barycenter, by the fixed point S = sum_k w_k (S^1/2 A_k S^1/2)^1/2."""
    s = covariances[0]
    for _ in range(200):
        half = root(s)
        inverse = torch.linalg.inv(half)
        mean = sum((w * root(half @ a @ half) for w, a in zip(shares, covariances, strict=True)), torch.zeros_like(s))
        s = inverse @ mean @ mean @ inverse
    return s


def test_barycenter_of_tilted_gaussians_tends_to_the_exact_one():
    axis = torch.linspace(-4.5, 4.5, 31, dtype=torch.float64)
    nodes = Grid((axis, axis)).source_points
    covariances = [torch.tensor([[1.2, 0.7], [0.7, 0.8]]).double(), torch.tensor([[0.6, -0.3], [-0.3, 1.4]]).double()]
    images = []
    for covariance in covariances:
        density = torch.exp(-0.5 * (nodes @ torch.linalg.inv(covariance) * nodes).sum(1))
        images.append((density / density.sum()).reshape(31, 31))
    found = barycenter(images, [0.4, 0.6], epsilon=0.3, support=Grid((axis, axis)), tolerance=1e-4)
    covariance = nodes.T @ (found.mass[:, None] * nodes)
    torch.testing.assert_close(covariance, bures(covariances, [0.4, 0.6]), rtol=0, atol=0.02)
    plain = barycenter(images, [0.4, 0.6], epsilon=0.3, support=Grid((axis, axis)), tolerance=1e-4, debiased=False)
    blur = nodes.T @ (plain.mass[:, None] * nodes) - covariance
    torch.testing.assert_close(blur, 0.15 * torch.eye(2).double(), rtol=0, atol=0.02)  # epsilon / 2 on every axis


def spots(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Three images of unlike sizes with pixels of no mass."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(3, 7, 5, generator=generator, dtype=torch.float64)
    images[images < 0.4] = 0.0
    return [(image / image.sum()).to(dtype) for image in images]


GRID = Grid((torch.arange(7.0).double(), torch.arange(5.0).double()))


def test_debiased_barycenter_of_one_measure_is_that_measure():
    images = spots(0)
    for weights, expected in (([1, 0, 0], images[0]), ([0, 0, 2], images[2])):
        found = barycenter(images, weights, epsilon=0.3, support=GRID, tolerance=1e-5, max_iterations=20000)
        torch.testing.assert_close(found.weights, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("debiased", [False, True])
def test_barycenter_does_not_depend_on_the_order_of_measures(debiased):
    images, weights = spots(1), [0.2, 0.5, 0.3]
    settings = {"epsilon": 1.0, "support": GRID, "debiased": debiased, "tolerance": 1e-6, "max_iterations": 20000}
    one = barycenter(images, weights, **settings)
    two = barycenter([images[k] for k in (2, 0, 1)], [weights[k] for k in (2, 0, 1)], **settings)
    torch.testing.assert_close(one.weights, two.weights, rtol=0, atol=1e-10)


@pytest.mark.parametrize("debiased", [False, True])
def test_barycenter_of_mirror_images_is_its_own_mirror_image(debiased):
    image = spots(2)[0]
    found = barycenter(
        [image, image.flip(0)], epsilon=1.0, support=GRID, debiased=debiased, tolerance=1e-6, max_iterations=20000
    )
    torch.testing.assert_close(found.weights, found.weights.flip(0), rtol=0, atol=1e-8)


def test_barycenter_on_points_equals_that_on_the_grid_of_the_points():
    images = spots(3)
    nodes = GRID.source_points
    settings = {"epsilon": 1.0, "max_iterations": 30, "tolerance": 1e-12, "on_failure": "ignore"}  # step by step
    on_grid = barycenter(images, support=GRID, **settings)
    on_points = barycenter([(nodes, image.reshape(-1)) for image in images], support=nodes, **settings)
    torch.testing.assert_close(on_grid.mass, on_points.mass, rtol=0, atol=1e-9)
    assert torch.equal(on_points.points, nodes)


def test_barycenter_keeps_mass_library_and_dtype():
    images = [3.0 * image.numpy() for image in spots(4, torch.float32)]
    grid = Grid((np.arange(7, dtype=np.float32), np.arange(5, dtype=np.float32)))
    found = barycenter(images, epsilon=2.0, support=grid, tolerance=1e-4)
    assert isinstance(found.weights, np.ndarray)
    assert found.weights.dtype == np.float32
    assert found.weights.sum() == pytest.approx(3.0, rel=1e-5)
    assert found.status.is_converged
    assert found.iterations == len(found.history)
    assert found.history[-1].marginal_error <= found.tolerance
    assert found.error <= found.tolerance


def test_barycenter_couplings_have_the_marginals_it_reports():
    images = spots(5)
    seen = []
    found = barycenter(
        images, epsilon=1.0, support=GRID, tolerance=1e-6, debiased=False, callback=seen.append, max_iterations=9999
    )
    assert tuple(seen) == found.history
    geometry = PointCloud(GRID.source_points, GRID.source_points)
    cost = geometry.block(slice(None))
    potentials = []
    for image in images:  # the first-order condition: potentials of the Lebesgue form add up to a constant
        f, log_a, log_b = torch.zeros(35).double(), found.mass.log(), image.reshape(-1).log()
        for _ in range(4000):
            g = log_b - torch.logsumexp(f[:, None] - cost, 0)
            f = log_a - torch.logsumexp(g - cost, 1)
        potentials.append(f)
    spread = sum(potentials)
    assert float((found.mass * (spread - found.mass @ spread).abs()).sum()) < 1e-4


def test_barycenter_says_when_it_did_not_converge():
    with pytest.warns(ConvergenceWarning, match="tolerance 1.00e-09 after 2 iterations"):
        found = barycenter(spots(6), epsilon=0.5, support=GRID, tolerance=1e-9, max_iterations=2)
    assert found.status.outcome is Outcome.MAX_ITERATIONS
    assert "max_iterations" in repr(found)
    single = [image.float() for image in spots(6)]
    grid = Grid((torch.arange(7.0), torch.arange(5.0)))
    found = barycenter(single, epsilon=2.0, support=grid, tolerance=1e-12, debiased=False, on_failure="ignore")
    assert found.status.outcome is Outcome.PRECISION
    assert "float64" in found.status.advice
    assert found.error > 1e-12, "float32 cannot do better: an error of zero would be a lie"


# ------------------------------------------------------------------------------------------------- points that move


def quantiles(count: int, deviation: float, mean: float = 0.0) -> Tensor:
    levels = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return (mean + deviation * math.sqrt(2.0) * torch.erfinv(2 * levels - 1))[:, None]


def test_free_barycenter_on_a_line_averages_quantiles():
    one, two = quantiles(6, 1.0, -2.0), quantiles(6, 0.4, 3.0)
    start = FreeSupport(quantiles(6, 0.5))
    found = barycenter([one, two], [0.25, 0.75], epsilon=0.05, support=start, tolerance=1e-3)
    assert found.status.is_converged
    torch.testing.assert_close(found.points, 0.25 * one + 0.75 * two, rtol=0, atol=0.03)
    assert found.weights.tolist() == [pytest.approx(1 / 6)] * 6


def test_free_barycenter_of_a_gaussian_shrinks_by_half_epsilon_unless_debiased():
    epsilon = 0.5
    cloud = quantiles(40, 1.0)
    variance = float(cloud.square().mean())
    start = FreeSupport(quantiles(40, 0.9))
    plain = barycenter([cloud], epsilon=epsilon, support=start, debiased=False, tolerance=1e-3)
    assert float(plain.points.square().mean()) == pytest.approx(variance - epsilon / 2, abs=0.03)
    true = barycenter([cloud], epsilon=epsilon, support=start, tolerance=1e-3)
    assert float(true.points.square().mean()) == pytest.approx(variance, abs=0.01)


def test_free_barycenter_of_moved_copies_is_the_copy_in_the_middle():
    cloud = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shift = torch.tensor([3.0, -1.0]).double()
    measures = [(cloud.numpy(), np.full(20, 0.05)), ((cloud + shift).numpy(), np.full(20, 0.05))]
    found = barycenter(measures, epsilon=0.5, support=FreeSupport(cloud.numpy()), tolerance=1e-4)
    assert isinstance(found.points, np.ndarray)
    np.testing.assert_allclose(found.points, (cloud + shift / 2).numpy(), atol=0.02)


def test_free_barycenter_says_what_did_not_converge():
    cloud = quantiles(8, 1.0)
    with pytest.warns(ConvergenceWarning, match="after 1 steps"):
        found = barycenter([cloud], epsilon=0.5, support=FreeSupport(cloud * 0.5), tolerance=1e-9, max_iterations=1)
    assert not found.status.is_converged
    assert "FreeSupport(result.points)" in found.status.advice


# -------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"measures": []}, ValueError, "at least one measure"),
        ({"weights": [1.0]}, ValueError, r"shape \(3,\): got \(1,\)"),
        ({"weights": [1.0, -1.0, 1.0]}, ValueError, "non-negative"),
        ({"epsilon": 0.0}, ValueError, "positive for an entropic solver"),
        ({"tolerance": 0.0}, ValueError, "`tolerance` must be positive"),
        ({"cost": "euclidean"}, ValueError, "a grid has its own cost"),
        ({"on_failure": "raise"}, ValueError, "`on_failure`"),
        ({"measures": [torch.ones(35), torch.ones(35), 2 * torch.ones(35)]}, ValueError, "same mass"),
        ({"measures": [torch.ones(5, 7)]}, ValueError, r"one weight per point, shape \(35,\)"),
        (
            {"support": FreeSupport(torch.zeros(2, 3).double()), "measures": [torch.zeros(2, 2).double()]},
            ValueError,
            "got 3",
        ),
    ],
)
def test_barycenter_refuses_bad_input(change, error, match):
    given = {"measures": spots(7), "weights": None, "epsilon": 1.0, "support": GRID, **change}
    if "measures" in change and "weights" not in change:
        given["weights"] = None
    with pytest.raises(error, match=match):
        barycenter(given.pop("measures"), given.pop("weights"), **given)


def test_measures_without_a_share_are_left_out():
    clouds = on_points([torch.zeros(2, 1), torch.ones(3, 1), torch.ones(4, 1)], [1, 0, 3])
    assert clouds.shares == (0.25, 0.75)
    assert [len(mass) for mass in clouds.masses] == [2, 4]
    with pytest.raises(ValueError, match="same number of features"):
        on_points([torch.zeros(2, 1), torch.ones(3, 2)], None)
