"""Figures draw without warnings, say their units, and leave matplotlib as it was."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
import torch

import isotherm
from isotherm import Annealed, PointCloud
from isotherm.report.figures import (
    certificate_figure,
    cloud_figure,
    convergence_figure,
    dial_figure,
    plan_figure,
    plans_figure,
    recolour_figure,
)
from isotherm.report.figures.certificates import exact_bounds
from isotherm.report.figures.clouds import strongest_matches
from isotherm.report.figures.dial import DialAxis
from isotherm.report.style import log_ticks, temperature_colours

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from isotherm import Solution, TemperaturePath


def _words(figure: Figure) -> str:
    """Every text of a figure; drawing it is part of the test, because pytest turns warnings into errors."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))  # pyright: ignore[reportAttributeAccessIssue]


PATH_FIGURES: list[Callable[[Any], Figure]] = [plans_figure, certificate_figure, convergence_figure, dial_figure]


@pytest.mark.parametrize("draw", PATH_FIGURES)
def test_path_figures_draw_paths_single_solutions_and_failures(
    draw: Callable[[Any], Figure], path: TemperaturePath, unfinished: Solution, costs_only: Solution
) -> None:
    for solutions in (path, [path[1]], [path[0]], [unfinished], [*path, unfinished], [costs_only]):
        assert _words(draw(solutions))


@pytest.mark.parametrize("draw", PATH_FIGURES)
def test_path_figures_refuse_no_solutions(draw: Callable[[Any], Figure]) -> None:
    with pytest.raises(ValueError, match="at least one solution"):
        draw([])


@pytest.mark.parametrize("draw", [convergence_figure, certificate_figure, dial_figure])
def test_failures_are_named(draw: Callable[[Any], Figure], path: TemperaturePath, unfinished: Solution) -> None:
    assert "not converged" in _words(draw([*path, unfinished]))
    assert "not converged" not in _words(draw(path))


def test_axes_carry_units(path: TemperaturePath) -> None:
    assert "units of cost" in _words(certificate_figure(path))
    assert "temperature ε, units of cost" in _words(dial_figure(path))
    assert "per unit of mass" in _words(convergence_figure(path))


def test_plan_figure_of_every_kind_of_problem(path: TemperaturePath, costs_only: Solution) -> None:
    for solution in (*path, costs_only):
        assert "relative to independent pairing" in _words(plan_figure(solution))


def test_plans_figure_draws_at_most_nine(points: tuple[np.ndarray, np.ndarray]) -> None:
    problem = isotherm.Problem(PointCloud(*points), epsilon=1.0)
    many = isotherm.temperature_path(problem, list(np.geomspace(1.0, 100.0, 11)))
    titles = [axes.get_title(loc="left") for axes in plans_figure(many).axes]
    assert [title for title in titles if title.startswith("ε")][0::8] == ["ε = 1", "ε = 100"]


def test_convergence_marks_tolerance_and_cooling(points: tuple[np.ndarray, np.ndarray]) -> None:
    solution = isotherm.solve(*points, epsilon=0.3, solver=Annealed())
    words = _words(convergence_figure([solution]))
    assert "tolerance 0.0001" in words
    assert "cooling" in words
    exact = isotherm.solve(*points, solver=isotherm.Exact())
    assert "tolerance" not in _words(convergence_figure([exact]))


def test_exact_bounds_combine_all_temperatures(path: TemperaturePath) -> None:
    lower, upper = exact_bounds(path)
    assert lower == max(solution.certificate.exact_lower for solution in path)
    assert lower <= float(path[1].transport_cost) * (1 + 1e-9)
    assert upper >= float(path[1].transport_cost) * (1 - 1e-9)


def test_dial_axis_places_zero_left_of_all() -> None:
    dial = DialAxis.around([0.0, 0.01, 1.0])
    assert dial.place(0.0) < dial.place(0.01) == -2.0 < dial.place(1.0) == 0.0


@pytest.mark.parametrize("features", [1, 2, 5])
def test_cloud_figure_in_any_dimension(features: int) -> None:
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(1200, features)), generator.normal(size=(9, features))
    solution = isotherm.solve(x, y, epsilon=1.0)
    words = _words(cloud_figure(solution))
    assert "1,200 sources" in words
    assert "9 targets" in words


def test_cloud_figure_needs_coordinates(costs_only: Solution) -> None:
    with pytest.raises(ValueError, match="needs coordinates"):
        cloud_figure(costs_only)


def test_strongest_matches_are_those_of_the_plan(solution: Solution) -> None:
    indices, shares = strongest_matches(solution, torch.tensor([3, 7]), 2)
    best, row_mass = solution.coupling.top_k(2), solution.coupling.marginals().source
    np.testing.assert_array_equal(indices, best.indices[[3, 7]])
    np.testing.assert_allclose(shares, best.mass[[3, 7]] / row_mass[[3, 7], None])


def test_recolour_figure_names_its_pictures() -> None:
    pictures = {name: np.zeros((4, 6, 3), dtype=np.uint8) for name in ("before", "after", "later", "last", "end")}
    words = _words(recolour_figure(pictures))
    assert all(name in words for name in pictures)
    with pytest.raises(ValueError, match="at least one picture"):
        recolour_figure({})


def test_drawing_leaves_settings_alone(solution: Solution) -> None:
    before = dict(mpl.rcParams)
    plan_figure(solution)
    assert dict(mpl.rcParams) == before


def test_figures_ignore_the_user_settings(solution: Solution) -> None:
    with mpl.rc_context({"font.size": 30.0, "axes.facecolor": "black"}):
        figure = convergence_figure([solution])
    assert figure.axes[0].xaxis.label.get_size() == 10.0
    assert figure.axes[0].get_facecolor()[:3] == (1.0, 1.0, 1.0)


def test_temperature_colours_follow_rank() -> None:
    colours = temperature_colours([5.0, 0.0, 5.0, 1.0])
    assert colours[0] == colours[2]
    assert len(set(colours)) == 3
    assert colours == temperature_colours([50.0, 0.1, 50.0, 3.0])


def test_log_ticks_stay_inside() -> None:
    assert log_ticks(0.1, 100.0, most=4) == [0.1, 1.0, 10.0, 100.0]
    assert log_ticks(1.1, 1.9) == []
