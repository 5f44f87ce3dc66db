"""A grid is the point cloud of its nodes, axis by axis: every operation gives the same numbers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from isotherm import kernels
from isotherm._arrays import Namespace
from isotherm.geometry import EuclideanPower, Grid, PointCloud, SumOfAxes
from isotherm.kernels import axes as axes_module

INF = math.inf


def axes(*lengths: int, seed: int = 0, offset: float = 0.0) -> tuple[Tensor, ...]:
    """Increasing, unevenly spaced coordinates along each axis."""
    generator = torch.Generator().manual_seed(seed)
    steps = [0.2 + torch.rand(n, generator=generator, dtype=torch.float64) for n in lengths]
    return tuple(offset + s.cumsum(0) / s.sum() for s in steps)


SAME = {"1d": axes(9), "2d": axes(4, 6), "3d": axes(3, 4, 2), "one_node_wide": axes(5, 1), "one_node": axes(1, 1)}
GRIDS = {name: Grid(lines) for name, lines in SAME.items()} | {
    "1d_between": Grid(axes(9), target_axes=axes(5, seed=1)),
    "2d_between": Grid(axes(4, 6), target_axes=axes(5, 3, seed=1, offset=0.5)),
    "3d_between": Grid(axes(3, 4, 2), target_axes=axes(2, 3, 5, seed=1)),
    "2d_half": Grid(axes(4, 6), "half_sqeuclidean"),
    "2d_negative_dot": Grid(axes(4, 6, offset=-0.5), "negative_dot", axes(5, 3, seed=1, offset=-0.3)),
    "3d_negative_dot": Grid(axes(2, 3, 2), "negative_dot"),
    "2d_manhattan": Grid(axes(4, 6), "manhattan", axes(5, 3, seed=1, offset=0.2)),
    "2d_unlike_axes": Grid(
        axes(4, 6), SumOfAxes(lambda x, y: (y.T - 2.0 * x).abs(), "euclidean"), axes(5, 3, seed=1, offset=0.2)
    ),
    "1d_euclidean": Grid(axes(9), "euclidean", axes(5, seed=1)),
    "1d_cosine": Grid(axes(9, offset=-0.5), "cosine"),
    "1d_power": Grid(axes(9), EuclideanPower(0.5)),
    "1d_callable": Grid(axes(9), lambda x, y: (y[:, 0] - x[:, 0, None]).clamp(min=0.0), axes(5, seed=1)),
    "2d_far": Grid(axes(4, 6, offset=1e4)),
}


def nodes_of(grid: Grid) -> PointCloud:
    """The point cloud of the nodes, in C order, by an independent construction."""
    source, target = (
        torch.from_numpy(np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, len(lines)))
        for lines in (grid.axes, grid.target_axes)
    )
    return PointCloud(source, target, grid.cost)


def arguments(grid: Grid, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n, m = grid.shape
    p, q = (0.3 * torch.randn(size, generator=generator, dtype=torch.float64) for size in (n, m))
    a, b = (torch.rand(size, generator=generator, dtype=torch.float64) for size in (n, m))
    return {"p": p, "q": q, "a": a, "b": b, "values": torch.randn(m, 3, generator=generator, dtype=torch.float64)}


OPERATIONS = {
    "block": lambda g, c, _: g.block(slice(None)),
    "softmin": lambda g, c, epsilon: g.softmin(c["q"], epsilon=epsilon),
    "hard_min": lambda g, c, _: g.hard_min(c["q"]),
    "plan_apply": lambda g, c, epsilon: g.plan_apply(c["p"], c["q"], c["values"], epsilon=epsilon),
    "plan_cost": lambda g, c, epsilon: g.plan_cost(c["p"], c["q"], epsilon=epsilon),
    "conditional_mean": lambda g, c, epsilon: g.conditional_mean(c["q"], c["values"], epsilon=epsilon),
    "product_cost": lambda g, c, _: g.product_cost(c["a"], c["b"]),
    "product_square_deviation": lambda g, c, _: g.product_square_deviation(
        c["a"], c["b"], torch.tensor(0.3, dtype=g.dtype)
    ),
}


def assert_same(grid_result: Tensor, cloud_result: Tensor, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    torch.testing.assert_close(grid_result, cloud_result, rtol=rtol, atol=atol)


@pytest.mark.parametrize("epsilon", [0.02, 0.5, 100.0])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", GRIDS)
def test_grid_equals_the_point_cloud_of_its_nodes(name, operation, epsilon):
    grid, run = GRIDS[name], OPERATIONS[operation]
    atol = 1e-9 if name == "2d_far" else 1e-12  # offset 1e4 itself is rounded to 1e-12
    assert_same(
        run(grid, arguments(grid), epsilon), run(nodes_of(grid), arguments(grid), epsilon), atol=atol, rtol=1e-8
    )


def test_grid_check_can_fail():
    grid = GRIDS["2d"]
    shifted = Grid((grid.axes[0] * 1.0001, grid.axes[1]))
    for run in OPERATIONS.values():
        with pytest.raises(AssertionError, match=r"not close"):
            assert_same(run(shifted, arguments(grid), 0.5), run(nodes_of(grid), arguments(grid), 0.5))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", GRIDS)
def test_grid_transposed_equals_the_transposed_point_cloud(name, operation):
    grid, run = GRIDS[name].transpose(), OPERATIONS[operation]
    found = run(grid, arguments(grid), 0.5)
    assert_same(found, run(nodes_of(GRIDS[name]).transpose(), arguments(grid), 0.5), atol=1e-9, rtol=1e-8)
    again = grid.transpose()
    assert again.shape == GRIDS[name].shape
    assert_same(again.block(slice(None)), GRIDS[name].block(slice(None)), atol=1e-9)


@pytest.mark.parametrize("operation", ["softmin", "hard_min", "plan_apply", "plan_cost", "conditional_mean"])
@pytest.mark.parametrize("name", ["1d", "2d", "3d_between"])
def test_grid_ignores_nodes_without_mass(name, operation):
    grid = GRIDS[name]
    c = arguments(grid)
    c["p"][::3] = c["q"][1::2] = -INF
    assert_same(OPERATIONS[operation](grid, c, 0.1), OPERATIONS[operation](nodes_of(grid), c, 0.1))
    if operation.startswith("plan"):
        assert not OPERATIONS[operation](grid, c, 0.1)[::3].any()


def test_grid_minima_without_any_target_are_infinite():
    grid = GRIDS["2d"]
    nothing = torch.full((grid.shape[1],), -INF, dtype=torch.float64)
    assert (grid.softmin(nothing, epsilon=0.1) == INF).all()
    assert (grid.hard_min(nothing) == INF).all()


@pytest.mark.parametrize("epsilon", [1e-4, 1e6])
def test_grid_softmin_at_both_ends_of_the_dial(epsilon):
    grid = GRIDS["2d_between"]
    c = arguments(grid)
    found, expected = grid.softmin(c["q"], epsilon=epsilon), nodes_of(grid).softmin(c["q"], epsilon=epsilon)
    assert_same(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", ["1d", "2d", "3d_between"])
def test_grid_in_float32_keeps_its_dtype_and_most_digits(name, operation):
    grid = GRIDS[name]
    single = Grid([line.float() for line in grid.axes], grid.cost, [line.float() for line in grid.target_axes])
    c = arguments(grid)
    found = OPERATIONS[operation](single, {key: value.float() for key, value in c.items()}, 0.1)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), OPERATIONS[operation](grid, c, 0.1), rtol=1e-3, atol=1e-4)
    assert single.double().dtype == torch.float64
    assert single.double().shape == single.shape


@pytest.mark.parametrize("operation", ["softmin", "hard_min", "plan_apply", "plan_cost"])
def test_grid_does_not_depend_on_the_block_size(operation, monkeypatch):
    grid = GRIDS["3d_between"]
    c = arguments(grid)
    whole = OPERATIONS[operation](grid, c, 0.1)
    monkeypatch.setattr(axes_module, "BLOCK_ENTRIES", 7)
    with kernels.use("reference"):
        assert_same(OPERATIONS[operation](grid, c, 0.1), whole)


@settings(deadline=None, derandomize=True, max_examples=40)
@given(
    lengths=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=3),
    cost=st.sampled_from(["sqeuclidean", "half_sqeuclidean", "negative_dot"]),
    seed=st.integers(0, 2**31),
)
def test_grid_of_any_shape_equals_the_point_cloud_of_its_nodes(lengths, cost, seed):
    source, target = zip(*lengths, strict=True)
    grid = Grid(axes(*source, seed=seed), cost, axes(*target, seed=seed + 1))
    for run in OPERATIONS.values():
        assert_same(run(grid, arguments(grid, seed), 0.3), run(nodes_of(grid), arguments(grid, seed), 0.3), rtol=1e-9)


# ------------------------------------------------------------------------------------------------ what it is made of


@pytest.mark.parametrize("name", GRIDS)
def test_grid_knows_its_nodes_and_shape(name):
    grid, cloud = GRIDS[name], nodes_of(GRIDS[name])
    assert grid.shape == cloud.shape == (grid.source_sizes.numel(), grid.target_sizes.numel())
    assert torch.equal(grid.source_points, cloud.x)
    assert torch.equal(grid.target_points, cloud.y)
    assert grid.for_iteration() is grid
    low, high = grid.cost_range()
    exact_low, exact_high = cloud.cost_range()
    assert low <= exact_low + 1e-9
    assert high >= exact_high - 1e-9
    rows = torch.tensor([0, grid.shape[0] - 1, 0])
    assert_same(grid.block(rows), grid.block(slice(None))[rows])


def test_grid_nodes_are_numbered_like_an_image():
    grid = Grid((torch.arange(2.0), torch.arange(3.0)))
    image = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(image.reshape(-1).reshape(grid.source_sizes), image)
    assert torch.equal(grid.source_points[4], torch.tensor([1.0, 1.0]))


@pytest.mark.parametrize("name", ["1d_euclidean", "2d_between", "3d_negative_dot", "2d_far"])
def test_grid_extended_by_its_own_nodes_is_itself(name):
    grid = GRIDS[name]
    extended = grid.extend(grid.source_points)
    assert_same(extended.block(slice(None)), grid.block(slice(None)), atol=1e-8)
    assert grid.extend(grid.source_points[:1]).shape == (1, grid.shape[1])


def test_grid_speaks_the_library_of_its_axes():
    assert Grid((np.arange(3.0), np.arange(2.0))).namespace is Namespace.NUMPY
    assert Grid((torch.arange(3.0),)).namespace is Namespace.TORCH
    assert Grid(([0, 1, 2],)).dtype == torch.float64


def test_grid_shows_its_sizes_and_detaches():
    grid = Grid([line.clone().requires_grad_() for line in axes(3, 2)], target_axes=axes(4, 5, seed=1))
    assert repr(grid).startswith("Grid(3 x 2 to 4 x 5 nodes, SquaredEuclidean()")
    assert grid.block(slice(None)).requires_grad
    assert not grid.detach().block(slice(None)).requires_grad
    assert_same(grid.detach().block(slice(None)), grid.block(slice(None)).detach())


@pytest.mark.parametrize("cost", ["euclidean", "cosine", EuclideanPower(3), lambda x, y: (x[:, None] - y).sum(-1)])
def test_grid_refuses_a_cost_that_is_not_separable(cost):
    with pytest.raises(ValueError, match=r"sum over axes: got .* on 2 axes.*PointCloud on the grid's nodes"):
        Grid(axes(3, 2), cost)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (((),), ValueError, "`axes` must be a sequence with one array of coordinates per axis"),
        ((torch.arange(3.0),), ValueError, "`axes` must be a sequence"),
        ((np.zeros((2, 3)),), ValueError, "`axes` must be a sequence"),
        (((torch.zeros(2, 2),),), ValueError, r"`axes\[0\]` must be a vector of coordinates: got shape \(2, 2\)"),
        (((torch.zeros(2), torch.zeros(0)),), ValueError, r"`axes\[1\]` must hold at least one point"),
        (((torch.tensor([0.0, math.nan]),),), ValueError, r"`axes\[0\]` must be finite"),
        (((["a", "b"],),), TypeError, r"`axes\[0\]` must hold real numbers"),
        (((torch.zeros(2), torch.zeros(2).double()),), TypeError, "same dtype"),
        ((axes(2, 2), "sqeuclidean", axes(2)), ValueError, "same number of axes: got 2 and 1"),
        ((axes(2), "sqeuclidean", (torch.zeros(2),)), TypeError, "`axes` and `target_axes` must have the same dtype"),
        (((np.zeros(2), torch.zeros(2).double()),), TypeError, "one library"),
        (((np.zeros(2),), "sqeuclidean", (torch.zeros(2).double(),)), TypeError, "one library"),
        ((axes(2, 2), SumOfAxes("euclidean")), ValueError, "one cost for each axis: got 1 for 2 axes"),
        ((axes(2), "sqeucledian"), ValueError, "Did you mean 'sqeuclidean'"),
    ],
)
def test_grid_refuses_bad_axes(arguments, error, match):
    with pytest.raises(error, match=match):
        Grid(*arguments)
