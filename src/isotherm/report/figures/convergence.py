"""How the residual fell, iteration by iteration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.report.digits import number
from isotherm.report.style import (
    BLUE,
    FAINT,
    MUTED,
    RED,
    WIDTH,
    few_ticks,
    frameless,
    new_figure,
    styled,
    temperature_colours,
)
from isotherm.report.temperature import EPSILON, by_temperature, epsilon_label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from isotherm.solution import Check, Solution

LONG = 10  # ratio of the longest to the shortest solve above which iterations get a logarithmic axis
MOST_LEGEND = 12


@styled
def convergence_figure(solutions: Sequence[Solution]) -> Figure:
    """L1 marginal error against iterations, one curve per temperature.

    Where a solve was annealed, each earlier temperature is a dot on the thin part of its curve, and a bar marks where
    the temperature that was asked for begins. A cross ends the curve of a solve that did not converge. A line marks
    each tolerance that was asked for.

    Args:
        solutions: Any number of solutions, in any order; exact ones have no iterations and are left out.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: No solution.
    """
    figure = new_figure(WIDTH, 0.55 * WIDTH)
    axes = figure.add_subplot()
    iterated = [solution for solution in by_temperature(solutions) if solution.history]
    if not iterated:
        frameless(axes)
        axes.text(0.5, 0.5, "Solved exactly: there were no iterations.", ha="center", va="center", color=MUTED)
        return figure
    colours = temperature_colours([solution.epsilon for solution in iterated])
    if len(iterated) == 1:
        colours = [BLUE]
        _shade_cooling(axes, iterated[0])
    for solution, colour in zip(iterated, colours, strict=True):
        _draw_history(axes, solution, colour)
    lengths = [solution.history[-1].iteration for solution in iterated]
    axes.set_yscale("log")
    if max(lengths) > LONG * min(lengths):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else "")
    else:
        axes.set_xlim(left=0)
        few_ticks(axes.xaxis, 8, is_count=True)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("iteration (update of both potentials)")
    axes.set_ylabel("L1 marginal error, per unit of mass")
    for tolerance in sorted({solution.tolerance for solution in iterated if solution.tolerance is not None}):
        _mark_tolerance(axes, tolerance)
    _add_legend(axes, iterated)
    return figure


def _mark_tolerance(axes: Axes, tolerance: float) -> None:
    """A line at the marginal error that was asked for, within the axes."""
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom=min(bottom, 0.3 * tolerance), top=max(top, 3.0 * tolerance))
    axes.axhline(tolerance, color=MUTED, linestyle=(0, (4, 3)), linewidth=1.2, zorder=1)
    axes.annotate(
        f"tolerance {number(tolerance)}",
        (1.0, tolerance),
        xycoords=("axes fraction", "data"),
        xytext=(-3, -4),
        textcoords="offset points",
        ha="right",
        va="top",
        color=MUTED,
        fontsize=9,
    )


def _draw_history(axes: Axes, solution: Solution, colour: str) -> None:
    """The curve of one solve: cooling thin and dotted, the last temperature bold."""
    cooling, last = _split(solution)
    if cooling:
        joined = [*cooling, *last[:1]]
        axes.plot(
            [check.iteration for check in joined],
            [_positive(check) for check in joined],
            color=colour,
            linewidth=0.9,
            marker="o",
            markersize=2.6,
            markevery=list(range(len(cooling))),
        )
        if last:
            axes.plot(
                last[0].iteration, _positive(last[0]), marker="|", markersize=12, color=colour, markeredgewidth=1.6
            )
    iterations, errors = [check.iteration for check in last], [_positive(check) for check in last]
    axes.plot(iterations, errors, color=colour, label=_describe(solution, len(cooling)))
    is_converged = solution.status.is_converged
    axes.plot(
        iterations[-1:],
        errors[-1:],
        marker="o" if is_converged else "X",
        markersize=5.5 if is_converged else 9,
        color=colour if is_converged else RED,
        markeredgecolor="white",
        zorder=4,
    )


def _shade_cooling(axes: Axes, solution: Solution) -> None:
    """Grey behind the iterations at earlier temperatures."""
    cooling, last = _split(solution)
    if not cooling:
        return
    end = last[0].iteration if last else cooling[-1].iteration
    axes.axvspan(0, end, color=FAINT, alpha=0.6, linewidth=0, zorder=0)
    axes.annotate(
        f"cooling, {len(cooling)} temperatures",
        (0, 0.3),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        rotation=90,
        va="bottom",
        fontsize=8.5,
        color=MUTED,
    )


def _split(solution: Solution) -> tuple[list[Check], list[Check]]:
    """The looks at earlier temperatures, and those at the temperature asked for."""
    cooling = [check for check in solution.history if check.epsilon != solution.epsilon]
    return cooling, [check for check in solution.history if check.epsilon == solution.epsilon]


def _positive(check: Check) -> float:
    """A residual of zero has no logarithm: one far below any tolerance stands for it."""
    return max(check.marginal_error, 1e-17)


def _describe(solution: Solution, cooled: int) -> str:
    text = epsilon_label(solution)
    if cooled:
        text += f", cooled from {number(solution.history[0].epsilon)}"
    return text if solution.status.is_converged else f"{text}: not converged"


def _add_legend(axes: Axes, solutions: list[Solution]) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if len(solutions) == 1 and solutions[0].status.is_converged:
        axes.set_title(labels[0])
        return
    if len(handles) > MOST_LEGEND:
        step = -(-len(handles) // MOST_LEGEND)
        kept = [k for k in range(len(handles)) if k % step == 0 or not solutions[k].status.is_converged]
        handles, labels = [handles[k] for k in kept], [labels[k] for k in kept]
    title = f"temperature {EPSILON}, units of cost"
    axes.legend(handles, labels, title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), alignment="left")
