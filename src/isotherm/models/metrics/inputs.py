"""Two sets of observations as clouds of vectors in float64."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotherm._arrays import to_tensor
from isotherm._checks import check_points, check_same_features


def vectors(x: Any, name: str, *, minimum: int = 1) -> Tensor:
    """Observations of any shape as rows, float64, detached.

    Args:
        x: Observations, shape (n, *shape).
        name: What the caller calls them.
        minimum: Fewest that will do.

    Returns:
        Shape (n, d).

    Raises:
        ValueError: Too few, or not all finite.

    Example:
        >>> vectors(torch.zeros(3, 8, 8), "x").shape
        torch.Size([3, 64])
    """
    tensor = to_tensor(x, name).detach().to(torch.float64)
    points = check_points(tensor.flatten(1) if tensor.ndim > 1 else tensor, name)
    if len(points) < minimum:
        msg = f"`{name}` must hold at least {minimum} observations: got {len(points)}. Add some, or ask for less."
        raise ValueError(msg)
    return points


def both_vectors(x: Any, y: Any, *, minimum: int = 1) -> tuple[Tensor, Tensor]:
    """Generated and real observations as rows of one space, on the device of the first.

    Args:
        x: The first, shape (n, *shape).
        y: The second, shape (m, *shape).
        minimum: Fewest on each side that will do.

    Returns:
        Shapes (n, d) and (m, d).

    Raises:
        ValueError: Different numbers of entries; too few; not all finite.
    """
    first, second = vectors(x, "x", minimum=minimum), vectors(y, "y", minimum=minimum)
    check_same_features(first, second)
    return first, second.to(first.device)
