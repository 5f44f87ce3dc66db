"""The dial: what one problem becomes from exact transport to independence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isotherm._optional import require
from isotherm.report.digits import number
from isotherm.report.figures.binning import binned_plan
from isotherm.report.figures.certificates import exact_bounds
from isotherm.report.figures.ordering import plan_order
from isotherm.report.figures.plans import draw_plan, mass_scale
from isotherm.report.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    MUTED,
    ORANGE,
    RED,
    WIDTH,
    log_ticks,
    new_figure,
    styled,
    temperature_colours,
)
from isotherm.report.temperature import EPSILON, by_temperature, epsilon_label, mean_cost, spread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isotherm.solution import Solution

MOST_THUMBNAILS = 5
THUMBNAIL_BINS = 72


@dataclass(frozen=True)
class DialAxis:
    """Where a temperature stands on the dial: at log10 epsilon, and zero a little left of the coldest.

    Attributes:
        low: Smallest positive temperature, units of cost.
        high: Largest one.
        has_zero: Whether exact transport is on the dial.
    """

    low: float
    high: float
    has_zero: bool

    @classmethod
    def around(cls, epsilons: Sequence[float]) -> DialAxis:
        """The axis for some temperatures; around 1 where all of them are zero."""
        positive = [epsilon for epsilon in epsilons if epsilon > 0] or [1.0]
        return cls(min(positive), max(positive), min(epsilons) == 0)

    @property
    def gap(self) -> float:
        """Room between zero and the coldest positive temperature, in decades."""
        return max(0.3, 0.16 * math.log10(self.high / self.low))

    def place(self, epsilon: float) -> float:
        """Position of a temperature.

        Args:
            epsilon: Units of cost, zero allowed.

        Returns:
            Decades, on the axis that `dress` labels.

        Example:
            >>> DialAxis.around([0.0, 0.01, 1.0]).place(0.01)
            -2.0
        """
        return math.log10(epsilon) if epsilon > 0 else math.log10(self.low) - self.gap

    def dress(self, axes: Axes) -> None:
        """Limits, ticks and the mark that the axis is broken between zero and the rest."""
        margin = max(0.08, 0.04 * math.log10(self.high / self.low))
        left = self.place(0.0) if self.has_zero else math.log10(self.low)
        axes.set_xlim(left - margin, math.log10(self.high) + margin)
        ticks = log_ticks(10 ** (math.log10(self.low) - margin), 10 ** (math.log10(self.high) + margin), most=7)
        if len(ticks) < 2:
            ticks = sorted({self.low, self.high})
        places, labels = [math.log10(tick) for tick in ticks], [number(tick) for tick in ticks]
        if self.has_zero:
            places, labels = [left, *places], ["0", *labels]
            kept = [k for k, place in enumerate(places) if k == 0 or place - left > 0.4 * self.gap]
            places, labels = [places[k] for k in kept], [labels[k] for k in kept]
            middle = left + 0.5 * self.gap
            axes.plot(
                [middle - 0.02 * self.gap, middle + 0.02 * self.gap],
                [0, 0],
                transform=axes.get_xaxis_transform(),
                marker=[(-1, -2), (1, 2)],
                markersize=10,
                linestyle="none",
                color=MUTED,
                markeredgewidth=1.2,
                clip_on=False,
            )
        axes.set_xticks(places, labels)


@styled
def dial_figure(path: Sequence[Solution]) -> Figure:
    """Plans, transport cost and entropy of one problem against temperature.

    Top: the plan at some of the temperatures, cold to hot. Middle: the cost that the plan pays, between the certified
    bounds on the exact cost and the cost of independent pairing. Bottom: normalised entropy, 0 for a one-to-one
    matching, 1 for independence. Temperature is on a logarithmic axis; zero stands left of a break.

    Args:
        path: A `TemperaturePath`, or solutions of one problem at several temperatures in any order.

    Returns:
        A matplotlib figure. Time O(N M) per temperature, memory O(N + M).

    Raises:
        ValueError: No solution.
    """
    solutions = by_temperature(path)
    epsilons = [solution.epsilon for solution in solutions]
    dial = DialAxis.around(epsilons)
    shown = spread(solutions, MOST_THUMBNAILS)
    side = min(1.9, WIDTH / len(shown))
    figure = new_figure(WIDTH, 5.2 + side)
    outer = figure.add_gridspec(3, 1, height_ratios=[side, 2.7, 1.6])
    top = figure.add_subfigure(outer[0])
    panels = list(top.subplots(1, len(shown), squeeze=False).flat)
    _draw_thumbnails(panels, shown)
    top.supylabel("sources", fontsize=9)
    top.supxlabel("targets (both sides sorted; darker is more mass)", fontsize=9)
    cost_axes = figure.add_subplot(outer[1])
    _draw_cost(cost_axes, solutions, dial)
    entropy_axes = figure.add_subplot(outer[2], sharex=cost_axes)
    _draw_entropy(entropy_axes, solutions, dial)
    dial.dress(entropy_axes)
    cost_axes.tick_params(axis="x", labelbottom=False)
    entropy_axes.set_xlabel(f"temperature {EPSILON}, units of cost")
    _add_share_axis(cost_axes, solutions[-1])
    colours = dict(zip(epsilons, temperature_colours(epsilons), strict=True))
    for axes, solution in zip(panels, shown, strict=True):
        axes.title.set_color(colours[solution.epsilon])
    return figure


def _draw_thumbnails(panels: list[Axes], solutions: list[Solution]) -> None:
    order = plan_order(solutions[len(solutions) // 2])
    plans = [binned_plan(solution.coupling, order, THUMBNAIL_BINS) for solution in solutions]
    scale = mass_scale(plans)
    for axes, solution, plan in zip(panels, solutions, plans, strict=True):
        draw_plan(axes, plan, scale=scale)
        axes.set_box_aspect(1.0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(epsilon_label(solution), fontsize=9, loc="center", pad=4)


def _draw_cost(axes: Axes, solutions: list[Solution], dial: DialAxis) -> None:
    """The plan's cost, the bounds on the exact one, and the cost at infinite temperature."""
    lower, upper = exact_bounds(solutions)
    if math.isfinite(lower) and math.isfinite(upper):
        axes.axhspan(lower, upper, color=GREEN, alpha=0.25, linewidth=0, label="exact cost, certified band")
        axes.axhline(0.5 * (lower + upper), color=GREEN, linewidth=1.0)
    places = [dial.place(solution.epsilon) for solution in solutions]
    certificates = [solution.certificate for solution in solutions]
    values = [float(solution.value) for solution in solutions]
    axes.plot(
        places,
        values,
        color=ORANGE,
        marker="s",
        markersize=4,
        linewidth=1.4,
        label="entropic value (what is minimised)",
    )
    for place, bounds in zip(places, certificates, strict=True):
        if math.isfinite(bounds.entropic_lower) and math.isfinite(bounds.entropic_upper):
            axes.plot(
                [place, place], [bounds.entropic_lower, bounds.entropic_upper], color=ORANGE, linewidth=3, alpha=0.5
            )
    costs = [float(solution.transport_cost) for solution in solutions]
    axes.plot(places, costs, color=BLUE, marker="o", markersize=5, label="transport cost of the plan")
    _mark_failures(axes, solutions, places, costs)
    problem, mean = solutions[0].problem, mean_cost(solutions[0].problem)
    if mean is not None and problem.is_balanced:
        axes.axhline(
            mean * float(problem.a.sum()),
            color=MUTED,
            linestyle=(0, (4, 3)),
            linewidth=1.2,
            label="independent pairing (mean cost)",
        )
    axes.set_ylabel("units of cost")
    axes.yaxis.set_major_formatter(lambda value, _: number(value, 4))
    axes.legend(loc="upper left", bbox_to_anchor=(0.01, 0.93), frameon=True, framealpha=0.9, edgecolor=FAINT)


