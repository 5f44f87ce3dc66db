"""One look for every figure: fonts, colours, colour scales; nothing global is left changed.

Colours are those of Okabe and Ito, told apart with any colour vision; temperatures run from blue (cold) over purple
to orange (hot) with falling darkness, so that their order also shows in grey.

References:
    [OkabeIto2008]
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec

from isotherm._optional import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Arguments = ParamSpec("Arguments")

WIDTH = 7.2  # inches; a page's column, and two thirds of a slide

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, MUTED, FAINT = "#1F2430", "#667085", "#E4E7EC"
PAPER = "#FFFFFF"

_COLD_TO_HOT = ("#0B3C8C", "#5B4FB3", "#A8569E", "#DE6E5E", "#F29F2E")
_LIGHT_TO_DARK = ("#FDFDFB", "#E3EBF3", "#B3CCE4", "#6FA3CF", "#2F72AE", "#123F7A", "#08183A")

_SETTINGS: dict[str, object] = {
    "font.family": ["DejaVu Sans"],  # ships with matplotlib: the same picture everywhere
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 7.0,
    "axes.labelsize": 10.0,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "text.color": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "image.interpolation": "none",
    "svg.hashsalt": "isotherm",  # the same figure gives the same bytes
    "svg.fonttype": "path",  # readable where the font is missing
}


@contextmanager
def figure_style() -> Iterator[None]:
    """The look of this package while the block runs, whatever the user's own settings are.

    Raises:
        ImportError: matplotlib is missing; the message says how to get it.
    """
    style = require("matplotlib.style", extra="cli", why="draw figures")
    with style.context(_SETTINGS, after_reset=True):
        yield


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Let a function draw its figure in the look of this package."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Figure:
        with figure_style():
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Figure:
    """An empty figure outside pyplot: nobody has to close it, no window opens.

    Args:
        width: Inches.
        height: Inches.

    Returns:
        The figure, laid out by its contents.
    """
    return require("matplotlib.figure", extra="cli", why="draw figures").Figure(figsize=(width, height))


def mass_colours() -> Colormap:
    """From paper (no mass) over blue to ink (much mass); grey where a bin has no points with mass."""
    colors = require("matplotlib.colors", extra="cli", why="draw figures")
    scale = colors.LinearSegmentedColormap.from_list("isotherm_mass", _LIGHT_TO_DARK)
    return scale.with_extremes(bad=FAINT)


def temperature_colours(epsilons: Sequence[float]) -> list[str]:
    """A colour for each temperature, blue for the coldest to orange for the hottest, by rank.

    Args:
        epsilons: Temperatures in units of cost, in any order.

    Returns:
        Hexadecimal colours, in the order of `epsilons`.
    """
    colors = require("matplotlib.colors", extra="cli", why="draw figures")
    scale = colors.LinearSegmentedColormap.from_list("isotherm_temperature", _COLD_TO_HOT)
    levels = sorted(set(epsilons))
    last = max(1, len(levels) - 1)
    return [colors.to_hex(scale(levels.index(epsilon) / last)) for epsilon in epsilons]


def frameless(axes: Axes) -> None:
    """Leave only what is drawn inside: for pictures and for words."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def few_ticks(axis: Axis, most: int, *, is_count: bool = False) -> None:
    """At most so many ticks on an axis, on whole numbers where it counts something.

    Args:
        axis: The x or y axis of a panel, linear.
        most: How many labels fit.
        is_count: Whether only whole numbers have a meaning.
    """
    ticker = require("matplotlib.ticker", extra="cli", why="draw figures")
    axis.set_major_locator(ticker.MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10], integer=is_count))


def log_ticks(low: float, high: float, *, most: int = 6) -> list[float]:
    """Round numbers between two positive ones: powers of ten, and 2 and 5 times them where there is room.

    Args:
        low: Smallest value shown, positive.
        high: Largest value shown.
        most: How many labels fit.

    Returns:
        Increasing numbers within [low, high]; empty where no round number lies between.

    Example:
        >>> log_ticks(0.9, 12.0), log_ticks(1e-8, 2.0, most=5)
        ([1.0, 2.0, 5.0, 10.0], [1e-08, 1e-06, 0.0001, 0.01, 1.0])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = [round(lead * 10.0**power, 12 - power) for power in range(first, last + 1) for lead in (1, 2, 5)]
    shown = [tick for tick in every if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
    if len(shown) <= most:
        return shown
    decades = [tick for tick in shown if f"{tick:e}".startswith("1.0")]
    step = math.ceil(len(decades) / most)
    return decades[::step]
