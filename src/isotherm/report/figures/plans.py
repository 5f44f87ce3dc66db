"""Plans as pictures: who is matched to whom, at one temperature or at several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isotherm._optional import require
from isotherm.report.digits import number
from isotherm.report.figures.binning import MOST_BINS, BinnedPlan, binned_plan
from isotherm.report.figures.ordering import plan_order
from isotherm.report.style import MUTED, WIDTH, log_ticks, mass_colours, new_figure, styled
from isotherm.report.temperature import by_temperature, epsilon_label, epsilon_share, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from isotherm.solution import Solution

MOST_PANELS = 9
PANEL_BINS = 128
FAINTEST = 0.1  # mass relative to independence at the light end of the scale
MASS_LABEL = "mass relative to independent pairing"


@styled
def plan_figure(solution: Solution) -> Figure:
    """The plan of one solution as a picture, rows sources and columns targets.

    Both sides are sorted so that structure shows, and put in at most 256 bins. Colour is the mass of a bin over what
    independent sides would put there, on a logarithmic scale: flat for a hot plan, a thin dark curve for a cold one.

    Args:
        solution: Any solution.

    Returns:
        A matplotlib figure. Time O(N M), memory O(N + M).
    """
    order = plan_order(solution)
    binned = binned_plan(solution.coupling, order, MOST_BINS)
    figure = new_figure(0.8 * WIDTH, 0.72 * WIDTH)
    axes = figure.add_subplot()
    image = draw_plan(axes, binned, scale=mass_scale([binned]))
    _label_sides(axes, binned, order.how)
    share = epsilon_share(solution)
    axes.set_title(epsilon_label(solution) + (f", {share}" if share else ""))
    _add_scale(figure, image, [axes], location="right")
    return figure


@styled
def plans_figure(solutions: Sequence[Solution]) -> Figure:
    """Plans at several temperatures side by side, cold first, in one order of the points and one colour scale.

    Args:
        solutions: Solutions of one problem at several temperatures, in any order; of more than nine, nine are drawn.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: No solution.
    """
    shown = spread(by_temperature(solutions), MOST_PANELS)
    order = plan_order(shown[len(shown) // 2])
    plans = [binned_plan(solution.coupling, order, PANEL_BINS) for solution in shown]
    columns = 2 if len(shown) in (2, 4) else min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(WIDTH, 1.15 + rows * (0.3 + (WIDTH / columns) * _box_aspect(plans[0]) * 0.94))
    grid = figure.subplots(rows, columns, squeeze=False)
    scale, image = mass_scale(plans), None
    for axes, solution, binned in zip(grid.flat, shown, plans, strict=False):
        image = draw_plan(axes, binned, scale=scale)
        axes.set_title(epsilon_label(solution))
        share = epsilon_share(solution)
        axes.set_xlabel(share, fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in grid.flat[len(shown) :]:
        axes.set_visible(False)
    n, m = plans[0].shape
    figure.supylabel(f"{n:,} sources", fontsize=10)
    figure.suptitle(f"{m:,} targets; both sides {order.how}", fontsize=10)
    assert image is not None, "by_temperature refuses an empty sequence; this is our bug"
    _add_scale(figure, image, list(grid.flat), location="bottom")
    return figure


def draw_plan(axes: Axes, binned: BinnedPlan, *, scale: Any) -> AxesImage:
    """One plan in one panel.

    Args:
        axes: Where.
        binned: What.
        scale: Colour scale, from `mass_scale`.

    Returns:
        The image, for a colour bar.
    """
    n, m = binned.shape
    image = axes.imshow(
        np.maximum(binned.relative_to_independence(), 1e-12),  # zero has no logarithm and takes the lightest colour
        cmap=mass_colours(),
        norm=scale,
        extent=(0, m, n, 0),
        aspect="auto",
    )
    axes.set_box_aspect(_box_aspect(binned))
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(True)
    return image


def mass_scale(plans: Sequence[BinnedPlan]) -> Any:
    """One logarithmic colour scale for some plans, from 0.1 of independence to the heaviest bin."""
    colors = require("matplotlib.colors", extra="cli", why="draw figures")
    heaviest = max(float(np.nanmax(plan.relative_to_independence(), initial=1.0)) for plan in plans)
    return colors.LogNorm(vmin=FAINTEST, vmax=max(1.0 / FAINTEST, heaviest))


def _box_aspect(binned: BinnedPlan) -> float:
    """Height over width of a panel: the shape of the plan, within reason."""
    n, m = binned.shape
    return min(1.5, max(0.67, n / m))


def _label_sides(axes: Axes, binned: BinnedPlan, how: str) -> None:
    n, m = binned.shape
    axes.set_xlabel(f"target, {how}")
    axes.set_ylabel(f"source, {how}" + (f" (every {binned.every}th)" if binned.every > 1 else ""))
    axes.set_xticks([0, m] if m < 4 else [0, m // 2, m])
    axes.set_yticks([0, n] if n < 4 else [0, n // 2, n])


def _add_scale(figure: Figure, image: AxesImage, beside: list[Axes], *, location: Literal["right", "bottom"]) -> None:
    bar = figure.colorbar(image, ax=beside, location=location, aspect=30, pad=0.02, shrink=0.7)
    scale: Any = image.norm
    ticks = log_ticks(scale.vmin, scale.vmax, most=5)
    bar.set_ticks(ticks, labels=[f"{'≤ ' if tick == FAINTEST else ''}{number(tick)}×" for tick in ticks])
    bar.ax.minorticks_off()
    bar.set_label(MASS_LABEL)
    bar.outline.set_edgecolor(MUTED)  # pyright: ignore[reportCallIssue] - a spine, though typed as a patch
