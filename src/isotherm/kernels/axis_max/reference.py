"""Largest difference along one axis in plain torch: the definition every faster version is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.axes import by_lines

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def axis_max(h: Tensor, costs: Tensor) -> Tensor:
    """max_j h_ojk - C_ij; definition and arguments: `isotherm.kernels.axis_max`."""
    return by_lines(h, costs, lambda lines: (lines[:, None, :] - costs).amax(-1))
