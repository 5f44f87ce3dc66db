"""Families of answers: what was seen, what it may have been, how sure that is, and what heat makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isotherm._optional import require
from isotherm.report.style import (
    BLUE,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    WIDTH,
    frameless,
    log_ticks,
    mass_colours,
    new_figure,
    styled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CELL = 0.86  # inches
GAMMA = "\N{GREEK SMALL LETTER GAMMA}"


@styled
def family_figure(columns: Mapping[str, Any], *, spreads: Sequence[str] = (), masks: Sequence[str] = ()) -> Figure:
    """Small pictures in a table: a row for each observation, a column for each thing that is said of it.

    Args:
        columns: Header to pictures, shape (rows, H, W), all with as many rows; "" repeats the header before it.
        spreads: Headers whose pictures show a spread, from none (paper) to the largest shown (ink), by its root.
        masks: Headers whose pictures show a Fourier plane, zero frequency first: the centre is put into the middle.

    Returns:
        A matplotlib figure; other pictures share the range from 0 (black) to 1 (white).
    """
    rows = len(next(iter(columns.values())))
    figure = new_figure(CELL * len(columns) + 0.2, CELL * rows + 0.45)
    grid = figure.subplots(rows, len(columns), squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    for column, (header, given) in enumerate(columns.items()):
        pictures = np.asarray(given)
        largest = float(pictures.max())
        for row in range(rows):
            axes: Axes = grid[row, column]
            frameless(axes)
            if header in masks:
                axes.imshow(np.fft.fftshift(pictures[row]), cmap="gray", vmin=-0.35, vmax=1.0)
            elif header in spreads:
                shades = require("matplotlib.colors", extra="cli", why="draw figures").PowerNorm(0.5, 0.0, largest)
                axes.imshow(pictures[row], cmap=mass_colours(), norm=shades)
            else:
                axes.imshow(pictures[row], cmap="gray", vmin=0.0, vmax=1.0)
        grid[0, column].set_title(header.strip(), loc="center", fontsize=9)
    return figure


@styled
def heat_figure(
    temperatures: Sequence[float], pictures: Mapping[str, Any], spreads: Mapping[str, Sequence[float]], *, used: float
) -> Figure:
    """The dial: pictures of one observation from cold to hot, and how far families spread.

    Args:
        temperatures: Increasing, positive.
        pictures: Name of a row to pictures, one for each temperature, shape (temperatures, H, W).
        spreads: Name of a curve to one value for each temperature.
        used: The temperature at which the answer was given; marked.

    Returns:
        A matplotlib figure.
    """
    rows, count = len(pictures), len(temperatures)
    figure = new_figure(WIDTH, WIDTH / count * rows + 3.0)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    grid = figure.add_gridspec(rows + 1, count, height_ratios=[*[WIDTH / count] * rows, 2.6])
    for row, (name, images) in enumerate(pictures.items()):
        for column, (temperature, image) in enumerate(zip(temperatures, np.asarray(images), strict=True)):
            axes = figure.add_subplot(grid[row, column])
            frameless(axes)
            axes.imshow(image, cmap="gray", vmin=0.0, vmax=1.0)
            if row == 0:
                axes.set_title(f"{GAMMA} = {temperature:.2g}", loc="center", fontsize=9)
            if column == 0:
                axes.set_ylabel(name, fontsize=9)
    panel = figure.add_subplot(grid[rows, :])
    for (name, values), colour in zip(spreads.items(), (BLUE, ORANGE, GREEN), strict=False):
        panel.plot(temperatures, values, marker="o", markersize=4, color=colour, label=name)
    panel.axvline(used, color=MUTED, linewidth=1.0, linestyle=":")
    panel.text(used, panel.get_ylim()[1], " in use", color=MUTED, fontsize=9, va="top")
    panel.set_xscale("log")
    ticks = log_ticks(temperatures[0], temperatures[-1])
    panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    panel.minorticks_off()
    panel.set_xlabel(f"temperature {GAMMA}: cold to hot")
    panel.set_ylabel("spread per coefficient")
    panel.set_ylim(bottom=0.0)
    panel.legend()
    return figure


@styled
def coverage_figure(curves: Mapping[str, Mapping[float, float]]) -> Figure:
    """How often the truth lies within intervals, against how often it should.

    Args:
        curves: Name to nominal level and measured share.

    Returns:
        A matplotlib figure; on the diagonal families are calibrated, below it they are too sure of themselves.
    """
    figure = new_figure(0.62 * WIDTH, 0.55 * WIDTH)
    panel = figure.subplots()
    panel.plot([0.0, 1.0], [0.0, 1.0], color=INK, linewidth=0.9, linestyle="--")
    for (name, curve), colour in zip(curves.items(), (BLUE, GREEN, ORANGE), strict=False):
        panel.plot(list(curve), list(curve.values()), marker="o", markersize=4, color=colour, label=name)
    panel.text(0.97, 0.86, "calibrated", rotation=38, ha="right", va="top", color=INK, fontsize=9)
    panel.set_xlim(0.0, 1.0)
    panel.set_ylim(0.0, 1.0)
    panel.set_xlabel("level of the interval")
    panel.set_ylabel("share of truths within")
    panel.legend(loc="upper left")
    return figure
