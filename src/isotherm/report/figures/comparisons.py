"""How the training went, and how models compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from isotherm.report.figures.models import CLASSES
from isotherm.report.style import BLUE, MUTED, WIDTH, few_ticks, frameless, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from isotherm.models.evaluation import Evaluation

HIDDEN = ("step", "seconds")
MOST_PANELS, COLUMNS = 12, 3
LONG = 100.0  # ratio of largest to smallest above which a number gets a logarithmic axis


@styled
def curves_figure(runs: Mapping[str, Sequence[Mapping[str, float | None]]]) -> Figure:
    """Training curves: every number that was logged, against steps.

    Args:
        runs: Lines of metrics.jsonl, by name of the run; with "step" in each.

    Returns:
        One panel for each number, one curve for each run; "loss" first.
    """
    names = list(
        dict.fromkeys(name for lines in runs.values() for line in lines for name in line if name not in HIDDEN)
    )
    names = sorted(names, key=lambda name: name != "loss")[:MOST_PANELS]
    rows = max(1, -(-len(names) // COLUMNS))
    figure = new_figure(WIDTH * 1.25, 2.1 * rows + 0.4)
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat[len(names) :]:
        frameless(axes)
    for axes, name in zip(grid.flat, names, strict=False):
        every = list[float]()
        for place, (run, lines) in enumerate(runs.items()):
            points = [(line["step"], value) for line in lines if (value := line.get(name)) is not None]
            colour = BLUE if len(runs) == 1 else CLASSES[place % len(CLASSES)]
            if points:
                axes.plot(*zip(*points, strict=True), color=colour, linewidth=1.2, label=run)
                every += [value for _, value in points]
        axes.set_title(name.replace("_", " "))
        if every and min(every) > 0 and max(every) > LONG * min(every):
            axes.set_yscale("log")
        few_ticks(axes.xaxis, 4, is_count=True)
    for axes in grid.flat[max(len(names) - COLUMNS, 0) : len(names)]:  # the lowest of each column
        axes.set_xlabel("step")
    if len(runs) > 1:
        handles, labels = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 5))
    return figure


@styled
def comparison_figure(evaluations: Mapping[str, Evaluation]) -> Figure:
    """Every metric of several models, with intervals, beside the floor.

    Args:
        evaluations: By name of the model, on the same data.

    Returns:
        One panel for each metric; the dashed line is the floor.
    """
    names = list(dict.fromkeys(each.name for found in evaluations.values() for each in found.measured))
    rows, models = -(-len(names) // COLUMNS), list(evaluations)
    figure = new_figure(WIDTH * 1.25, rows * (0.22 * len(models) + 1.0) + 0.3)
    grid = figure.subplots(rows, COLUMNS, squeeze=False, sharey=True)
    for axes in grid.flat[len(names) :]:
        frameless(axes)
    for axes, name in zip(grid.flat, names, strict=False):
        axes.set_title(name.replace("_", " "))
        for place, model in enumerate(models):
            found = {each.name: each for each in evaluations[model].measured}.get(name)
            if found is None:
                continue
            colour = CLASSES[place % len(CLASSES)]
            axes.plot([found.interval.low, found.interval.high], [place, place], color=colour, linewidth=3, alpha=0.5)
            axes.scatter(found.value, place, color=colour, s=30, zorder=3)
            axes.plot(
                [found.floor] * 2, [place - 0.4, place + 0.4], color=MUTED, linestyle=(0, (2, 1.5)), linewidth=1.4
            )
        axes.set_yticks(range(len(models)), models)
        axes.set_ylim(len(models) - 0.4, -0.6)
        few_ticks(axes.xaxis, 4)
    return figure
