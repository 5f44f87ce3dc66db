"""POT's costs and equal weights."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import isotherm.compat.pot as ot

from .problems import LIBRARIES, arrays, as_numpy

METRICS = ["sqeuclidean", "euclidean", "cityblock", "cosine", "correlation", "minkowski"]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("features", [3, 40])
def test_costs_are_scipys(metric, library, features):
    distance = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, features)), rng.normal(size=(4, features))
    found = ot.dist(*arrays(library, x, y), metric=metric)
    np.testing.assert_allclose(as_numpy(found), distance.cdist(x, y, metric=metric), rtol=1e-11)
    assert type(found) is type(arrays(library, x))
    assert (
        ot.dist(*arrays(library, x, y, dtype="float32"), metric=metric).dtype
        == arrays(library, x, dtype="float32").dtype
    )


def test_weighted_features_and_other_metrics_of_scipy():
    distance = pytest.importorskip("scipy.spatial.distance")
    rng = np.random.default_rng(0)
    x, y, w = rng.normal(size=(5, 3)), rng.normal(size=(4, 3)), rng.random(3)
    wanted = distance.cdist(x, y, metric="minkowski", p=3, w=w)
    np.testing.assert_allclose(ot.dist(x, y, metric="minkowski", p=3, w=w), wanted)
    np.testing.assert_allclose(ot.dist(x, y, metric="minkowski", p=3, w=w, backend="scipy"), wanted)
    np.testing.assert_allclose(ot.dist(x, y, metric="chebyshev"), distance.cdist(x, y, metric="chebyshev"))
    np.testing.assert_allclose(ot.dist(x, y, metric="jensenshannon") > 0, distance.cdist(x, y, "jensenshannon") > 0)
    with pytest.raises(NotImplementedError, match="chebyshev"):
        ot.dist(*arrays("torch", x, y), metric="chebyshev")


@pytest.mark.parametrize("features", [2, 50])
def test_squared_distances_far_from_the_origin_keep_their_digits(features):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(6, features))
    np.testing.assert_allclose(ot.dist(x + 1e6), ot.dist(x), atol=1e-6)
    assert not np.diag(ot.dist(x + 1e6)).any()
    assert not np.diag(ot.dist(x)).any()


def test_gradient_at_coincident_points_is_zero():
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    for metric in ("sqeuclidean", "euclidean", "cityblock"):
        assert not torch.autograd.grad(ot.dist(x, x, metric=metric).sum(), x)[0].any()
    y = torch.rand(3, 3, dtype=torch.float64, requires_grad=True, generator=torch.Generator().manual_seed(0))
    assert all(gradcheck(lambda y, m=metric: ot.dist(y, y + 1.0, metric=m), y) for metric in METRICS)


@pytest.mark.parametrize("library", LIBRARIES)
def test_equal_weights(library):
    like = arrays(library, [0.0], dtype="float32")
    found = ot.unif(4, type_as=like)
    assert type(found) is type(like)
    assert found.dtype == like.dtype
    np.testing.assert_array_equal(as_numpy(found), np.full(4, 0.25))
    assert ot.unif(3).dtype == np.float64


def test_points_are_checked():
    with pytest.raises(ValueError, match="same number of features"):
        ot.dist(np.zeros((2, 3)), np.zeros((2, 2)))
    with pytest.raises(ValueError, match="finite"):
        ot.dist(np.full((2, 3), np.nan))
