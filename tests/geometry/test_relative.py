"""Temperatures as a share of the cost's mean or deviation equal the dense ones, at any mass and offset."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isotherm import Problem
from isotherm.geometry import CostMatrix, EuclideanPower, Grid, PointCloud, Relative


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_scale(costs: Tensor, a: Tensor, b: Tensor, of: str) -> float:
    """Mean or standard deviation of the cost under the normalised a ⊗ b."""
    pairs = torch.outer(a.double() / a.double().sum(), b.double() / b.double().sum())
    mean = (pairs * costs).sum()
    return float(mean if of == "mean" else (pairs * (costs - mean).square()).sum().sqrt())


GEOMETRIES = {
    "sqeuclidean": PointCloud(normal(9, 3), normal(7, 3, seed=1)),
    "far": PointCloud(normal(9, 3) + 1e5, normal(7, 3, seed=1) + 1e5),
    "many_features": PointCloud(normal(9, 20), normal(7, 20, seed=1), "half_sqeuclidean"),
    "euclidean": PointCloud(normal(9, 3), normal(7, 3, seed=1), "euclidean"),
    "power": PointCloud(normal(9, 3), normal(7, 3, seed=1), EuclideanPower(3)),
    "cosine": PointCloud(normal(9, 3), normal(7, 3, seed=1), "cosine"),
    "callable": PointCloud(normal(9, 3), normal(7, 3, seed=1), lambda x, y: (x[:, None] - y).abs().sum(-1)),
    "matrix": CostMatrix(normal(9, 7).square()),
    "grid": Grid((normal(3), normal(3, seed=1)), target_axes=(normal(7, seed=2), normal(1, seed=3))),
    "far_grid": Grid((normal(3), normal(3, seed=1)), target_axes=(normal(7, seed=2) + 100.0, normal(1, seed=3))),
}


@pytest.mark.parametrize("of", ["mean", "std"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_relative_temperature_equals_the_dense_one(name, of):
    geometry = GEOMETRIES[name]
    a, b = weights(9), weights(7, seed=1)
    a[::4] = 0.0
    expected = dense_scale(geometry.block(slice(None)), a, b, of)
    assert Relative(0.05, of).resolve(geometry, a, b) == pytest.approx(0.05 * expected, rel=1e-9)
    assert Relative(0.05, of).resolve(geometry, 7 * a, b / 3) == pytest.approx(0.05 * expected, rel=1e-9)
    problem = Problem(geometry, a / a.sum(), b / b.sum(), epsilon=Relative(0.3, of))
    assert problem.epsilon == pytest.approx(0.3 * expected, rel=1e-9)


@pytest.mark.parametrize("of", ["mean", "std"])
def test_relative_temperature_of_float32_points_is_computed_in_float64(of):
    x, y = (normal(50, 3, seed=s).float() + 1e4 for s in (1, 2))
    costs = (x.double()[:, None] - y.double()).square().sum(-1)
    a, b = weights(50).float(), weights(50, seed=1).float()
    found = Relative(1.0, of).resolve(PointCloud(x, y), a, b)
    assert found == pytest.approx(dense_scale(costs, a, b, of), rel=1e-9)


def test_relative_deviation_of_signed_costs():
    geometry = PointCloud(normal(9, 3), normal(7, 3, seed=1), "negative_dot")
    a, b = weights(9), weights(7)
    expected = dense_scale(geometry.block(slice(None)), a, b, "std")
    assert Relative(0.1, of="std").resolve(geometry, a, b) == pytest.approx(0.1 * expected, rel=1e-10)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    n=st.integers(1, 6),
    m=st.integers(2, 6),
    d=st.sampled_from([1, 3, 10]),
    of=st.sampled_from(["mean", "std"]),
    cost=st.sampled_from(["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine"]),
    seed=st.integers(0, 2**31),
    scale=st.sampled_from([1e-6, 1.0, 1e6]),
)
def test_relative_temperature_equals_the_dense_one_on_random_clouds(n, m, d, of, cost, seed, scale):
    geometry = PointCloud(scale * normal(n, d, seed=seed), scale * normal(m, d, seed=seed + 1), cost)
    a, b = 0.01 + weights(n, seed), 0.01 + weights(m, seed + 1)
    costs = geometry.block(slice(None))
    expected = dense_scale(costs, a, b, of)
    if expected > 1e-6 * float(costs.abs().max()):
        assert Relative(1.0, of).resolve(geometry, a, b) == pytest.approx(expected, rel=1e-8)


def test_relative_scale_check_can_fail():
    geometry = GEOMETRIES["sqeuclidean"]
    expected = dense_scale(geometry.block(slice(None)), weights(9), weights(7), "mean")
    assert Relative(1.0).resolve(geometry, weights(9).flip(0), weights(7)) != pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("geometry", "relative", "advice"),
    [
        (PointCloud([[1.0]], [[2.0]], "negative_dot"), Relative(0.1), 'of="std"'),
        (PointCloud([0.0], [0.0]), Relative(0.1), "as a number"),
        (CostMatrix(torch.full((3, 2), 2.0)), Relative(0.1, of="std"), "as a number"),
        (CostMatrix(-torch.ones(3, 2)), Relative(0.1), 'of="std"'),
    ],
)
def test_relative_refuses_a_cost_without_a_scale(geometry, relative, advice):
    n, m = geometry.shape
    a, b = torch.ones(n, dtype=geometry.dtype) / n, torch.ones(m, dtype=geometry.dtype) / m
    with pytest.raises(ValueError, match=r"needs a positive finite") as info:
        relative.resolve(geometry, a, b)
    assert advice in str(info.value)


@pytest.mark.parametrize("share", [0.0, -0.1, math.nan, math.inf])
def test_relative_share_must_be_positive_and_finite(share):
    with pytest.raises(ValueError, match=r"`share` must be positive and finite"):
        Relative(share)


def test_relative_refuses_other_kinds_and_names():
    for share in ("0.05", None, True):
        with pytest.raises(TypeError, match=r"`share`"):
            Relative(share)
    with pytest.raises(ValueError, match=r"`of` must be one of 'mean', 'std': got 'means'. Did you mean 'mean'"):
        Relative(0.05, of="means")
