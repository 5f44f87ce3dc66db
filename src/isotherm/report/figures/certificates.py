"""What is certain about the values, whatever the solver did."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from isotherm.report.digits import interval, number
from isotherm.report.style import BLUE, GREEN, INK, RED, WIDTH, few_ticks, new_figure, styled
from isotherm.report.temperature import by_temperature, epsilon_label, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isotherm.solution import Solution

MOST_ROWS = 16


class ExactBounds(NamedTuple):
    """Bounds on the exact transport cost, units of cost."""

    lower: float
    upper: float


def exact_bounds(solutions: Sequence[Solution]) -> ExactBounds:
    """The best bounds on the exact cost over all temperatures: they all speak of the same number.

    Args:
        solutions: Solutions of one problem at several temperatures.

    Returns:
        The greatest lower and the least upper bound.
    """
    certificates = [solution.certificate for solution in solutions]
    return ExactBounds(max(c.exact_lower for c in certificates), min(c.exact_upper for c in certificates))


@styled
def certificate_figure(solutions: Sequence[Solution]) -> Figure:
    """Certified intervals of the entropic value and of the exact cost, one row per temperature.

    The number beside each bar states the interval, rounded outwards. The band in the lower panel is what all
    temperatures together say about the exact cost, which is the same number for all of them.

    Args:
        solutions: Solutions of one problem at several temperatures, in any order; of more than 16, 16 are drawn.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: No solution.
    """
    every = by_temperature(solutions)
    shown = spread(every, MOST_ROWS)
    figure = new_figure(WIDTH, 2.3 + 2 * 0.36 * len(shown))
    upper, lower = figure.subplots(2, 1)
    certificates = [solution.certificate for solution in shown]
    _draw_intervals(upper, shown, [(c.entropic_lower, c.entropic_upper) for c in certificates], BLUE)
    is_path = len(shown) > 1
    upper.set_title("Entropic value" + (", a different number at each temperature" if is_path else ""))
    upper.set_xlabel("units of cost")
    best = exact_bounds(every)
    _draw_intervals(lower, shown, [(c.exact_lower, c.exact_upper) for c in certificates], GREEN)
    lower.set_title("Exact cost" + (f", one number for all temperatures: {interval(*best)}" if is_path else ""))
    lower.set_xlabel("units of cost" + ("; the shaded band is what all rows together allow" if is_path else ""))
    if is_path and all(math.isfinite(bound) for bound in best):
        lower.axvspan(min(best), max(best), color=GREEN, alpha=0.16, linewidth=0, zorder=0.5)
        lower.axvline(0.5 * sum(best), color=GREEN, alpha=0.5, linewidth=0.8, zorder=0.5)
    return figure


def _draw_intervals(axes: Axes, solutions: list[Solution], intervals: list[tuple[float, float]], colour: str) -> None:
    """Rows of bars between two bounds, coldest on top, with the numbers to their right."""
    finite = [bound for pair in intervals for bound in pair if math.isfinite(bound)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    for row, (solution, (lower, upper)) in enumerate(zip(solutions, intervals, strict=True)):
        left, right = max(lower, low - margin), min(upper, high + margin)
        axes.plot([left, right], [row, row], color=colour, linewidth=6, solid_capstyle="butt")
        for end, bound in ((left, lower), (right, upper)):
            if math.isfinite(bound):
                axes.plot(end, row, marker="|", markersize=13, markeredgewidth=1.8, color=colour)
        text = interval(lower, upper)
        if not solution.status.is_converged:
            text += "  not converged"
        axes.annotate(
            text,
            (1.015, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            color=INK if solution.status.is_converged else RED,
            annotation_clip=False,
        )
    axes.set_yticks(range(len(solutions)), [epsilon_label(solution) for solution in solutions])
    axes.set_ylim(len(solutions) - 0.4, -0.6)
    axes.set_xlim(low - margin, high + margin)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    few_ticks(axes.xaxis, 6)
    axes.xaxis.set_major_formatter(lambda value, _: number(value, 6))
