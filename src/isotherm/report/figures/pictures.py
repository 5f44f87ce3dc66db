"""Photographs side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isotherm.report.style import WIDTH, frameless, new_figure, styled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

MOST_COLUMNS = 3


@styled
def recolour_figure(images: Mapping[str, Any]) -> Figure:
    """Pictures side by side, each under its name.

    Args:
        images: Name to picture, arrays of shape (H, W, 3), uint8; pictures may differ in size.

    Returns:
        A matplotlib figure; pictures fill rows of three, or of two where that leaves fewer gaps.

    Raises:
        ValueError: No picture.
    """
    if not images:
        msg = "`images` must hold at least one picture: got none. Pass a dictionary of name to array (H, W, 3)."
        raise ValueError(msg)
    columns = 2 if len(images) in (2, 4) else min(MOST_COLUMNS, len(images))
    rows = -(-len(images) // columns)
    tallest = max(image.shape[0] / image.shape[1] for image in images.values())
    figure = new_figure(WIDTH * 1.25, rows * (WIDTH * 1.25 / columns * min(tallest, 1.6) + 0.35))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        frameless(axes)
    for axes, (name, image) in zip(grid.flat, images.items(), strict=False):
        axes.imshow(image, interpolation="antialiased")
        axes.set_title(name, loc="center", fontsize=10)
    return figure
