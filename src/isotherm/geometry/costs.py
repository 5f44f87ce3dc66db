"""Ground costs: what one unit of mass pays to go from x to y."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_positive
from isotherm.kernels.pairs import distances, safe_power, squared_distances


class AbstractCost(ABC):
    """A cost between points; subclasses are frozen settings without state."""

    name: ClassVar[str]
    """The name under which the cost can be asked for."""

    is_translation_invariant: ClassVar[bool]
    """Whether c(x + t, y + t) = c(x, y); then clouds are centred before any arithmetic."""

    is_separable: ClassVar[bool]
    """Whether c is a sum over coordinates, c(x, y) = sum_d c_1(x_d, y_d); required on grids."""

    @abstractmethod
    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs between x (n, D) and y (m, D), shape (n, m). Differentiable in both."""

    def along(self, axis: int) -> AbstractCost:
        """The part that a separable cost puts on one coordinate, c_1 of a cloud with D = 1."""
        del axis
        return self

    def transpose(self) -> AbstractCost:
        """The cost seen from the targets, c(y, x); every named cost is symmetric."""
        return self


@dataclass(frozen=True)
class SquaredEuclidean(AbstractCost):
    """Squared distance, c(x, y) = |x - y|^2. Its transport value is the squared Wasserstein-2 distance.

    Example:
        >>> SquaredEuclidean().pairwise(torch.zeros(1, 2), torch.ones(1, 2))
        tensor([[2.]])
    """

    name = "sqeuclidean"
    is_translation_invariant = True
    is_separable = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), in squared units of the points."""
        return squared_distances(x, y)


@dataclass(frozen=True)
class HalfSquaredEuclidean(AbstractCost):
    """Half the squared distance, c(x, y) = |x - y|^2 / 2.

    Example:
        >>> HalfSquaredEuclidean().pairwise(torch.zeros(1, 2), torch.ones(1, 2))
        tensor([[1.]])
    """

    name = "half_sqeuclidean"
    is_translation_invariant = True
    is_separable = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), in squared units of the points."""
        return squared_distances(x, y) * 0.5


@dataclass(frozen=True)
class Euclidean(AbstractCost):
    """Distance, c(x, y) = |x - y|; its gradient at coincident points is zero, never NaN.

    Example:
        >>> Euclidean().pairwise(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
    """

    name = "euclidean"
    is_translation_invariant = True
    is_separable = False

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), in units of the points."""
        return distances(x, y)


@dataclass(frozen=True)
class Manhattan(AbstractCost):
    """Sum of the coordinates' distances, c(x, y) = sum_d |x_d - y_d|; its gradient at equal coordinates is zero.

    Example:
        >>> Manhattan().pairwise(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
        tensor([[7.]])
    """

    name = "manhattan"
    is_translation_invariant = True
    is_separable = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), in units of the points."""
        return sum(((x[:, d, None] - y[:, d]).abs() for d in range(x.shape[1])), start=x.new_zeros(()))


@dataclass(frozen=True)
class EuclideanPower(AbstractCost):
    """Power of the distance, c(x, y) = |x - y|^p, p > 0.

    Attributes:
        p: The exponent. 2 equals `SquaredEuclidean`, 1 equals `Euclidean`.

    Example:
        >>> EuclideanPower(3).pairwise(torch.zeros(1, 1), torch.full((1, 1), 2.0))
        tensor([[8.]])
    """

    p: float

    name = "euclidean_power"
    is_translation_invariant = True
    is_separable = False

    def __post_init__(self) -> None:
        check_positive(self.p, "p")

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), in units of the points to the power p."""
        if self.p >= 2:
            return squared_distances(x, y).pow(self.p / 2)
        return safe_power(distances(x, y), self.p)


@dataclass(frozen=True)
class Cosine(AbstractCost):
    """One minus the cosine of the angle, c(x, y) = 1 - x.y / (|x| |y|), in [0, 2].

    A zero vector has no direction; it is at cost 1 from everything.

    Example:
        >>> Cosine().pairwise(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([[1.]])
    """

    name = "cosine"
    is_translation_invariant = False
    is_separable = False

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), no unit."""
        return 1.0 - directions(x) @ directions(y).T


@dataclass(frozen=True)
class NegativeDot(AbstractCost):
    """Negative inner product, c(x, y) = -x.y: the same plans as |x - y|^2 / 2 in balanced transport.

    Example:
        >>> NegativeDot().pairwise(torch.ones(1, 3), torch.ones(1, 3))
        tensor([[-3.]])
    """

    name = "negative_dot"
    is_translation_invariant = False
    is_separable = True

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), in squared units of the points."""
        return -(x @ y.T)


@dataclass(frozen=True)
class CallableCost(AbstractCost):
    """A cost given by a function of two clouds.

    Attributes:
        function: Maps x (n, D) and y (m, D) to costs (n, m), a tensor of the same dtype and device. It is called on
            blocks of rows, so c(x_i, y_j) must depend on that pair alone.

    Example:
        >>> CallableCost(lambda x, y: torch.cdist(x, y, p=1.0)).pairwise(torch.zeros(1, 2), torch.ones(1, 2))
        tensor([[2.]])
    """

    function: Callable[[Tensor, Tensor], Tensor]

    name = "callable"
    is_translation_invariant = False
    is_separable = False

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m), after a check that the function returned them in the points' dtype."""
        costs = self.function(x, y)
        if not isinstance(costs, Tensor) or costs.dtype != x.dtype or costs.device != x.device:
            got = f"{costs.dtype} on {costs.device}" if isinstance(costs, Tensor) else type(costs).__name__
            msg = f"The cost function must return a {x.dtype} tensor on {x.device}: got {got}. Compute it with torch operations."
            raise TypeError(msg)
        if costs.shape != (x.shape[0], y.shape[0]):
            msg = (
                f"The cost function must return all pairs, shape {(x.shape[0], y.shape[0])}: got {tuple(costs.shape)}. "
                f"Broadcast x[:, None] against y[None]."
            )
            raise ValueError(msg)
        return costs

    def transpose(self) -> CallableCost:
        """The function with its arguments swapped."""
        return CallableCost(lambda y, x: self.function(x, y).T)


