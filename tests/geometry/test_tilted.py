"""A reference coupling absorbed into the cost: transport still pays the ground cost."""

import math

import pytest
import torch
from torch import Tensor

from isotherm.geometry import PointCloud, Tilted


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def weights(size: int, seed: int = 0) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tilted(epsilon: float = 0.3) -> tuple[Tilted, Tensor, Tensor]:
    base = PointCloud(normal(5, 2), normal(4, 2, seed=1))
    log_ratio = normal(5, 4, seed=2)
    log_ratio[0, 1] = -math.inf
    return Tilted(base, log_ratio, epsilon), base.block(slice(None)), log_ratio


def test_tilted_costs_absorb_the_reference():
    geometry, costs, log_ratio = tilted()
    expected = costs - 0.3 * log_ratio
    assert torch.equal(geometry.block(slice(None)), expected)
    assert torch.equal(geometry.for_iteration().block(slice(None)), expected)
    torch.testing.assert_close(geometry.transpose().block(slice(None)), expected.T)
    assert torch.equal(geometry.double().block(slice(None)), expected)
    assert geometry.shape == (5, 4)
    assert (geometry.dtype, geometry.device) == (torch.float64, geometry.base.device)
    assert geometry.namespace is geometry.base.namespace
    assert geometry.coordinate_scale == geometry.base.coordinate_scale
    assert torch.equal(geometry.source_points, geometry.base.x)
    assert torch.equal(geometry.target_points, geometry.base.y)


def test_tilted_transport_pays_the_ground_cost():
    geometry, costs, log_ratio = tilted()
    p, q = normal(5, seed=3), normal(4, seed=4)
    plan = torch.exp((p[:, None] + q - costs) / 0.3 + log_ratio)
    found = geometry.plan_cost(p, q, epsilon=0.3)
    torch.testing.assert_close(found, (plan * costs).sum(1), rtol=1e-12, atol=1e-12)


def test_tilted_geometry_cannot_be_extended():
    with pytest.raises(TypeError, match=r"New points can be mapped only where.*without a reference"):
        tilted()[0].extend(torch.zeros(1, 2).double())


def test_tilted_sums_under_the_independent_coupling():
    geometry, costs, log_ratio = tilted()
    a, b = weights(5), weights(4)
    assert geometry.product_cost(a, b) == math.inf
    a[0] = 0.0  # the forbidden pair has no mass now
    expected = torch.outer(a, b)[1:] * (costs - 0.3 * log_ratio)[1:]
    torch.testing.assert_close(geometry.product_cost(a, b), expected.sum())
    deviation = geometry.product_square_deviation(a, b, torch.tensor(1.0).double())
    squares = torch.outer(a, b)[1:] * (costs - 0.3 * log_ratio - 1.0).square()[1:]
    torch.testing.assert_close(deviation, squares.sum())
