"""Equal points as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from isotherm._arrays import namespace_of, to_tensor
from isotherm._checks import check_points, check_weights

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm._arrays import ArrayLike, Namespace


@dataclass(frozen=True, eq=False, kw_only=True)
class MergedPoints:
    """The distinct points of a cloud with the weights of all their copies.

    A potential is a function of the point alone, and the plan gives equal points equal conditional laws. So a problem
    on the distinct points has the same value, the same potentials and the same map as the one on all of them, with fewer pairs.

    Attributes:
        distinct: The points that differ, shape (K, D), in lexicographic order.
        masses: Sum of the weights of each one's copies, shape (K,).
        index: Which of them each point of the cloud is, shape (N,), int64.
        library: Library of the cloud; results are exported to it.

    Example:
        >>> merged = merge_equal_points(torch.tensor([[3.0], [1.0], [3.0]]))
        >>> merged.points.flatten(), merged.weights
        (tensor([1., 3.]), tensor([0.3333, 0.6667]))
        >>> merged.expand(torch.tensor([10.0, 30.0]))
        tensor([30., 10., 30.])
    """

    distinct: Tensor
    masses: Tensor
    index: Tensor
    library: Namespace

    @property
    def points(self) -> Any:
        """The distinct points, shape (K, D)."""
        return self.library.export(self.distinct)

    @property
    def weights(self) -> Any:
        """Their weights, shape (K,)."""
        return self.library.export(self.masses)

    def expand(self, values: ArrayLike) -> Any:
        """Values of the distinct points, such as a potential or a map, for every point of the cloud.

        Args:
            values: Shape (K,) or (K, L).

        Returns:
            Shape (N,) or (N, L).

        Raises:
            ValueError: Not one row per distinct point.
        """
        tensor = to_tensor(values, "values")
        if tensor.shape[:1] != self.masses.shape:
            msg = (
                f"`values` must have one row per distinct point, {len(self.masses)}: got shape {tuple(tensor.shape)}. "
                f"Pass what was computed on the merged points."
            )
            raise ValueError(msg)
        return self.library.export(tensor[self.index])


def merge_equal_points(points: ArrayLike, weights: ArrayLike | None = None) -> MergedPoints:
    """Merge exactly equal points, such as pixels of one colour; time O(N log N).

    Args:
        points: Shape (N, D) or (N,), finite.
        weights: Shape (N,), non-negative; 1/N each when left out.

    Returns:
        The distinct points and the way back.

    Raises:
        ValueError: Not finite, weights of the wrong length, negative or all zero.
        TypeError: Not numbers.
    """
    cloud = check_points(to_tensor(points, "points"), "points")
    if weights is None:
        mass = torch.full(cloud.shape[:1], 1.0 / len(cloud), dtype=torch.float64, device=cloud.device)
    else:
        given = to_tensor(weights, "weights", dtype=cloud.dtype, device=cloud.device)
        mass = check_weights(given, "weights", len(cloud)).double()
    distinct, index = torch.unique(cloud, dim=0, return_inverse=True)
    total = torch.zeros(len(distinct), dtype=torch.float64, device=cloud.device).index_add_(0, index, mass)
    return MergedPoints(distinct=distinct, masses=total.to(cloud.dtype), index=index, library=namespace_of(points))
