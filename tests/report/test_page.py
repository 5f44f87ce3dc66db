"""The page stands alone, says how it went, and shows text as text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

import isotherm
from isotherm.report import write_report
from isotherm.report.figures import convergence_figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isotherm import Solution, TemperaturePath


def _page(path: Path, solutions: Sequence[Solution], **changes: Any) -> str:
    arguments: dict[str, Any] = {
        "title": "A title",
        "introduction": "First paragraph.\n\nSecond paragraph.",
        "figures": [("Convergence", "Look at the slope.", convergence_figure(solutions))],
        "inputs": {"source": "x.npy", "seed": 0},
        "outputs": [path.parent / "summary.json"],
    }
    write_report(path, solutions=solutions, **{**arguments, **changes})
    return path.read_text(encoding="utf-8")


class _Checker(HTMLParser):
    """Collects addresses, and that every element opened is closed."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_stands_alone_and_is_well_formed(tmp_path: Path, path: TemperaturePath) -> None:
    page = _page(tmp_path / "report.html", path)
    checker = _Checker()
    checker.feed(page)
    assert checker.open == []
    assert all(address.startswith("data:image/svg+xml") or address == "summary.json" for address in checker.addresses)
    assert not re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", page)


def test_page_escapes_everything(tmp_path: Path, solution: Solution) -> None:
    evil = "<script>alert('x')</script>\"&"
    figure = (evil, evil, convergence_figure([solution]))
    page = _page(
        tmp_path / "report.html",
        [solution],
        title=evil,
        introduction=evil,
        figures=[figure],
        inputs={evil: evil},
        outputs=[tmp_path / evil],
    )
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 7


def test_page_leads_with_convergence(tmp_path: Path, path: TemperaturePath, unfinished: Solution) -> None:
    good = _page(tmp_path / "good.html", path)
    assert "✓ Converged at all 4 temperatures" in good
    assert "NOT CONVERGED" not in good
    bad = _page(tmp_path / "bad.html", [*path, unfinished])
    assert "✗ Not converged at 1 of 5 temperatures" in bad
    assert bad.index("✗ Not converged") < bad.index("<table>")
    assert bad.count("NOT CONVERGED") == 1
    assert "max_iterations" in bad  # the advice


def test_page_states_only_certain_digits(tmp_path: Path, solution: Solution, unfinished: Solution) -> None:
    page = _page(tmp_path / "report.html", [solution])
    value = float(solution.value)
    stated = re.search(r"entropic value is ([\d.]+) \(certified: ([\d.]+) to ([\d.]+)\)", page)
    assert stated is not None
    digits, lower, upper = (float(number) for number in stated.groups())
    assert lower <= solution.certificate.entropic_lower <= solution.certificate.entropic_upper <= upper
    assert digits == pytest.approx(value, abs=10.0 ** -len(stated[1].partition(".")[2]))
    assert "The plan itself pays" not in _page(tmp_path / "bad.html", [unfinished])


def test_page_of_problems_without_points_and_without_balance(tmp_path: Path, costs_only: Solution) -> None:
    assert "costs given as a matrix" in _page(tmp_path / "costs.html", [costs_only], figures=[], outputs=[])
    loose = isotherm.solve([[0.0], [1.0]], [[0.0], [2.0]], epsilon=1.0, rho_a=1.0, rho_b=2.0)
    assert "paying for what stays unmatched" in _page(tmp_path / "loose.html", [loose])


def test_page_links_outputs_relative_to_itself(tmp_path: Path, solution: Solution) -> None:
    outputs = [tmp_path / "pictures" / "plan 1.png", tmp_path.parent / "other.csv"]
    page = _page(tmp_path / "report.html", [solution], outputs=outputs)
    assert 'href="pictures/plan%201.png"' in page
    assert 'href="../other.csv"' in page


def test_page_refuses_no_solutions(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one solution"):
        write_report(
            tmp_path / "report.html", title="", introduction="", solutions=[], figures=[], inputs={}, outputs=[]
        )
    assert list(tmp_path.iterdir()) == []
