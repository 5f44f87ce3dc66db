"""Point clouds: digits far from the origin, both sides, both precisions, what is refused."""

import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isotherm._arrays import Namespace
from isotherm.geometry import CallableCost, CostMatrix, EuclideanPower, PointCloud

COSTS = ["sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot", EuclideanPower(1.5)]
INVARIANT = ["sqeuclidean", "half_sqeuclidean", "euclidean", EuclideanPower(1.5)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def towards_twice(x: Tensor, y: Tensor) -> Tensor:
    """A cost that is not symmetric."""
    return (x[:, None] - 2 * y).abs().sum(-1)


def whole(geometry) -> Tensor:
    return geometry.block(slice(None))


def assert_costs_have_digits(found: Tensor, truth: Tensor, share: float) -> None:
    error = float((found.double() - truth).abs().max() / truth.abs().max())
    assert error <= share, f"error {error:.2g} of the largest cost"


# ------------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("d", [1, 3, 8, 9, 20])
@pytest.mark.parametrize("cost", INVARIANT, ids=str)
def test_point_cloud_keeps_digits_far_from_the_origin(cost, d):
    x, y = (normal(40, d, seed=seed, dtype=torch.float32) + 1e4 for seed in (1, 2))
    truth = whole(PointCloud(x.double(), y.double(), cost))
    difference = {"sqeuclidean": 2.0, "half_sqeuclidean": 2.0, "euclidean": 1.0}.get(str(cost), 1.5)
    direct = torch.cdist(x.double(), y.double()) ** difference / (2.0 if cost == "half_sqeuclidean" else 1.0)
    torch.testing.assert_close(truth, direct, rtol=1e-7, atol=1e-6)
    assert_costs_have_digits(whole(PointCloud(x, y, cost)), truth, 2e-6)


def test_point_cloud_digits_check_can_fail():
    x, y = (normal(40, 3, seed=seed, dtype=torch.float32) + 1e4 for seed in (1, 2))
    naive = x.square().sum(1)[:, None] + y.square().sum(1) - 2 * x @ y.T  # what centring avoids
    with pytest.raises(AssertionError, match=r"of the largest cost"):
        assert_costs_have_digits(naive, whole(PointCloud(x.double(), y.double())), 2e-6)


def test_point_cloud_small_distances_are_exact_in_low_dimension():
    x = normal(30, 8, dtype=torch.float32)
    y = x + 1e-4 * normal(30, 8, seed=1, dtype=torch.float32)
    near = whole(PointCloud(x, y)).diagonal()
    truth = (x.double() - y.double()).square().sum(1)
    torch.testing.assert_close(near.double(), truth, rtol=5e-3, atol=0.0)  # 1e-4 itself is known to a rounding of one


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_point_cloud_above_eight_dimensions_agrees_with_below(cost, dtype):
    x, y = normal(12, 8, dtype=dtype), normal(11, 8, seed=1, dtype=dtype)
    padded = [torch.cat([points, torch.zeros(points.shape[0], 3, dtype=dtype)], 1) for points in (x, y)]
    low, high = whole(PointCloud(x, y, cost)), whole(PointCloud(*padded, cost))
    assert_costs_have_digits(high, low.double(), 50 * torch.finfo(dtype).eps)
    if cost in ("sqeuclidean", "euclidean"):
        assert (high >= 0).all()


@pytest.mark.parametrize("cost", ["cosine", "negative_dot"])
def test_point_cloud_is_not_centred_where_the_cost_sees_translations(cost):
    x, y = normal(5, 3) + 7.0, normal(4, 3, seed=1) + 7.0
    torch.testing.assert_close(whole(PointCloud(x, y, cost)), PointCloud(x, y, cost).cost.pairwise(x, y))


@pytest.mark.parametrize("size", [1e20, 1e30])
def test_point_cloud_refuses_points_whose_distances_overflow(size):
    x, y = size * normal(5, 2, dtype=torch.float32), size * normal(4, 2, seed=1, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"float32"):
        PointCloud(x, y)
    assert whole(PointCloud(x.double(), y.double())).isfinite().all()


# ------------------------------------------------------------------------------------------------ the same costs


@pytest.mark.parametrize("cost", [*COSTS, CallableCost(towards_twice)], ids=lambda cost: getattr(cost, "name", cost))
def test_point_cloud_transposed_costs_are_the_transpose(cost):
    cloud = PointCloud(normal(7, 3), normal(5, 3, seed=1), cost)
    swapped = cloud.transpose()
    assert swapped.shape == (5, 7)
    torch.testing.assert_close(whole(swapped), whole(cloud).T, rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(whole(swapped.transpose()), whole(cloud), rtol=1e-13, atol=1e-14)
    assert swapped.source_points is cloud.target_points
    assert swapped.target_points is cloud.source_points


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_point_cloud_double_holds_the_same_points(cost):
    cloud = PointCloud(normal(7, 3, dtype=torch.float32), normal(5, 3, seed=1, dtype=torch.float32), cost)
    assert cloud.double().dtype == torch.float64
    assert cloud.double().double().dtype == torch.float64
    assert torch.equal(cloud.double().x, cloud.x.double())
    torch.testing.assert_close(whole(cloud).double(), whole(cloud.double()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_point_cloud_for_iteration_has_the_same_costs(cost):
    cloud = PointCloud(normal(7, 3), normal(5, 3, seed=1), cost)
    stored = cloud.for_iteration()
    assert isinstance(stored, CostMatrix)
    assert torch.equal(whole(stored), whole(cloud))
    torch.testing.assert_close(whole(cloud.transpose().for_iteration()), whole(cloud).T, rtol=1e-13, atol=1e-14)


def test_point_cloud_too_large_to_keep_is_not_kept():
    cloud = PointCloud(torch.zeros(2**12, 1), torch.zeros(2**11, 1))
    assert cloud.for_iteration() is cloud


def dear_cloud(cost="sqeuclidean"):
    """More costs than are always kept, of points with many features."""
    return PointCloud(normal(2500, 33, dtype=torch.float32), normal(2000, 33, seed=1, dtype=torch.float32), cost)


def test_point_cloud_keeps_dear_costs_once_for_both_directions():
    cloud = dear_cloud()
    stored = cloud.for_iteration()
    assert isinstance(stored, CostMatrix)
    torch.testing.assert_close(stored.block(slice(0, 9)), cloud.block(slice(0, 9)), rtol=1e-5, atol=1e-4)
    assert cloud.for_iteration() is stored
    swapped = cloud.transpose().for_iteration()
    assert isinstance(swapped, CostMatrix)
    assert swapped.matrix.data_ptr() == stored.matrix.data_ptr()
    back = cloud.transpose().transpose().for_iteration()
    assert isinstance(back, CostMatrix)
    assert back.shape == cloud.shape


def test_point_cloud_drops_dear_costs_with_their_last_user():
    cloud = dear_cloud()
    stored = weakref.ref(cloud.for_iteration())
    assert stored() is None


def test_point_cloud_keeps_costs_of_a_function_too():
    cloud = PointCloud(normal(2500, 2), normal(2000, 2, seed=1), lambda x, y: (x[:, None] - y).abs().sum(-1))
    assert isinstance(cloud.for_iteration(), CostMatrix)


def test_point_cloud_keeps_no_dear_costs_where_memory_is_short(monkeypatch):
    monkeypatch.setattr("isotherm.geometry.point_cloud.available_memory", lambda device: 2**20)
    cloud = dear_cloud()
    assert cloud.for_iteration() is cloud


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_point_cloud_extended_by_its_own_sources_is_itself(cost):
    cloud = PointCloud(normal(7, 3) + 5.0, normal(5, 3, seed=1) + 5.0, cost)
    torch.testing.assert_close(whole(cloud.extend(cloud.x)), whole(cloud), rtol=1e-12, atol=1e-12)
    assert cloud.extend(cloud.x[:2]).shape == (2, 5)


@pytest.mark.parametrize("cost", ["sqeuclidean", "euclidean"])
def test_point_cloud_extension_of_a_point_ignores_the_rest_of_the_batch(cost):
    cloud = PointCloud(normal(50, 2, dtype=torch.float32), normal(40, 2, seed=1, dtype=torch.float32), cost)
    new = normal(20, 2, seed=2, dtype=torch.float32)
    outlier = torch.full((1, 2), 1e7)
    alone, together = whole(cloud.extend(new)), whole(cloud.extend(torch.cat([new, outlier])))[:20]
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cost", COSTS, ids=str)
def test_point_cloud_cost_range_encloses_every_cost(cost):
    cloud = PointCloud(normal(7, 3), normal(5, 3, seed=1), cost)
    assert cloud.cost_range() == pytest.approx((float(whole(cloud).min()), float(whole(cloud).max())))


@settings(deadline=None, derandomize=True, max_examples=60)
@given(
    n=st.integers(1, 9),
    m=st.integers(1, 9),
    d=st.sampled_from([1, 2, 8, 9, 12]),
    cost=st.sampled_from(COSTS),
    seed=st.integers(0, 2**31),
    offset=st.sampled_from([0.0, 100.0]),
)
def test_point_cloud_reductions_equal_those_of_its_matrix(n, m, d, cost, seed, offset):
    generator = torch.Generator().manual_seed(seed)
    x, y = (offset + torch.randn(size, d, generator=generator, dtype=torch.float64) for size in (n, m))
    a, p = torch.rand(n, generator=generator).double(), torch.randn(n, generator=generator).double()
    b, q = torch.rand(m, generator=generator).double(), torch.randn(m, generator=generator).double()
    values = torch.randn(m, 2, generator=generator).double()
    cloud = PointCloud(x, y, cost)
    matrix = CostMatrix(whole(cloud))
    epsilon = 0.3 * (1.0 + float(whole(cloud).abs().max()))
    centre = matrix.product_cost(a, b)
    for result in (
        lambda geometry: geometry.softmin(q, epsilon=epsilon),
        lambda geometry: geometry.hard_min(q),
        lambda geometry: geometry.plan_apply(p, q, values, epsilon=epsilon),
        lambda geometry: geometry.plan_cost(p, q, epsilon=epsilon),
        lambda geometry: geometry.conditional_mean(q, values, epsilon=epsilon),
        lambda geometry: geometry.product_cost(a, b),
        lambda geometry: geometry.product_square_deviation(a, b, centre),
    ):
        atol = 1e-12 * (1.0 + float(whole(cloud).abs().max()))
        torch.testing.assert_close(result(cloud), result(matrix), rtol=1e-11, atol=atol)


# ------------------------------------------------------------------------------------------------- what it is made of


def test_point_cloud_attributes_are_what_was_given():
    x, y = normal(7, 3), normal(5, 3, seed=1)
    cloud = PointCloud(x, y)
    assert (cloud.shape, cloud.dtype, cloud.device) == ((7, 5), torch.float64, x.device)
    assert cloud.namespace is Namespace.TORCH
    assert PointCloud(x.numpy(), y.numpy()).namespace is Namespace.NUMPY
    assert torch.equal(cloud.source_points, x)
    assert torch.equal(cloud.target_points, y)


def test_point_cloud_reads_a_vector_as_points_on_a_line():
    cloud = PointCloud([0.0, 1.0], [0.0, 2.0, 3.0])
    assert torch.equal(whole(cloud), torch.tensor([[0.0, 4.0, 9.0], [1.0, 1.0, 4.0]], dtype=torch.float64))


def test_point_cloud_takes_integers_and_awkward_layouts():
    x, y = np.arange(12).reshape(4, 3), np.arange(6).reshape(2, 3)
    expected = ((x[:, None] - y) ** 2).sum(-1)
    assert np.array_equal(whole(PointCloud(x, y)).numpy(), expected)
    for same in (np.asfortranarray(x), x.astype(">f8"), x.astype(np.uint8), x.astype(np.uint32), x.tolist()):
        assert np.array_equal(whole(PointCloud(same, y.astype("<f8"))).numpy(), expected)
    assert np.array_equal(whole(PointCloud(x[::-1], y)).numpy()[::-1], expected)
    assert np.array_equal(whole(PointCloud(np.repeat(x, 2, axis=0)[::2], y)).numpy(), expected)


def test_point_cloud_does_not_write_to_its_points():
    x, y = normal(7, 3).numpy(), normal(5, 3, seed=1).numpy()
    before = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    cloud = PointCloud(x, y)
    cloud.softmin(torch.zeros(5, dtype=torch.float64), epsilon=0.1)
    whole(cloud.transpose())
    assert np.array_equal(x, before[0])
    assert np.array_equal(y, before[1])


def test_point_cloud_shows_its_size_not_its_points():
    assert repr(PointCloud(normal(7, 3), normal(5, 3))).startswith("PointCloud(7 x 5 points in 3-D, SquaredEuclidean()")


def test_point_cloud_is_differentiable_in_its_points_until_it_is_detached():
    x = normal(7, 3).requires_grad_()
    cloud = PointCloud(x, normal(5, 3, seed=1))
    (gradient,) = torch.autograd.grad(whole(cloud).sum(), x)
    torch.testing.assert_close(gradient, 2 * (5 * x.detach() - cloud.y.sum(0)))
    detached = PointCloud(x, normal(5, 3, seed=1)).detach()
    assert not whole(detached).requires_grad
    assert not whole(detached.transpose()).requires_grad
    assert torch.equal(whole(detached), whole(cloud))


@pytest.mark.parametrize("side", ["x", "y"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_point_cloud_refuses_points_that_are_not_finite(side, bad):
    points = {"x": normal(4, 2), "y": normal(4, 2)}
    points[side][3, 1] = bad
    with pytest.raises(ValueError, match=rf"`{side}` must be finite: got 1 .* \(3, 1\)"):
        PointCloud(**points)


@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (0,), (2, 2, 2), ()])
def test_point_cloud_refuses_empty_clouds_and_other_ranks(shape):
    with pytest.raises(ValueError, match=r"`x`"):
        PointCloud(torch.zeros(shape), torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"`y`"):
        PointCloud(torch.zeros(3, 2), torch.zeros(shape))


def test_point_cloud_refuses_different_numbers_of_features():
    with pytest.raises(ValueError, match=r"`x` and `y` must have the same number of features: got 2 and 3"):
        PointCloud(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match=r"`x_new` and `y`"):
        PointCloud(torch.zeros(4, 2), torch.zeros(4, 2)).extend(torch.zeros(1, 3))


def test_point_cloud_refuses_mixed_arrays():
    with pytest.raises(TypeError, match=r"one library: got Tensor and ndarray"):
        PointCloud(torch.zeros(4, 2), np.zeros((4, 2)))
    with pytest.raises(TypeError, match=r"same dtype: got torch.float32 and torch.float64"):
        PointCloud(torch.zeros(4, 2), torch.zeros(4, 2).double())
    with pytest.raises(TypeError, match=r"same device: got meta and cpu"):
        PointCloud(torch.zeros(4, 2), torch.ones(4, 2)).extend(torch.zeros(4, 2, device="meta"))
