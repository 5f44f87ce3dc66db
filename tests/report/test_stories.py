"""Pages about anything else than solutions, and figures of families."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest

from isotherm.report import write_story
from isotherm.report.figures import coverage_figure, family_figure, heat_figure

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure


def words_of(figure: Figure) -> str:
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    return "\n".join(text.get_text() for text in figure.findobj(mpl.text.Text))  # pyright: ignore[reportAttributeAccessIssue]


def test_a_family_has_a_column_for_each_thing_said() -> None:
    pictures = np.random.default_rng(0).uniform(size=(3, 8, 8))
    columns = {"measured": pictures, "seen": pictures, " ": pictures, "spread": 5.0 * pictures}
    figure = family_figure(columns, spreads=["spread"], masks=["measured"])
    assert len(figure.axes) == 12
    assert "measured" in words_of(figure)
    spread = figure.axes[3].images[0]
    assert spread.norm.vmax == pytest.approx(5.0 * pictures.max())
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), np.fft.fftshift(pictures[0]))


def test_the_dial_shows_pictures_above_spreads() -> None:
    pictures = np.random.default_rng(0).uniform(size=(3, 8, 8))
    temperatures = (0.01, 0.1, 1.0)
    figure = heat_figure(temperatures, {"mean": pictures}, {"spread": [0.1, 0.2, 0.3]}, used=0.1)
    assert len(figure.axes) == 4
    text = words_of(figure)
    assert "0.01" in text
    assert "in use" in text
    np.testing.assert_allclose(figure.axes[-1].lines[0].get_ydata(), [0.1, 0.2, 0.3])


def test_coverage_draws_what_it_is_given() -> None:
    figure = coverage_figure({"ours": {0.5: 0.4, 0.9: 0.8}})
    np.testing.assert_allclose(figure.axes[0].lines[1].get_xydata(), [[0.5, 0.4], [0.9, 0.8]])
    assert "calibrated" in words_of(figure)


def test_a_story_stands_alone_and_shows_text_as_text(tmp_path: Path) -> None:
    write_story(
        tmp_path / "report.html",
        title="A <title>",
        introduction="One.\n\nTwo.",
        answer=["It is so.", "By 7 %."],
        table=[{"what": "this", "share": "7 %"}],
        explained="Shares.",
        figures=[("Coverage", "Look.", coverage_figure({"ours": {0.5: 0.4}}))],
        words={"Share": "Part of all."},
        inputs={"seed": 3},
        outputs=[tmp_path / "summary.json"],
    )
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for expected in (
        "A &lt;title&gt;",
        "<p>Two.</p>",
        "It is so.",
        "Part of all.",
        'href="summary.json"',
        "data:image/svg",
    ):
        assert expected in page
    assert "Certificate" not in page  # the words of another page
    assert "http" not in page
    assert page.count("<section") == page.count("</section>") == 5
