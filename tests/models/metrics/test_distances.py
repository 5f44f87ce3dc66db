"""Distances between samples, against closed forms and the definition written out."""

import math

import numpy as np
import pytest
import torch

from isotherm.models.metrics import frechet_distance, imq_discrepancy, median_square, transport_distance


def normal(generator, *shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_equal_samples_are_at_distance_zero(generator):
    x = normal(generator, 30, 4)
    assert transport_distance(x, x.flip(0)) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0.0, abs=1e-10)


def test_shift_costs_its_length_in_every_distance(generator):
    x, shift = normal(generator, 40, 3), torch.tensor([3.0, 0.0, 4.0], dtype=torch.float64)
    assert transport_distance(x + shift, x) == pytest.approx(5.0, rel=1e-9)
    assert frechet_distance(x + shift, x) == pytest.approx(25.0, rel=1e-9)


def test_transport_distance_of_samples_of_different_size():
    # Half of the mass at 0 goes to -1 and half to 1: every unit walks 1.
    assert transport_distance([[0.0]], [[-1.0], [1.0]]) == pytest.approx(1.0)
    assert transport_distance([[0.0, 0.0]], [[-1.0, 0.0], [0.0, 2.0]]) == pytest.approx(math.sqrt(2.5))


def test_transport_distance_reads_pictures_as_vectors(generator):
    x, y = normal(generator, 7, 2, 3), normal(generator, 7, 2, 3)
    assert transport_distance(x, y) == pytest.approx(transport_distance(x.flatten(1), y.flatten(1)))


def test_frechet_distance_of_commuting_covariances_is_that_of_deviations(generator):
    x = torch.linalg.qr(normal(generator, 60, 3)).Q
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T  # covariance 1, exactly
    first, second = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 2.0, 0.5]).double()
    assert frechet_distance(x * first, x * second) == pytest.approx(float((first - second).square().sum()), rel=1e-9)


def test_frechet_distance_of_turned_covariances_by_the_root_of_the_product(generator):
    x, y = normal(generator, 50, 4), normal(generator, 60, 4) @ normal(generator, 4, 4)
    s, t = np.cov(x.numpy().T), np.cov(y.numpy().T)
    roots = np.sqrt(np.linalg.eigvals(s @ t).real).sum()  # the product has the same eigenvalues
    means = float((x.mean(0) - y.mean(0)).square().sum())
    assert frechet_distance(x, y) == pytest.approx(means + np.trace(s) + np.trace(t) - 2 * roots, rel=1e-9)


def test_frechet_distance_where_the_rank_is_small(generator):
    x = normal(generator, 3, 10)  # three points: rank two in ten dimensions
    assert frechet_distance(x, x) == pytest.approx(0.0, abs=1e-6)
    assert frechet_distance(x, torch.zeros(2, 10)) == pytest.approx(
        float(x.mean(0).square().sum() + torch.cov(x.T).trace()), rel=1e-9
    )


def test_imq_discrepancy_is_its_definition(generator):
    x, y, s = normal(generator, 5, 2), normal(generator, 4, 2) + 1.0, 0.7

    def k(p, q):
        return s / (s + float((p - q).square().sum()))

    def mean(p, q, *, same):
        return np.mean([k(a, b) for i, a in enumerate(p) for j, b in enumerate(q) if not (same and i == j)])

    expected = mean(x, x, same=True) + mean(y, y, same=True) - 2 * mean(x, y, same=False)
    assert imq_discrepancy(x, y, scale=s) == pytest.approx(expected, rel=1e-12)


def test_imq_discrepancy_has_no_bias(generator):
    found = [imq_discrepancy(normal(generator, 8, 2), normal(generator, 8, 2), scale=1.0) for _ in range(600)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert error < 0.005  # sharp enough to see the biased estimate, which is 2 (1 - E k) / 8 > 0.1


def test_imq_scale_is_twice_the_median_of_the_second(generator):
    x, y = 9.0 * normal(generator, 11, 3), normal(generator, 12, 3)
    assert imq_discrepancy(x, y) == imq_discrepancy(x, y, scale=2 * median_square(y))
    assert median_square([[0.0], [1.0], [3.0]]) == 4.0


@pytest.mark.parametrize("metric", [frechet_distance, imq_discrepancy])
def test_one_observation_is_not_enough(metric):
    with pytest.raises(ValueError, match="at least 2 observations: got 1"):
        metric(torch.zeros(1, 2), torch.zeros(5, 2))


@pytest.mark.parametrize("metric", [transport_distance, frechet_distance, imq_discrepancy])
def test_bad_samples_are_refused(metric):
    with pytest.raises(ValueError, match="same number of features"):
        metric(torch.rand(4, 2), torch.rand(4, 3))
    with pytest.raises(ValueError, match="must be finite"):
        metric(torch.full((4, 2), torch.nan), torch.rand(4, 2))


def test_median_of_copies_is_no_scale():
    with pytest.raises(ValueError, match="median distance of 0"):
        imq_discrepancy(torch.rand(4, 2), torch.ones(4, 2))
