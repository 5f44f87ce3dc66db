"""Costs between two clouds of points, never stored."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from isotherm import kernels
from isotherm._arrays import ArrayLike, Namespace, namespace_of, to_tensor
from isotherm._checks import (
    available_memory,
    check_finite,
    check_points,
    check_same_array_kind,
    check_same_features,
    check_squares_fit,
)
from isotherm.geometry.abstract import AbstractGeometry, AbstractPairwise
from isotherm.geometry.cost_matrix import CACHED_ENTRIES, CostMatrix, stored_costs
from isotherm.geometry.costs import (
    AbstractCost,
    CallableCost,
    Cosine,
    Euclidean,
    HalfSquaredEuclidean,
    NegativeDot,
    SquaredEuclidean,
    SumOfAxes,
    as_cost,
    directions,
)

CHEAP_FEATURES = 32  # up to which computing a squared distance takes hardly longer than reading it from memory
DEAR_BYTES = 1 << 30  # of costs that are worth keeping
CENTRED_NUMBERS = 1 << 17  # that are in float64 at once while clouds are centred


@dataclass(frozen=True, eq=False, init=False, repr=False)
class PointCloud(AbstractPairwise):
    """Costs c(x_i, y_j) between two clouds; memory O(N + M), and at most a GiB during a solve (see `for_iteration`).

    Clouds are centred together before any arithmetic when the cost allows it, and squared distances come from
    differences up to 8 dimensions, so that points far from the origin keep their digits.

    Args:
        x: Sources, shape (N, D) or (N,), finite; float32 or float64, NumPy or torch.
        y: Targets, shape (M, D) or (M,), same library, dtype and device.
        cost: A cost object, a name ("sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot") or a
            function of two clouds.

    Raises:
        ValueError: Empty clouds, NaN or infinite entries, different numbers of features, unknown cost name.
        TypeError: Not numbers, or the clouds differ in library, dtype or device.

    Example:
        >>> cloud = PointCloud([[0.0], [1.0]], [[0.0], [1.0], [2.0]], cost="euclidean")
        >>> cloud
        PointCloud(2 x 3 points in 1-D, Euclidean(), torch.float64, cpu)
        >>> cloud.block(slice(0, 1))
        tensor([[0., 1., 2.]], dtype=torch.float64)
    """

    x: Tensor  # (N, D)
    y: Tensor  # (M, D)
    cost: AbstractCost
    _namespace: Namespace
    _centre: Tensor  # (D,), float64

    def __init__(
        self,
        x: ArrayLike,
        y: ArrayLike,
        cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor] = "sqeuclidean",
    ) -> None:
        if namespace_of(x) is not namespace_of(y):
            msg = (
                f"`x` and `y` must come from one library: got {type(x).__name__} and {type(y).__name__}. "
                f"Convert one with torch.as_tensor or .numpy()."
            )
            raise TypeError(msg)
        namespace = namespace_of(x)
        x, y = (check_points(to_tensor(points, name), name) for points, name in ((x, "x"), (y, "y")))
        check_same_array_kind(x, y)
        check_same_features(x, y)
        total = x.detach().sum(0, dtype=torch.float64) + y.detach().sum(0, dtype=torch.float64)
        self._set(x, y, as_cost(cost), namespace, total / (x.shape[0] + y.shape[0]))
        check_squares_fit(self.coordinate_scale, self.dtype)
        if isinstance(self.cost, CallableCost):
            check_finite(self.cost.pairwise(x[:1], y[:1]), "cost function's value")

    def _set(self, *values: object) -> None:
        """Fill the fields, in their order."""
        for name, value in zip(self.__match_args__, values, strict=True):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        sources, targets = self.shape
        return (
            f"PointCloud({sources} x {targets} points in {self.x.shape[1]}-D, {self.cost}, {self.dtype}, {self.device})"
        )

    @property
    def namespace(self) -> Namespace:
        """Library of the arrays it was made from."""
        return self._namespace

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.x.shape[0], self.y.shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the points."""
        return self.x.dtype

    @property
    def device(self) -> torch.device:
        """Device of the points."""
        return self.x.device

    @property
    def source_points(self) -> Tensor:
        """x, shape (N, D)."""
        return self.x

    @property
    def target_points(self) -> Tensor:
        """y, shape (M, D)."""
        return self.y

    @cached_property
    def coordinate_scale(self) -> float:
        """Largest |x|^2 after centring."""
        return max(float(torch.linalg.vector_norm(points.detach(), dim=1).max()) for points in self._centred) ** 2

    @cached_property
    def _centred(self) -> tuple[Tensor, Tensor]:
        """Both clouds minus the centre, subtracted in float64 where that is exact for float32 points."""
        if not self.cost.is_translation_invariant:
            return self.x, self.y
        x = self._minus_centre(self.x)
        return x, x if self.y is self.x else self._minus_centre(self.y)

    def _minus_centre(self, points: Tensor) -> Tensor:
        """Points minus the centre, in float64 as long as they are in cache."""
        rows = max(1, CENTRED_NUMBERS // points.shape[1])
        return torch.cat([(part - self._centre).to(self.dtype) for part in points.split(rows)])

    def transpose(self) -> PointCloud:
        """Sources and targets swapped; made once, so that its cached costs are too."""
        if self.x is self.y and not isinstance(self.cost, CallableCost | SumOfAxes):  # the others are symmetric
            return self
        return self._swapped

    @cached_property
    def _swapped(self) -> PointCloud:
        swapped = self._with(self.y, self.x, self.cost.transpose())
        vars(swapped)["_origin"] = weakref.ref(self)  # whose costs it may share
        return swapped

    def detach(self) -> PointCloud:
        """The same points outside every autograd graph; itself where there is none."""
        if not (self.x.requires_grad or self.y.requires_grad):
            return self
        x = self.x.detach()
        return self._with(x, x if self.y is self.x else self.y.detach(), self.cost)

    def double(self) -> PointCloud:
        """The same points in float64."""
        if self.dtype == torch.float64:
            return self
        x = self.x.double()
        return self._with(x, x if self.y is self.x else self.y.double(), self.cost)

    def for_iteration(self) -> AbstractGeometry:
        """Costs kept in memory when there are at most 4 million of them, else itself.

        Costs which take longer to compute than to read, of more than 32 features or of no known formula, are kept up
        to a GiB, an eighth of the free memory at most, for as long as somebody uses them.
        """
        entries = self.shape[0] * self.shape[1]
        if entries <= CACHED_ENTRIES:
            return self._cached_costs
        is_dear = self.x.shape[1] > CHEAP_FEATURES or self.formula() is None
        room = min(DEAR_BYTES, available_memory(self.device) // 8)
        return self._shared_costs() if is_dear and entries * self.x.element_size() <= room else self

    @cached_property
    def _cached_costs(self) -> CostMatrix:
        other = _alive(self, "_origin") or self.__dict__.get("_swapped")
        if other is not None and "_cached_costs" in other.__dict__:  # reading is cheaper than computing
            return stored_costs(other._cached_costs.matrix.T.contiguous(), self.namespace)
        return stored_costs(kernels.all_costs(self), self.namespace)

    def _shared_costs(self) -> CostMatrix:
        """Stored costs that are there while somebody holds them; those of the swapped cloud are the same, transposed."""
        if (costs := _alive(self, "_costs")) is not None:
            return costs
        other = _alive(self, "_origin") or self.__dict__.get("_swapped")
        if other is not None and (costs := _alive(other, "_costs")) is not None:
            return costs.transpose()
        costs = stored_costs(kernels.all_costs(self), self.namespace)
        vars(self)["_costs"] = weakref.ref(costs)
        return costs

    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some sources to all targets, shape (n, M)."""
        x, y = self._centred
        return self.cost.pairwise(x[rows], y)

    def formula(self) -> kernels.Formula | None:
        """The cost on centred points (directions, for the cosine); None for powers of the distance and functions."""
        # cached_property holds a lock in Python 3.11, which torch.compile (2.13) does not enter.
        return self._make_formula() if torch.compiler.is_compiling() else self._formula

    @cached_property
    def _formula(self) -> kernels.Formula | None:
        return self._make_formula()

    def _make_formula(self) -> kernels.Formula | None:
        x, y = self._centred
        match self.cost:
            case SquaredEuclidean():
                return kernels.Formula("sqeuclidean", x, y)
            case HalfSquaredEuclidean():
                return kernels.Formula("sqeuclidean", x, y, scale=0.5)
            case Euclidean():
                return kernels.Formula("euclidean", x, y)
            case NegativeDot():
                return kernels.Formula("dot", x, y, scale=-1.0)
            case Cosine():
                return kernels.Formula("dot", directions(x), directions(y), scale=-1.0, offset=1.0)
        return None

    def extend(self, x_new: Tensor) -> PointCloud:
        """The costs from new sources, shape (K, D), to the same targets."""
        check_same_array_kind(x_new, self.y, ("x_new", "y"))
        check_same_features(x_new, self.y, ("x_new", "y"))
        return self._with(x_new, self.y, self.cost)

    def plan_marginals(self, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
        """See `isotherm.kernels.plan_marginals`; costs are kept for it only where they are dear."""
        is_dear = self.x.shape[1] > CHEAP_FEATURES or self.formula() is None
        return kernels.plan_marginals(self.for_iteration() if is_dear else self, p, q, epsilon=epsilon)

    def plan_cost(self, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
        """See `isotherm.kernels.plan_cost`."""
        return kernels.plan_cost(self, p, q, epsilon=epsilon)

    def product_square_deviation(self, a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
        """sum_ij a_i (C_ij - centre)^2 b_j; see `isotherm.kernels.product_sum`."""
        return kernels.product_sum(self, a, b, centre=centre)

    def product_cost(self, a: Tensor, b: Tensor) -> Tensor:
        """sum_ij a_i C_ij b_j; from moments in O((N + M) D) for quadratic costs, else a pass over all pairs."""
        x, y = self._centred
        if isinstance(self.cost, NegativeDot):
            return -(a @ x) @ (b @ y)
        if isinstance(self.cost, SquaredEuclidean | HalfSquaredEuclidean):
            scale = 0.5 if isinstance(self.cost, HalfSquaredEuclidean) else 1.0
            squares = (a @ x.square().sum(1)) * b.sum() + a.sum() * (b @ y.square().sum(1))
            return scale * (squares - 2.0 * (a @ x) @ (b @ y)).clamp(min=0.0)
        return kernels.product_sum(self, a, b)

    def _with(self, x: Tensor, y: Tensor, cost: AbstractCost) -> PointCloud:
        """A geometry on points that were checked before, around the same centre."""
        geometry = object.__new__(PointCloud)
        geometry._set(x, y, cost, self._namespace, self._centre)
        return geometry


def _alive(owner: PointCloud, name: str) -> Any:
    """What a weak reference among the attributes points to; None where there is none any more."""
    reference = owner.__dict__.get(name)
    return None if reference is None else reference()
