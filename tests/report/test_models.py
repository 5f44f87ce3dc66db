"""Figures and pages of models: what they show is what was measured, pictures and points alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isotherm.models.evaluation import Evaluation, Measured
from isotherm.models.metrics import Interval, PosteriorForm
from isotherm.models.portrait import Families, Heat
from isotherm.report import figures
from isotherm.report.figures.observations import Shadow, are_pictures, sheet
from isotherm.report.models import comparison_table, evaluation_table, headline, write_model_report


def evaluation(value: float, posterior: PosteriorForm | None = None, *names: str) -> Evaluation:
    """With every metric at one value."""
    return Evaluation(
        data="x",
        generated=10,
        seed=0,
        posterior=posterior,
        measured=tuple(
            Measured(
                name=name,
                draws=(value,),
                interval=Interval(value=value, low=value - 0.1, high=value + 0.1, level=0.95),
                floor=0.25,
                floor_is="a part",
            )
            for name in ("w2", "precision", "coverage", "memorisation", *names)
        ),
    )


def test_sheet_places_pictures_row_by_row():
    x = torch.arange(5.0)[:, None, None].expand(5, 2, 3) / 4
    found = sheet(x, columns=2, scale=(0.0, 1.0))
    assert found.shape == (3 * 3 - 1, 2 * 4 - 1, 3)
    assert [found[3 * row, 4 * column, 0] for row in (0, 1) for column in (0, 1)] == [0.0, 0.25, 0.5, 0.75]
    assert found[6, 0, 0] == 1.0
    assert found[2, 0, 0] == 1.0  # paper between them
    colour = torch.zeros(1, 3, 2, 2)
    colour[0, 1] = 5.0
    assert sheet(colour, columns=1, scale=(0.0, 5.0))[0, 0].tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("shape", "expected"), [((8, 8), True), ((3, 8, 8), True), ((1, 8, 8), True), ((2,), False), ((4, 8, 8), False)]
)
def test_pictures_are_told_by_their_shape(shape, expected):
    assert are_pictures(shape) is expected


def test_shadow_keeps_the_plane_and_finds_the_widest_axes():
    x = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    assert Shadow(x)(x) == pytest.approx(x.numpy())
    wide = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 5.0, 0.1, 2.0])
    seen = Shadow(wide)(wide)
    assert np.abs(np.corrcoef(seen[:, 0], wide[:, 1])[0, 1]) > 0.99
    assert np.abs(np.corrcoef(seen[:, 1], wide[:, 3])[0, 1]) > 0.99
    assert Shadow(x[:, :1])(x[:, :1]).shape == (50, 2)


@pytest.mark.parametrize("shape", [(3, 6, 6), (1,), (5,)])
def test_every_figure_draws_every_kind_of_observation(tmp_path, shape):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(9, *shape, generator=generator)
    scale = (0.0, 1.0)
    families = Families(x=x[:2], decoded=torch.rand(2, 7, *shape, generator=generator))
    sweep = [
        Heat(gamma=gamma, decoded=torch.rand(7, *shape, generator=generator), spread=gamma, effective_size=3.0)
        for gamma in (0.1, 1.0, 10.0)
    ]
    drawn = [
        figures.samples_figure({"a": x, "b": x}, x, scale=scale),
        figures.reconstructions_figure(x, 0.9 * x, scale=scale),
        figures.posteriors_figure(families, scale=scale),
        figures.sweep_figure(sweep, x[0], 1.0, scale=scale),
        figures.codes_figure(x.flatten(1), x.flatten(1) + 1, torch.arange(9) % 3),
    ]
    for place, figure in enumerate(drawn):
        figure.savefig(tmp_path / f"{place}.png", dpi=30)
    assert [axes.get_title(loc="left") for axes in drawn[0].axes[:3]] == ["held out", "a", "b"]
    assert drawn[3].axes[1].get_xscale() == "log"


def test_curves_show_what_was_logged():
    lines = [{"step": step, "seconds": 1.0, "misfit": 10.0**-step, "loss": 1.0, "bad": None} for step in range(4)]
    figure = figures.curves_figure({"run": lines})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles[:3] == ["loss", "misfit", "bad"]
    assert figure.axes[1].get_yscale() == "log"
    assert figure.axes[1].lines[0].get_ydata() == pytest.approx([1, 0.1, 0.01, 0.001])
    assert len(figure.axes[2].lines) == 0


def test_entropy_and_comparison_have_a_mark_for_each_model():
    figure = figures.entropy_figure({"a": [(0.1, 0.5), (1.0, 1.0)], "b": [(0.1, 0.2)], "none": ()})
    assert [line.get_label() for line in figure.axes[0].lines] == ["a", "b"]
    compared = figures.comparison_figure({"a": evaluation(1.0), "b": evaluation(2.0, None, "codes")})
    shown = [axes for axes in compared.axes if axes.get_title(loc="left")]
    assert [len(axes.collections) for axes in shown] == [2, 2, 2, 2, 1]
    assert shown[0].collections[1].get_offsets()[0].tolist() == [2.0, 1.0]


def test_tables_hold_every_number_and_the_floor():
    form = PosteriorForm(spread=0.5, correlation=0.1, excess_kurtosis=0.0)
    rows = comparison_table({"a": evaluation(1.0), "b": evaluation(2.0, form, "codes")})
    assert [row["model"] for row in rows] == ["a", "b", "floor"]
    assert [row["codes"] for row in rows] == ["–", "2", "0.25"]
    assert [row["posterior"] for row in rows] == ["no posterior", "a family, spread 0.5", "–"]
    (first, *_) = evaluation_table(evaluation(1.0))
    assert (first["metric"], first["this model"], first["95 %"], first["floor"]) == ("w2", "1", "[0.9, 1.1]", "0.25")


def test_headline_names_copies_and_points():
    point = PosteriorForm(spread=0.0, correlation=math.nan, excess_kurtosis=math.nan)
    assert "copies" not in headline("m", evaluation(1.0))[0]
    assert "close to copies" in headline("m", evaluation(0.3))[0]
    assert headline("m", evaluation(1.0, point))[0].endswith("it has a point.")


def test_page_shows_text_as_text_and_stands_alone(tmp_path):
    evil = "<script>alert('x')</script>"
    write_model_report(
        tmp_path / "report.html",
        title=evil,
        introduction=evil,
        evaluations={evil: evaluation(1.0)},
        figures=[(evil, evil, figures.entropy_figure({"a": [(0.1, 0.5)]}))],
        inputs={evil: evil},
        outputs=[tmp_path / "numbers.json"],
    )
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert 'href="numbers.json"' in page
    assert "http" not in page
    with pytest.raises(ValueError, match="at least one"):
        write_model_report(
            tmp_path / "x.html", title="", introduction="", evaluations={}, figures=[], inputs={}, outputs=[]
        )
