"""One page for a person to read: what was asked, what came out, how sure it is."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from isotherm._files import write_text
from isotherm._optional import require
from isotherm.report.digits import certified, interval, number
from isotherm.report.figures.certificates import exact_bounds
from isotherm.report.style import figure_style
from isotherm.report.summary import summary_table, versions
from isotherm.report.temperature import by_temperature, epsilon_label, epsilon_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from matplotlib.figure import Figure

    from isotherm.solution import Solution

TEMPLATE = "page.html.j2"
PIXELS_PER_INCH = 170  # of the parts of a figure that are pictures rather than lines


@dataclass(frozen=True)
class Captioned:
    """A figure with its words, as the page shows it.

    Attributes:
        title: What it is, one line.
        text: What to look at.
        source: The picture as a data address.
        width: Pixels at which its letters have the size of the text around it.
    """

    title: str
    text: str
    source: str
    width: int


def write_report(
    path: str | Path,
    *,
    title: str,
    introduction: str,
    solutions: Sequence[Solution],
    figures: Iterable[tuple[str, str, Figure]],
    inputs: Mapping[str, Any],
    outputs: Iterable[str | Path],
) -> None:
    """Write a self-contained HTML page about some solutions of one problem, atomically.

    The page loads nothing from anywhere: figures are inside. All text given is shown as text, never read as HTML.

    Args:
        path: The file, replaced if it exists; see `check_outputs`.
        title: Headline.
        introduction: What was done and why; empty lines separate paragraphs.
        solutions: One or more, in any order; converged or not.
        figures: Title, caption and matplotlib figure of each, in the order shown.
        inputs: What went in, name to value; shown as text.
        outputs: Files that were written beside the report; linked relative to it.

    Raises:
        ValueError: No solution.
        ImportError: jinja2 or matplotlib is missing; the message says how to get them.
    """
    ordered = by_temperature(solutions)
    page = _template(TEMPLATE).render(
        title=title,
        paragraphs=_paragraphs(introduction),
        verdict=_verdict(ordered),
        headline=_headline(ordered),
        failures=[
            (epsilon_label(solution), solution.status.advice)
            for solution in ordered
            if not solution.status.is_converged
        ],
        table=summary_table(ordered),
        methods=_methods(ordered),
        figures=[_captioned(*figure) for figure in figures],
        problem=_problem_words(ordered[0]),
        inputs={name: str(value) for name, value in inputs.items()},
        outputs=[_link(Path(output), Path(path)) for output in outputs],
        versions=versions(),
        seconds=number(sum(solution.seconds for solution in ordered), 2),
    )
    write_text(path, page)


def write_story(  # noqa: PLR0913 - all that a page shows
    path: str | Path,
    *,
    title: str,
    introduction: str,
    answer: Sequence[str],
    table: Sequence[Mapping[str, str]],
    explained: str,
    figures: Iterable[tuple[str, str, Figure]],
    words: Mapping[str, str],
    inputs: Mapping[str, Any],
    outputs: Iterable[str | Path],
) -> None:
    """Write a self-contained HTML page about anything else than solutions, atomically, in the same layout.

    Args:
        path: The file, replaced if it exists; see `check_outputs`.
        title: Headline.
        introduction: What was done and why; empty lines separate paragraphs.
        answer: The finding in a line, and then sentences about it.
        table: Rows, all with the same headers, of cells as they are shown.
        explained: What the table's numbers are, a sentence or two.
        figures: Title, caption and matplotlib figure of each, in the order shown.
        words: Terms and what they mean.
        inputs: What went in, name to value; shown as text.
        outputs: Files that were written beside the page; linked relative to it.

    Raises:
        ImportError: jinja2 or matplotlib is missing; the message says how to get them.
    """
    page = _template("story.html.j2").render(
        title=title,
        paragraphs=_paragraphs(introduction),
        verdict=answer[0],
        headline=answer[1:],
        table=table,
        explained=explained,
        figures=[_captioned(*figure) for figure in figures],
        words=words,
        inputs={name: str(value) for name, value in inputs.items()},
        outputs=[_link(Path(output), Path(path)) for output in outputs],
        versions=versions(),
    )
    write_text(path, page)


def _paragraphs(text: str) -> list[str]:
    return [part.strip() for part in text.split("\n\n") if part.strip()]


def _template(name: str) -> Any:
    jinja2 = require("jinja2", extra="cli", why="write the report")
    folder = resources.files("isotherm.report")
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(lambda file: folder.joinpath(file).read_text(encoding="utf-8")),
    )
    return environment.get_template(name)


def _verdict(solutions: list[Solution]) -> str:
    """Did it converge, in a line."""
    failed = sum(not solution.status.is_converged for solution in solutions)
    total = len(solutions)
    if total == 1:
        return "Not converged" if failed else "Converged"
    return f"Not converged at {failed} of {total} temperatures" if failed else f"Converged at all {total} temperatures"


def _headline(solutions: list[Solution]) -> list[str]:
    """The answer as sentences, cold end first."""
    best = _figure_and_range(*exact_bounds(solutions))
    if solutions[0].problem.is_balanced:
        sentences = [f"The exact transport cost, the least that any plan can pay, is {best}."]
    else:
        sentences = [f"At zero temperature, moving mass and paying for what stays unmatched costs {best} at best."]
    coldest = next((solution for solution in solutions if solution.epsilon > 0), None)
    if coldest is not None:
        bounds = coldest.certificate
        which = "" if len(solutions) == 1 else "the coldest temperature, "
        share = epsilon_share(coldest)
        sentences.append(
            f"At {which}{epsilon_label(coldest)}{f' ({share})' if share else ''}, the entropic value is "
            f"{_figure_and_range(bounds.entropic_lower, bounds.entropic_upper)}."
        )
        if coldest.status.is_converged:
            sentences[-1] += (
                f" The plan itself pays {number(float(coldest.transport_cost), 4)}; on a scale from one-to-one "
                f"matching (0) to random pairing (1) it stands at {coldest.coupling.normalised_entropy():.2f}."
            )
    return sentences


def _figure_and_range(lower: float, upper: float) -> str:
    """A value in the digits that are certain, and the bounds behind it."""
    digits, range_ = certified(lower, upper), interval(lower, upper)
    if digits is None:
        return f"between {range_.replace(' to ', ' and ')}" if " to " in range_ else range_
    return f"{digits} (certified: {range_})"


def _methods(solutions: list[Solution]) -> list[tuple[str, str]]:
    """Which solver ran, said once for temperatures that share the sentence."""
    found: dict[str, list[str]] = {}
    for solution in solutions:
        found.setdefault(solution.method, []).append(epsilon_label(solution))
    return [(", ".join(labels), method) for method, labels in found.items()]


def _problem_words(solution: Solution) -> str:
    """Sizes and cost in a phrase."""
    geometry = solution.problem.geometry
    n, m = geometry.shape
    words = f"{n:,} sources and {m:,} targets"
    if geometry.source_points is not None:
        features = geometry.source_points.shape[1]
        words += f" with {features} feature{'s' if features > 1 else ''} each"
    name = getattr(getattr(geometry, "cost", None), "name", None)
    words += f", cost “{name}”" if name else ", costs given as a matrix"
    return f"{words}, {str(geometry.dtype).removeprefix('torch.')}"


def _captioned(title: str, text: str, figure: Figure) -> Captioned:
    buffer = io.BytesIO()
    with figure_style():
        figure.savefig(buffer, format="svg", dpi=PIXELS_PER_INCH, metadata={"Date": None})
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Captioned(title, text, f"data:image/svg+xml;base64,{encoded}", round(115 * figure.get_figwidth()))


def _link(output: Path, report: Path) -> tuple[str, str]:
    """Name and address of a file, relative to the page's folder."""
    relative = os.path.relpath(output.absolute(), report.absolute().parent)
    return relative, quote(relative)
