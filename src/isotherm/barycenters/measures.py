"""The measures to average, as tensors of one kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, namespace_of, to_tensor
from isotherm._checks import (
    check_equal_masses,
    check_points,
    check_same_array_kind,
    check_same_features,
    check_weights,
)

if TYPE_CHECKING:
    from isotherm.geometry import Grid


@dataclass(frozen=True, eq=False)
class Measures:
    """Measures with a share each; those with share zero are left out.

    Attributes:
        points: Coordinates of each, shapes (M_k, D); empty on a grid, whose nodes they share.
        masses: Weights of each, shapes (M_k,), of one total.
        shares: Weight of each measure in the mean, positive, sum one.
        namespace: Library they came in.
    """

    points: tuple[Tensor, ...]
    masses: tuple[Tensor, ...]
    shares: tuple[float, ...]
    namespace: Namespace

    @property
    def total(self) -> Tensor:
        """Mass of every measure, a scalar."""
        return self.masses[0].sum(dtype=torch.float64)


def on_grid(measures: Sequence[ArrayLike] | ArrayLike, weights: ArrayLike | None, grid: Grid) -> Measures:
    """Images on a grid.

    Args:
        measures: K images of the grid's sizes, or K vectors of its length.
        weights: K shares; equal when left out.
        grid: The grid of the images.

    Returns:
        The measures, as vectors.
    """
    images = [
        to_tensor(image, f"measures[{k}]", dtype=grid.dtype, device=grid.device) for k, image in enumerate(measures)
    ]
    _check_some(images)
    masses = [
        check_weights(image.reshape(-1) if image.shape == grid.target_sizes else image, f"measures[{k}]", grid.shape[1])
        for k, image in enumerate(images)
    ]
    return with_shares([], masses, weights, grid.namespace)


def on_points(measures: Sequence[ArrayLike], weights: ArrayLike | None) -> Measures:
    """Clouds, with or without weights.

    Args:
        measures: K clouds of shape (M_k, D), or pairs of a cloud and its weights, shape (M_k,).
        weights: K shares; equal when left out.

    Returns:
        The measures; clouds without weights get equal ones of total mass one.
    """
    points, masses = [], []
    for k, measure in enumerate(measures):
        name = f"measures[{k}]"
        cloud, mass = measure if isinstance(measure, tuple) else (measure, None)
        cloud = check_points(to_tensor(cloud, name), name)
        size = cloud.shape[0]
        if mass is None:
            mass = cloud.new_full((size,), 1.0 / size)
        mass = to_tensor(mass, f"weights of {name}", dtype=cloud.dtype, device=cloud.device)
        masses.append(check_weights(mass, f"weights of {name}", size))
        points.append(cloud)
        check_same_features(points[0], cloud, ("measures[0]", name))
        check_same_array_kind(points[0], cloud, ("measures[0]", name))
    _check_some(points)
    first = measures[0][0] if isinstance(measures[0], tuple) else measures[0]
    return with_shares(points, masses, weights, namespace_of(first))


def _check_some(measures: list[Tensor]) -> None:
    if not measures:
        msg = "`measures` must hold at least one measure: got none. Pass a list of clouds, or of images with support=Grid(...)."
        raise ValueError(msg)


def with_shares(
    points: list[Tensor], masses: list[Tensor], weights: ArrayLike | None, namespace: Namespace
) -> Measures:
    """Measures of one total, those without a share left out.

    Args:
        points: Coordinates of each, shapes (M_k, D); empty where they share a support.
        masses: Weights of each, shapes (M_k,), of equal total up to rounding.
        weights: K shares; equal when None.
        namespace: Library they came in.

    Returns:
        The measures.
    """
    for mass in masses[1:]:
        check_equal_masses(masses[0], mass)
    count = len(masses)
    shares = torch.ones(count).double() if weights is None else to_tensor(weights, "weights", dtype=torch.float64)
    shares = check_weights(shares.cpu(), "weights", count)
    shares = shares / shares.sum()
    kept = [k for k in range(count) if shares[k] > 0]
    total = masses[kept[0]].sum(dtype=torch.float64)
    equal = [masses[k] * (total / masses[k].sum(dtype=torch.float64)).to(masses[k].dtype) for k in kept]
    return Measures(
        points=tuple(points[k] for k in kept) if points else (),
        masses=tuple(equal),
        shares=tuple(float(shares[k]) for k in kept),
        namespace=namespace,
    )
