"""Every ground cost against its formula, its names, and its gradient where points coincide."""

import math

import pytest
import torch
from torch import Tensor

from isotherm.geometry import (
    CallableCost,
    Cosine,
    Euclidean,
    EuclideanPower,
    HalfSquaredEuclidean,
    Manhattan,
    NegativeDot,
    PointCloud,
    SquaredEuclidean,
    SumOfAxes,
    as_cost,
)
from isotherm.geometry.costs import NAMED_COSTS

FORMULAS = {
    SquaredEuclidean(): lambda x, y: sum((s - t) ** 2 for s, t in zip(x, y, strict=True)),
    HalfSquaredEuclidean(): lambda x, y: sum((s - t) ** 2 for s, t in zip(x, y, strict=True)) / 2,
    Euclidean(): math.dist,
    Manhattan(): lambda x, y: sum(abs(s - t) for s, t in zip(x, y, strict=True)),
    EuclideanPower(0.5): lambda x, y: math.dist(x, y) ** 0.5,
    EuclideanPower(3): lambda x, y: math.dist(x, y) ** 3,
    Cosine(): lambda x, y: 1 - sum(s * t for s, t in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y),
    NegativeDot(): lambda x, y: -sum(s * t for s, t in zip(x, y, strict=True)),
}
DISTANCES = [Euclidean(), EuclideanPower(0.5), EuclideanPower(1), EuclideanPower(1.5), EuclideanPower(3)]


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("d", [1, 2, 8, 9, 40])
@pytest.mark.parametrize("cost", FORMULAS, ids=str)
def test_cost_is_its_formula(cost, d):
    x, y = normal(6, d, seed=1), normal(5, d, seed=2)
    expected = [[FORMULAS[cost](p, q) for q in y.tolist()] for p in x.tolist()]
    torch.testing.assert_close(cost.pairwise(x, y), torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(PointCloud(x, y, cost).block(slice(None)), cost.pairwise(x, y), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cost", FORMULAS, ids=str)
def test_cost_keeps_the_dtype(cost, dtype):
    assert cost.pairwise(normal(3, 2, dtype=dtype), normal(4, 2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    "name", ["sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "cosine", "negative_dot"]
)
def test_cost_is_found_by_its_name(name):
    assert as_cost(name).name == name
    assert as_cost(name) is as_cost(name)
    cloud = PointCloud(normal(3, 2), normal(4, 2), name)
    assert torch.equal(cloud.block(slice(None)), PointCloud(cloud.x, cloud.y, as_cost(name)).block(slice(None)))


def test_cost_names_are_all_of_them():
    assert set(NAMED_COSTS) == {"sqeuclidean", "half_sqeuclidean", "euclidean", "manhattan", "cosine", "negative_dot"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("sqeuclidian", "sqeuclidean"),
        ("Euclidean", "euclidean"),
        ("cosin", "cosine"),
        ("half_sqeuclid", "half_sqeuclidean"),
        ("neg_dot", "negative_dot"),
    ],
)
def test_cost_name_unknown_suggests_the_nearest(typed, meant):
    with pytest.raises(ValueError, match=f"got '{typed}'.*Did you mean '{meant}'"):
        as_cost(typed)
    with pytest.raises(ValueError, match=f"Did you mean '{meant}'"):
        PointCloud(normal(3, 2), normal(4, 2), typed)


def test_cost_name_unknown_without_a_near_one_lists_them_all():
    with pytest.raises(
        ValueError, match=r"'cosine', 'euclidean', 'half_sqeuclidean', 'manhattan', 'negative_dot', 'sqeuclidean'"
    ):
        as_cost("xyzzy")


@pytest.mark.parametrize("wrong", [3, None, Euclidean, str, ["euclidean"]])
def test_cost_of_another_kind_is_refused(wrong):
    with pytest.raises(TypeError, match=r"cost object"):
        as_cost(wrong)


@pytest.mark.parametrize("p", [0.0, -1.0, math.nan, math.inf])
def test_cost_power_must_be_positive_and_finite(p):
    with pytest.raises(ValueError, match=r"`p`"):
        EuclideanPower(p)
    with pytest.raises(TypeError, match=r"`p`"):
        EuclideanPower("2")


# ---------------------------------------------------------------------------------------------- coincident points


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("d", [1, 3, 8, 9, 30])
@pytest.mark.parametrize("cost", DISTANCES, ids=str)
def test_distance_gradient_is_zero_at_coincident_points(cost, d, dtype):
    x = normal(5, d, dtype=dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    gradients = torch.autograd.grad(cost.pairwise(x, y).diagonal().sum(), (x, y))
    for gradient in gradients:
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("d", [1, 3, 8, 9, 30])
@pytest.mark.parametrize("cost", [*DISTANCES, SquaredEuclidean()], ids=str)
def test_distance_of_coincident_points_is_zero(cost, d, dtype):
    x = normal(20, d, dtype=dtype)
    staying = cost.pairwise(x, x.clone()).diagonal()
    assert (staying >= 0).all()
    exact = torch.zeros_like(staying)
    squared_rounding = 8 * torch.finfo(dtype).eps * float(x.square().sum(1).max())  # |x|^2 + |y|^2 - 2 x.y above 8 D
    torch.testing.assert_close(staying, exact, rtol=0.0, atol=squared_rounding if d > 8 else 0.0)


@pytest.mark.parametrize("d", [2, 11])
@pytest.mark.parametrize("cost", FORMULAS, ids=str)
def test_cost_gradient_is_right_between_distinct_points(cost, d):
    x, y = normal(3, d, seed=3).requires_grad_(), normal(4, d, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(cost.pairwise, (x, y))


def test_cosine_of_a_zero_vector_is_one_and_its_gradient_finite():
    x, y = torch.zeros(1, 3, requires_grad=True), torch.ones(2, 3)
    costs = Cosine().pairwise(x, y)
    assert costs.tolist() == [[1.0, 1.0]]
    (gradient,) = torch.autograd.grad(costs.sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("length", [1e-30, 1e-25, 1e25, 1e30])
def test_cosine_sees_directions_only(length):
    x, y = normal(4, 3, dtype=torch.float32), normal(5, 3, seed=1, dtype=torch.float32)
    torch.testing.assert_close(Cosine().pairwise(length * x, y), Cosine().pairwise(x, y), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(Cosine().pairwise(x, length * y), Cosine().pairwise(x, y), rtol=1e-5, atol=1e-6)


def test_cosine_lies_between_zero_and_two():
    x = normal(50, 2, dtype=torch.float32)
    costs = Cosine().pairwise(torch.cat([x, -x]), torch.cat([x, -x]))
    assert (costs >= -1e-6).all()
    assert (costs <= 2 + 1e-6).all()


# ---------------------------------------------------------------------------------------------------- own functions


def manhattan(x: Tensor, y: Tensor) -> Tensor:
    return (x[:, None] - y).abs().sum(-1)


def lopsided(x: Tensor, y: Tensor) -> Tensor:
    """Not symmetric: downhill is free."""
    return (y[:, 0] - x[:, 0, None]).clamp(min=0.0)


def test_callable_cost_is_called_with_clouds():
    x, y = normal(6, 3), normal(5, 3, seed=1)
    cloud = PointCloud(x, y, manhattan)
    assert isinstance(cloud.cost, CallableCost)
    torch.testing.assert_close(cloud.block(slice(2, 4)), manhattan(x[2:4], y))


def test_callable_cost_keeps_its_direction_when_transposed():
    x, y = normal(6, 1), normal(5, 1, seed=1)
    cloud = PointCloud(x, y, lopsided)
    torch.testing.assert_close(cloud.transpose().block(slice(None)), lopsided(x, y).T)
    torch.testing.assert_close(cloud.transpose().transpose().block(slice(None)), lopsided(x, y))


def test_callable_cost_sees_points_where_they_are():
    x, y = normal(4, 2) + 100.0, normal(3, 2) + 100.0
    cloud = PointCloud(x, y, lambda u, v: u.sum(1)[:, None] + v.sum(1))  # not invariant under translations
    torch.testing.assert_close(cloud.block(slice(None)), x.sum(1)[:, None] + y.sum(1))


@pytest.mark.parametrize(
    ("function", "error", "match"),
    [
        (lambda x, y: (x[:, None] - y).abs().sum(), ValueError, r"all pairs, shape \(1, 1\): got \(\)"),
        (lambda x, y: (x[:, None] - y).abs(), ValueError, r"all pairs, shape \(1, 1\): got \(1, 1, 2\)"),
        (lambda x, y: manhattan(x, y).numpy(), TypeError, "torch.float64 tensor.*got ndarray"),
        (lambda x, y: manhattan(x, y).float(), TypeError, "torch.float64 tensor.*got torch.float32"),
        (lambda x, y: manhattan(x, y) * math.nan, ValueError, "finite"),
        (lambda x, y: manhattan(x, y) / 0.0, ValueError, "finite"),
        (lambda x, y: 1.0, TypeError, "got float"),
    ],
)
def test_callable_cost_that_returns_something_else_is_refused_at_once(function, error, match):
    with pytest.raises(error, match=match):
        PointCloud(normal(6, 2), normal(5, 2, seed=1), function)


def test_callable_cost_of_a_wrong_shape_is_refused_on_every_block():
    cloud = PointCloud(normal(6, 2), normal(5, 2), lambda x, y: torch.ones(1, 1, dtype=x.dtype))
    with pytest.raises(ValueError, match=r"all pairs, shape \(6, 5\): got \(1, 1\)"):
        cloud.block(slice(None))


def test_sum_of_axes_adds_a_cost_for_each_coordinate():
    x, y = normal(6, 2, seed=1), normal(5, 2, seed=2)
    cost = SumOfAxes(lambda s, t: (t.T - s).clamp(min=0.0), "euclidean")
    expected = (y[:, 0] - x[:, 0, None]).clamp(min=0.0) + (y[:, 1] - x[:, 1, None]).abs()
    torch.testing.assert_close(cost.pairwise(x, y), expected)
    torch.testing.assert_close(cost.transpose().pairwise(y, x), expected.T)
    torch.testing.assert_close(PointCloud(x, y, cost).transpose().block(slice(None)), expected.T)
    with pytest.raises(ValueError, match=r"one cost for each coordinate: got 2 for 3"):
        cost.pairwise(normal(2, 3), normal(2, 3))


def test_manhattan_gradient_is_zero_where_coordinates_agree():
    x = torch.tensor([[0.0, 1.0]], dtype=torch.float64, requires_grad=True)
    Manhattan().pairwise(x, torch.tensor([[0.0, 3.0]]).double()).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[0.0, -1.0]]