def _draw_entropy(axes: Axes, solutions: list[Solution], dial: DialAxis) -> None:
    places = [dial.place(solution.epsilon) for solution in solutions]
    entropies = [solution.coupling.normalised_entropy() for solution in solutions]
    axes.plot(places, entropies, color=INK, linewidth=1.2, zorder=2)
    colours = temperature_colours([solution.epsilon for solution in solutions])
    axes.scatter(places, entropies, c=colours, s=42, zorder=3, edgecolors="white", linewidths=0.8)
    _mark_failures(axes, solutions, places, entropies)
    axes.set_ylim(-0.06, 1.06)
    axes.set_yticks([0.0, 0.5, 1.0], ["0 matching", "0.5", "1 independent"])
    axes.set_ylabel("normalised entropy")


def _mark_failures(axes: Axes, solutions: list[Solution], places: list[float], heights: list[float]) -> None:
    """A cross on each point that did not converge, named once."""
    failed = [k for k, solution in enumerate(solutions) if not solution.status.is_converged]
    if failed:
        axes.plot(
            [places[k] for k in failed],
            [heights[k] for k in failed],
            linestyle="none",
            marker="X",
            markersize=9,
            color=RED,
            markeredgecolor="white",
            zorder=5,
            label="not converged",
        )


def _add_share_axis(axes: Axes, solution: Solution) -> None:
    """Temperatures as shares of the mean cost, along the top."""
    mean = mean_cost(solution.problem)
    if mean is None:
        return
    low, high = axes.get_xlim()
    ticks = log_ticks(10**low / mean, 10**high / mean, most=6)
    positive = [tick for tick in ticks if math.log10(tick * mean) > low + 0.12 * (high - low)]
    top = axes.secondary_xaxis("top")
    percent = require("matplotlib.ticker", extra="cli", why="draw figures").FixedFormatter(
        [f"{number(100 * tick)} %" for tick in positive]
    )
    top.set_xticks([math.log10(tick * mean) for tick in positive])
    top.xaxis.set_major_formatter(percent)
    top.set_xlabel(f"{EPSILON} as a share of the mean cost", fontsize=9, color=MUTED)
    top.tick_params(labelsize=8, labelcolor=MUTED)
    top.spines["top"].set_visible(False)
