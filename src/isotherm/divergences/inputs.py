"""What a loss is given: one problem, a batch of equal sizes, or a list of any sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, to_tensor
from isotherm._checks import check_equal_masses, check_weights
from isotherm.divergences.term import Number, Term, number
from isotherm.geometry import AbstractCost, AbstractGeometry, Grid, PointCloud, Relative
from isotherm.solvers.solve import as_geometry

CostLike = AbstractCost | str | Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two weighted sides.

    Attributes:
        geometry: Costs between them, shape (N, M).
        a: Weights of the sources, shape (N,).
        b: Weights of the targets, shape (M,).
    """

    geometry: AbstractGeometry
    a: Tensor
    b: Tensor

    def term(self, epsilon: Number | Relative, rho_a: Number, rho_b: Number) -> Term:
        """The transport between them; balanced, b takes the mass of a, which must be its own to 1e-5.

        A temperature relative to the cost is a constant of the derivative.
        """
        a, b = self.a, self.b
        if math.isinf(number(rho_a)) and math.isinf(number(rho_b)):
            b = b * (a.sum() / b.sum())
        if isinstance(epsilon, Relative):
            epsilon = epsilon.resolve(self.geometry.detach(), a.detach(), b.detach())
        return Term(geometry=self.geometry, a=a, b=b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b)

    def itself(self) -> tuple[Pair, Pair]:
        """The sources against themselves, and the targets; a TypeError where only costs between them are known."""
        match self.geometry:
            case PointCloud(x=x, y=y, cost=cost):
                own = PointCloud(x, x, cost), PointCloud(y, y, cost)
            case Grid():
                own = _own_grids(self.geometry)
            case _:
                msg = (
                    f"Points are needed, whose costs to each other are known: got {self.geometry}. Pass points with "
                    f"a cost, or the three matrices to entropic_value."
                )
                raise TypeError(msg)
        return Pair(own[0], self.a, self.a), Pair(own[1], self.b, self.b)


@dataclass(frozen=True, eq=False)
class Pairs:
    """The problems of one call.

    Attributes:
        pairs: One by one.
        is_batch: Whether there is an axis of problems, so that results have one too.
        namespace: Library of the arrays given.
    """

    pairs: tuple[Pair, ...]
    is_batch: bool
    namespace: Namespace

    def export(self, values: Sequence[Tensor]) -> Any:
        """A scalar, or shape (B,) for a batch, in the user's library."""
        return self.namespace.export(torch.stack(list(values)) if self.is_batch else values[0])


def pairs_of(x: Any, y: Any, a: Any, b: Any, cost: CostLike | None, *, is_balanced: bool) -> Pairs:
    """The problems behind the arguments of a loss.

    Args:
        x: Sources, shape (N, D) or (N,); a batch (B, N, D); a list of B clouds; or a geometry.
        y: Targets, likewise; None with a geometry.
        a: Weights of the sources, shape (N,) or (B, N), or a list; None for equal ones.
        b: Weights of the targets.
        cost: Cost between points; squared Euclidean when left out.
        is_balanced: Whether both sides must have one mass.

    Returns:
        The problems.

    Raises:
        ValueError: Numbers of problems differ; or bad points or weights.
        TypeError: A batch against a single cloud.
    """
    sides = _split(x, "x"), _split(y, "y")
    if (sides[0] is None) != (sides[1] is None) and y is not None:
        msg = f"`x` and `y` must both be single clouds or both be batches: got {_shape(x)} and {_shape(y)}. Use shape (1, N, D) for a batch of one."
        raise TypeError(msg)
    if sides[0] is None:
        pair = _pair(x, y, a, b, cost, is_balanced=is_balanced)
        return Pairs((pair,), is_batch=False, namespace=pair.geometry.namespace)
    xs, ys = sides[0], sides[1] if sides[1] is not None else [None] * len(sides[0])
    a_s, b_s = _split_weights(a, "a", len(xs)), _split_weights(b, "b", len(xs))
    if len(xs) != len(ys) or not xs:
        msg = f"`x` and `y` must hold as many problems, at least one: got {len(xs)} and {len(ys)}. Pair them first."
        raise ValueError(msg)
    each = tuple(_pair(*parts, cost, is_balanced=is_balanced) for parts in zip(xs, ys, a_s, b_s, strict=True))
    return Pairs(each, is_batch=True, namespace=each[0].geometry.namespace)


def _pair(x: Any, y: Any, a: Any, b: Any, cost: CostLike | None, *, is_balanced: bool) -> Pair:
    geometry = as_geometry(x, y, cost)
    a, b = (_weights(w, name, geometry, side) for w, name, side in ((a, "a", 0), (b, "b", 1)))
    if is_balanced:
        check_equal_masses(a.detach(), b.detach())
    return Pair(geometry, a, b)


def _weights(weights: ArrayLike | None, name: str, geometry: AbstractGeometry, side: int) -> Tensor:
    """Weights of one side in the geometry's dtype, equal when left out."""
    size = geometry.shape[side]
    if weights is None:
        return torch.full((size,), 1.0 / size, dtype=geometry.dtype, device=geometry.device)
    tensor = to_tensor(weights, name, dtype=geometry.dtype, device=geometry.device)
    if isinstance(geometry, Grid) and tensor.shape == (geometry.source_sizes, geometry.target_sizes)[side]:
        tensor = tensor.reshape(-1)  # an image
    check_weights(tensor.detach(), name, size)
    return tensor


def _split(points: Any, name: str) -> list[Any] | None:
    """The members of a batch, or None for a single cloud or geometry."""
    if isinstance(points, list | tuple):
        if not points:
            msg = f"`{name}` must hold at least one problem: got an empty list. Pass clouds of shape (N, D)."
            raise ValueError(msg)
        is_ragged = all(
            isinstance(p, AbstractGeometry) or (isinstance(p, Tensor | np.ndarray) and p.ndim > 0) for p in points
        )
        return list(points) if is_ragged else None
    if isinstance(points, Tensor | np.ndarray) and points.ndim == 3:
        return list(points)
    return None


def _split_weights(weights: Any, name: str, size: int) -> list[Any]:
    if weights is None:
        return [None] * size
    if len(weights) != size or (isinstance(weights, Tensor | np.ndarray) and weights.ndim != 2):
        msg = f"`{name}` must hold weights for each of the {size} problems, shape ({size}, N): got {_shape(weights)}. Expand them, or pass a list."
        raise ValueError(msg)
    return list(weights)


def _shape(array: Any) -> str:
    return (
        f"shape {tuple(array.shape)}" if hasattr(array, "shape") else f"{type(array).__name__} of length {len(array)}"
    )


def _own_grids(grid: Grid) -> tuple[Grid, Grid]:
    """The grid of the sources to itself, and that of the targets."""
    return Grid(grid.axes, cost=grid.cost), Grid(grid.target_axes, cost=grid.cost)
