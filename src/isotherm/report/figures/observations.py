"""Observations of any shape as something to look at: pictures, points in the plane, or shadows on two axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from isotherm.report.style import frameless

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAP = 1  # pixels between two pictures of a sheet
CHANNELS = (1, 3)


def are_pictures(shape: Sequence[int]) -> bool:
    """Whether observations of this shape are shown as pictures: (H, W), (1, H, W) or (3, H, W)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in CHANNELS)


def sheet(x: Tensor, *, columns: int, scale: tuple[float, float]) -> np.ndarray:
    """Pictures side by side as one.

    Args:
        x: Shape (n, H, W), (n, 1, H, W) or (n, 3, H, W).
        columns: Pictures in a row.
        scale: What is black, and what is white.

    Returns:
        Colours from 0 to 1, shape (height, width, 3); paper between the pictures.

    Example:
        >>> sheet(torch.zeros(3, 4, 5), columns=2, scale=(0.0, 1.0)).shape
        (9, 11, 3)
    """
    x = x.detach().float().cpu()
    x = x[..., None] if x.ndim == 3 else x.movedim(1, -1)  # (n, H, W, 1 or 3)
    low, high = scale
    shades = ((x - low) / max(high - low, 1e-12)).clamp(0.0, 1.0).expand(*x.shape[:3], 3).numpy()
    rows, (height, width) = -(-len(shades) // columns), shades.shape[1:3]
    out = np.ones((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), dtype=np.float32)
    for k, tile in enumerate(shades):
        top, left = (k // columns) * (height + GAP), (k % columns) * (width + GAP)
        out[top : top + height, left : left + width] = tile
    return out


def draw_pictures(axes: Axes, x: Tensor, *, scale: tuple[float, float], columns: int | None = None) -> None:
    """A sheet of pictures on a panel without frame.

    Args:
        axes: The panel.
        x: As for `sheet`.
        scale: What is black, and what is white.
        columns: Pictures in a row; as many as there are rows when left out.
    """
    frameless(axes)
    axes.imshow(sheet(x, columns=columns or math.ceil(math.sqrt(len(x))), scale=scale), interpolation="nearest")


class Shadow:
    """Observations seen along two axes: their own where there are two, else the first principal axes of some of them.

    Args:
        x: Those that choose the axes, shape (n, *shape).

    Example:
        >>> Shadow(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)))(torch.zeros(3, 4)).shape
        (3, 2)
    """

    def __init__(self, x: Tensor) -> None:
        flat = x.detach().flatten(1).double().cpu()
        self.size = flat.shape[1]
        self.mean = flat.mean(0) if self.size > 2 else torch.zeros(self.size, dtype=torch.float64)
        axes = torch.linalg.svd(flat - self.mean, full_matrices=False).Vh[:2] if self.size > 2 else torch.eye(self.size)
        self.axes = axes.double()

    def __call__(self, x: Tensor) -> np.ndarray:
        """Shape (n, 2); a second coordinate of zero where there is only one."""
        seen = ((x.detach().flatten(1).double().cpu() - self.mean) @ self.axes.T).numpy()
        return np.pad(seen, ((0, 0), (0, 2 - seen.shape[1])))

    def names(self) -> tuple[str, str]:
        """Labels of the two axes."""
        return ("first principal axis", "second principal axis") if self.size > 2 else ("", "")


def draw_points(axes: Axes, points: np.ndarray, *, colour: str, label: str | None = None, size: float = 9.0) -> None:
    """Points on a panel, on equal scales.

    Args:
        axes: The panel.
        points: Shape (n, 2).
        colour: Of all.
        label: For a legend.
        size: Area of one, in square points.
    """
    axes.scatter(*points.T, s=size, color=colour, alpha=0.55, linewidths=0, label=label)
    axes.set_aspect("equal", adjustable="datalim")