@dataclass(frozen=True, init=False)
class SumOfAxes(AbstractCost):
    """A cost of its own on each coordinate, c(x, y) = sum_d c_d(x_d, y_d); what grids with unlike axes need.

    Args:
        *costs: The cost on each coordinate: an object, a name, or a function of two clouds with D = 1.

    Example:
        >>> circle = lambda x, y: 1.0 - torch.cos(x - y.T)  # an angle, then a height
        >>> SumOfAxes(circle, "sqeuclidean").pairwise(torch.zeros(1, 2), torch.tensor([[torch.pi, 2.0]]))
        tensor([[6.]])
    """

    costs: tuple[AbstractCost, ...]

    name = "sum_of_axes"
    is_translation_invariant = False
    is_separable = True

    def __init__(self, *costs: AbstractCost | str | Callable[[Tensor, Tensor], Tensor]) -> None:
        object.__setattr__(self, "costs", tuple(as_cost(cost) for cost in costs))

    def pairwise(self, x: Tensor, y: Tensor) -> Tensor:
        """All costs, shape (n, m); a ValueError if there are not as many coordinates as costs."""
        if x.shape[1] != len(self.costs):
            msg = f"`SumOfAxes` needs one cost for each coordinate: got {len(self.costs)} for {x.shape[1]}. Add or drop some."
            raise ValueError(msg)
        parts = (cost.pairwise(x[:, d : d + 1], y[:, d : d + 1]) for d, cost in enumerate(self.costs))
        return sum(parts, start=x.new_zeros(()))

    def along(self, axis: int) -> AbstractCost:
        """The cost of that coordinate."""
        return self.costs[axis]

    def transpose(self) -> SumOfAxes:
        """Each coordinate's cost seen from the targets."""
        return SumOfAxes(*(cost.transpose() for cost in self.costs))


NAMED_COSTS: dict[str, AbstractCost] = {
    cost.name: cost
    for cost in (SquaredEuclidean(), HalfSquaredEuclidean(), Euclidean(), Manhattan(), Cosine(), NegativeDot())
}


def as_cost(cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor]) -> AbstractCost:
    """The cost object behind a name, a function, or itself.

    Args:
        cost: A cost, one of `NAMED_COSTS`, or a function of two clouds.

    Returns:
        The cost.

    Raises:
        ValueError: Unknown name; the nearest known one is suggested.
        TypeError: Neither a cost, a name nor a function.

    Example:
        >>> as_cost("euclidean")
        Euclidean()
    """
    if isinstance(cost, AbstractCost):
        return cost
    if isinstance(cost, str):
        return NAMED_COSTS[check_choice(cost, "cost", NAMED_COSTS)]
    if callable(cost) and not isinstance(cost, type):
        return CallableCost(cost)
    msg = f"`cost` must be a cost object, a name or a function of (x, y): got {cost!r}. Pass SquaredEuclidean(), say."
    raise TypeError(msg)


def directions(points: Tensor) -> Tensor:
    """Points scaled to unit length, by their largest coordinate first so that no square overflows; zero stays zero."""
    largest = points.detach().abs().amax(dim=1, keepdim=True)
    points = points / torch.where(largest > 0, largest, 1.0)
    lengths = points.norm(dim=1, keepdim=True)
    return points / torch.where(lengths > 0, lengths, 1.0)
