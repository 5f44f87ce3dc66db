"""Both clouds in one picture, with lines between points that are matched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from isotherm._optional import require
from isotherm.report.figures.ordering import project
from isotherm.report.style import BLUE, INK, ORANGE, WIDTH, new_figure, styled
from isotherm.report.temperature import epsilon_label, epsilon_share

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor

    from isotherm.solution import Solution

MOST_POINTS = 4000  # dots drawn per cloud
MOST_SOURCES = 220  # sources that get lines
LINES_EACH = 3  # strongest matches drawn per source


@styled
def cloud_figure(solution: Solution) -> Figure:
    """Both clouds in two dimensions with the strongest matches of some sources.

    Each line is one of the three strongest matches of a source; its darkness is the share of the source's mass that goes
    there. A cold plan shows dark lines, a hot one almost none. Clouds of more than two features are projected onto the
    two directions in which their points vary most; points on a line are drawn as two rows.

    Args:
        solution: A solution of a problem with coordinates.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: The problem knows costs only, without coordinates.
    """
    geometry = solution.problem.geometry
    if geometry.source_points is None or geometry.target_points is None:
        msg = f"A picture of the clouds needs coordinates: this problem was given as {type(geometry).__name__}. Use plan_figure instead."
        raise ValueError(msg)
    x, y = (points.numpy() for points in project(geometry, 2))
    is_line = x.shape[1] == 1
    if is_line:
        x, y = (np.column_stack([points, np.full(len(points), height)]) for points, height in ((x, 1.0), (y, 0.0)))
    extent = np.ptp(np.concatenate([x, y]), axis=0)  # (2,)
    slope = 0.0 if is_line or extent[0] == 0 else float(extent[1] / extent[0])
    figure = new_figure(WIDTH, WIDTH * min(0.72, max(0.45, 0.7 * slope + 0.15)))  # no empty bands beside wide clouds
    axes = figure.add_subplot()
    _draw_lines(axes, solution, x, y)
    n, m = geometry.shape
    _draw_points(axes, x, solution.problem.a, colour=BLUE, marker="o", label=f"{n:,} sources")
    _draw_points(axes, y, solution.problem.b, colour=ORANGE, marker="D", label=f"{m:,} targets")
    features = geometry.source_points.shape[1]
    if is_line:
        axes.set_yticks([0.0, 1.0], ["targets", "sources"])
        axes.set_ylim(-0.25, 1.25)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("coordinate")
    else:
        axes.set_aspect("equal", adjustable="box")
        kind = "coordinate" if features == 2 else "main direction"
        axes.set_xlabel(f"first {kind}")
        axes.set_ylabel(f"second {kind}")
    share = epsilon_share(solution)
    axes.set_title(epsilon_label(solution) + (f", {share}" if share else ""))
    legend = axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=1.6)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)
    return figure


def strongest_matches(solution: Solution, sources: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The heaviest targets of some sources and the share of the source's mass that each gets.

    Args:
        solution: Any solution.
        sources: Indices, shape (n,).
        k: Matches per source, at most M.

    Returns:
        Indices and shares, both of shape (n, k), on the CPU. Sources without mass have shares of zero.
    """
    plan = solution.coupling.plan_rows(sources.to(solution.coupling.device)).detach().cpu().double()  # (n, M)
    mass = plan.sum(1, keepdim=True)
    best = torch.where(mass > 0, plan / mass, 0.0).topk(k, dim=1)
    return best.indices, best.values


def _draw_lines(axes: Axes, solution: Solution, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    with_mass = solution.problem.a.detach().cpu().nonzero()[:, 0]
    count = min(MOST_SOURCES, len(with_mass))
    chosen = with_mass[torch.randperm(len(with_mass), generator=torch.Generator().manual_seed(0))[:count]]
    targets, shares = strongest_matches(solution, chosen, min(LINES_EACH, len(y)))
    i, j, share = chosen.repeat_interleave(targets.shape[1]).numpy(), targets.reshape(-1).numpy(), shares.reshape(-1)
    segments = np.stack([x[i], y[j]], axis=1)  # (n k, 2, 2)
    colors = require("matplotlib.colors", extra="cli", why="draw figures")
    collections = require("matplotlib.collections", extra="cli", why="draw figures")
    strokes = [colors.to_rgba(INK, alpha=float(s)) for s in (0.9 * share**0.75).clamp(max=1.0)]
    axes.add_collection(collections.LineCollection(list(segments), colors=strokes, linewidths=0.8, zorder=2))


def _draw_points(
    axes: Axes, points: NDArray[np.float64], weights: Tensor, *, colour: str, marker: str, label: str
) -> None:
    """Dots whose area follows the weights; of very many, an evenly spread part."""
    step = -(-len(points) // MOST_POINTS)
    share = (weights / weights.sum() * len(weights)).detach().cpu().numpy()[::step]  # 1 on average
    size = np.clip(6000.0 / len(share), 4.0, 36.0)
    kept = points[::step]
    is_many = len(kept) > 1000
    axes.scatter(
        kept[:, 0],
        kept[:, 1],
        s=size * np.clip(share, 0.0, 6.0),
        c=colour,
        marker=marker,
        alpha=0.55 if is_many else 0.8,
        linewidths=0,
        label=label,
        rasterized=is_many,
        zorder=3,
    )
