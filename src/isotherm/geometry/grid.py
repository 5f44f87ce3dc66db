"""Regular grids with a separable cost: a pass costs the sum of the axes' lengths instead of their product."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm import kernels
from isotherm._arrays import ArrayLike, Namespace, namespace_of, to_tensor
from isotherm._checks import check_points, check_same_array_kind
from isotherm.geometry.abstract import AbstractGeometry
from isotherm.geometry.costs import AbstractCost, SumOfAxes, as_cost
from isotherm.geometry.point_cloud import PointCloud

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Grid(AbstractGeometry):
    """Costs between the nodes of regular grids, c(x, y) = sum_d c_1(x_d, y_d).

        log sum_j exp((h_j - C_ij) / epsilon)   one axis after the other: O(N sum_d n_d) instead of O(N^2)

    Nodes are numbered in C order, the last axis fastest, as in `image.reshape(-1)`. Every axis keeps its n_d x n_d
    costs, nothing larger; every reduction goes axis by axis with memory O(N + M). How `isotherm.kernels.axis_log_sum`
    does an axis, and when with a matrix product, is told there.

    Args:
        axes: Coordinates along each axis of the source grid, one to three arrays of shapes (n_1,), (n_2,), ...
        cost: A separable cost: "sqeuclidean", "half_sqeuclidean", "manhattan", "negative_dot", or `SumOfAxes` with one
            for each axis; on one axis any cost.
        target_axes: Axes of the target grid; the source grid's when left out.

    Raises:
        ValueError: No axes, empty or non-finite coordinates, or a cost that is not separable.

    Example:
        >>> Grid((torch.arange(3.0), torch.arange(2.0)))
        Grid(3 x 2 to 3 x 2 nodes, SquaredEuclidean(), torch.float32, cpu)
    """

    axes: tuple[Tensor, ...]
    target_axes: tuple[Tensor, ...]
    cost: AbstractCost
    _namespace: Namespace

    def __init__(
        self,
        axes: Sequence[ArrayLike],
        cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor] = "sqeuclidean",
        target_axes: Sequence[ArrayLike] | None = None,
    ) -> None:
        sources = _checked_axes(axes, "axes")
        targets = sources if target_axes is None else _checked_axes(target_axes, "target_axes")
        cost = as_cost(cost)
        if len(sources) != len(targets):
            msg = (
                f"Source and target grid must have the same number of axes: got {len(sources)} and {len(targets)}. "
                f"Add an axis of length one where it is missing."
            )
            raise ValueError(msg)
        check_same_array_kind(sources[0], targets[0], ("axes", "target_axes"))
        if target_axes is not None and namespace_of(target_axes[0]) is not namespace_of(axes[0]):
            msg = "`axes` and `target_axes` must come from one library: got NumPy arrays and tensors. Convert one kind."
            raise TypeError(msg)
        if len(sources) > 1 and not cost.is_separable:
            msg = (
                f"A grid needs a cost that is a sum over axes: got {cost.name!r} on {len(sources)} axes. "
                f"Use 'sqeuclidean', or PointCloud on the grid's nodes for other costs."
            )
            raise ValueError(msg)
        if isinstance(cost, SumOfAxes) and len(cost.costs) != len(sources):
            msg = f"`SumOfAxes` needs one cost for each axis: got {len(cost.costs)} for {len(sources)} axes. Add or drop some."
            raise ValueError(msg)
        self._set(sources, targets, cost, namespace_of(axes[0]))

    def _set(
        self, axes: tuple[Tensor, ...], target_axes: tuple[Tensor, ...], cost: AbstractCost, namespace: Namespace
    ) -> None:
        for name, value in (("axes", axes), ("target_axes", target_axes), ("cost", cost), ("_namespace", namespace)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        sources, targets = (" x ".join(map(str, sizes)) for sizes in (self.source_sizes, self.target_sizes))
        return f"Grid({sources} to {targets} nodes, {self.cost}, {self.dtype}, {self.device})"

    @property
    def namespace(self) -> Namespace:
        """Library of the arrays it was made from."""
        return self._namespace

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M): products of the axes' lengths."""
        return self.source_sizes.numel(), self.target_sizes.numel()

    @property
    def source_sizes(self) -> torch.Size:
        """Lengths of the source grid's axes; `f.reshape(grid.source_sizes)` is an image again."""
        return torch.Size(axis.shape[0] for axis in self.axes)

    @property
    def target_sizes(self) -> torch.Size:
        """Lengths of the target grid's axes."""
        return torch.Size(axis.shape[0] for axis in self.target_axes)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the coordinates."""
        return self.axes[0].dtype

    @property
    def device(self) -> torch.device:
        """Device of the coordinates."""
        return self.axes[0].device

    @property
    def source_points(self) -> Tensor:
        """Coordinates of the source nodes, shape (N, D)."""
        return _nodes(self.axes)

    @property
    def target_points(self) -> Tensor:
        """Coordinates of the target nodes, shape (M, D)."""
        return _nodes(self.target_axes)

    @property
    def coordinate_scale(self) -> float:
        """Largest |x|^2 of centred coordinates, summed over axes."""
        return sum(cloud.coordinate_scale for cloud in self._lines)

    @cached_property
    def _lines(self) -> tuple[PointCloud, ...]:
        """One-dimensional clouds, axis by axis."""
        pairs = zip(self.axes, self.target_axes, strict=True)
        return tuple(PointCloud(source, target, self.cost.along(d)) for d, (source, target) in enumerate(pairs))

    @cached_property
    def axis_costs(self) -> kernels.GridCosts:
        """Costs along each axis, shapes (n_d, m_d), as the kernels take them."""
        return kernels.GridCosts(tuple(line.block(slice(None)) for line in self._lines))

    @property
    def _axis_costs(self) -> tuple[Tensor, ...]:
        return self.axis_costs.matrices

    def transpose(self) -> Grid:
        """Sources and targets swapped."""
        return self._with(self.target_axes, self.axes, self.cost.transpose())

    def detach(self) -> Grid:
        """The same grid outside every autograd graph."""
        return self._with(
            [axis.detach() for axis in self.axes], [axis.detach() for axis in self.target_axes], self.cost
        )

    def double(self) -> Grid:
        """The same grid in float64."""
        return self._with(
            [axis.double() for axis in self.axes], [axis.double() for axis in self.target_axes], self.cost
        )

    def for_iteration(self) -> Grid:
        """Itself: the axes' costs are stored already."""
        return self

    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some nodes to all nodes, shape (n, M)."""
        return self.axis_costs.block(rows)

    def formula(self) -> None:
        """None: passes over a grid go axis by axis, which no kernel over pairs can match."""

    def softmin(self, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
        """-epsilon log sum_j exp((h_j - C_ij) / epsilon), one axis after the other, shape (N,); `guess` is not needed."""
        del guess
        return self.axis_costs.softmin(h, epsilon=epsilon)

    def hard_min(self, h: Tensor) -> Tensor:
        """min_j C_ij - h_j, one axis after the other, shape (N,)."""
        return -self.axis_costs.reduce(h[None], lambda lines, d: kernels.axis_max(lines, self._axis_costs[d]))[0]

    def plan_apply(self, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
        """Product of the plan with vectors, shape (N, K); their negative parts, if any, take passes of their own."""
        out = self._plan_sums(p, q, values.clamp(min=0.0), epsilon)
        negative = (values < 0).any(0)
        if negative.any():
            out[:, negative] = out[:, negative] - self._plan_sums(p, q, -values[:, negative].clamp(max=0.0), epsilon)
        return out

    def plan_cost(self, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
        """sum_j P_ij C_ij = sum_d of the plan with axis d's kernel weighted by its costs, shape (N,)."""
        least = [costs.min() for costs in self._axis_costs]  # weights must not be negative: the shift is paid back
        total = _exp_masked((self._log_sums(q[None], epsilon)[0] + p) / epsilon, p) * sum(least)
        for axis, costs in enumerate(self._axis_costs):
            sums = self._log_sums(q[None], epsilon, {axis: costs - least[axis]})[0]
            total = total + _exp_masked((sums + p) / epsilon, p)
        return total

    def conditional_mean(self, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
        """Mean of V under P(j | i), shape (N, K)."""
        least = values.amin(0)  # what is averaged is not negative then
        return least + self._plan_sums(self.softmin(h, epsilon=epsilon), h, values - least, epsilon)

    def product_cost(self, a: Tensor, b: Tensor) -> Tensor:
        """sum_ij a_i C_ij b_j from the marginals of a and b along each axis; O(N + sum_d n_d m_d)."""
        total = torch.zeros((), dtype=self.dtype, device=self.device)
        for costs, (a_line, b_line) in zip(self._axis_costs, self._axis_marginals(a, b), strict=True):
            total = total + a_line @ costs @ b_line
        return total

    def product_square_deviation(self, a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
        """sum_ij a_i (C_ij - centre)^2 b_j, exact from pairs of axes."""
        fold_a, fold_b = a.reshape(self.source_sizes), b.reshape(self.target_sizes)
        total = centre.square() * a.sum() * b.sum() - 2.0 * centre * self.product_cost(a, b)
        for d, costs in enumerate(self._axis_costs):
            a_line, b_line = _line(fold_a, (d,)), _line(fold_b, (d,))
            total = total + a_line @ costs.square() @ b_line
            for e in range(d):
                a_plane, b_plane = _line(fold_a, (e, d)), _line(fold_b, (e, d))
                total = total + 2.0 * torch.sum(a_plane * (self._axis_costs[e] @ b_plane @ costs.T))
        return total.clamp(min=0.0)

    def cost_range(self) -> tuple[float, float]:
        """Smallest and largest C_ij: axes add up."""
        return sum(float(c.min()) for c in self._axis_costs), sum(float(c.max()) for c in self._axis_costs)

    def extend(self, x_new: Tensor) -> PointCloud:
        """The costs from new points, shape (K, D), to the nodes of the target grid."""
        return PointCloud(x_new, self.target_points, self.cost)

    def _axis_marginals(self, a: Tensor, b: Tensor) -> list[tuple[Tensor, Tensor]]:
        fold_a, fold_b = a.reshape(self.source_sizes), b.reshape(self.target_sizes)
        return [(_line(fold_a, (d,)), _line(fold_b, (d,))) for d in range(len(self.axes))]

    def _plan_sums(self, p: Tensor, q: Tensor, values: Tensor, epsilon: float) -> Tensor:
        """Product of the plan with vectors of non-negative entries, shape (M, K) to (N, K)."""
        sums = self._log_sums(q + epsilon * values.T.log(), epsilon)  # (K, N)
        return _exp_masked((sums + p) / epsilon, p).T

    def _log_sums(self, h: Tensor, epsilon: float, weights: Mapping[int, Tensor] = MappingProxyType({})) -> Tensor:
        """epsilon log sum_j w_ij exp((h_j - C_ij) / epsilon), (K, M) to (K, N); weights, if any, by axis."""

        def along(lines: Tensor, axis: int) -> Tensor:
            return kernels.axis_log_sum(lines, self._axis_costs[axis], epsilon=epsilon, weights=weights.get(axis))

        return self.axis_costs.reduce(h, along)

    def _with(self, axes: Sequence[Tensor], target_axes: Sequence[Tensor], cost: AbstractCost) -> Grid:
        grid = object.__new__(Grid)
        grid._set(tuple(axes), tuple(target_axes), cost, self._namespace)
        return grid


def _checked_axes(axes: Sequence[ArrayLike], name: str) -> tuple[Tensor, ...]:
    """Coordinates of each axis as finite vectors of one kind."""
    if isinstance(axes, Tensor) or not isinstance(axes, Sequence) or not axes:
        got = "no axes" if isinstance(axes, Sequence) else type(axes).__name__
        msg = f"`{name}` must be a sequence with one array of coordinates per axis: got {got}. Pass (rows, columns)."
        raise ValueError(msg)
    if len({namespace_of(axis) for axis in axes}) > 1:
        msg = f"`{name}` must come from one library: got both NumPy arrays and tensors. Convert one kind."
        raise TypeError(msg)
    tensors = tuple(check_points(to_tensor(axis, f"{name}[{d}]"), f"{name}[{d}]") for d, axis in enumerate(axes))
    for d, tensor in enumerate(tensors):
        if tensor.shape[1] != 1:
            msg = f"`{name}[{d}]` must be a vector of coordinates: got shape {tuple(tensor.shape)}. Pass one array per axis."
            raise ValueError(msg)
        check_same_array_kind(tensors[0], tensor, (f"{name}[0]", f"{name}[{d}]"))
    return tuple(tensor[:, 0] for tensor in tensors)


def _nodes(axes: Sequence[Tensor]) -> Tensor:
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).reshape(-1, len(axes))


def _line(folded: Tensor, kept: tuple[int, ...]) -> Tensor:
    others = [d for d in range(folded.ndim) if d not in kept]
    return folded.sum(others) if others else folded


def _exp_masked(exponents: Tensor, log_p: Tensor) -> Tensor:
    """exp, exactly zero where the source has no mass."""
    return torch.where(log_p > -torch.inf, exponents.exp(), 0.0)
