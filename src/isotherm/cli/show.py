"""What a person sees at the end: a short table, the files, and a warning where one is due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isotherm.cli.main import NOT_CONVERGED, OK
from isotherm.report.summary import summary_table
from isotherm.solution import Solution

HIDDEN = ("of mean cost", "marginal error", "iterations", "seconds")  # in summary.json and in the report


def show_solutions(solutions: Sequence[Solution]) -> None:
    """A table with one line per solution.

    Args:
        solutions: In the order of the lines.
    """
    rows = [{key: text for key, text in row.items() if key not in HIDDEN} for row in summary_table(solutions)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "status" else "right", no_wrap=name in ("epsilon", "status"))
    for row in rows:
        table.add_row(*map(escape, row.values()))
    Console().print(table)


def show_files(files: Mapping[Path, str]) -> None:
    """The files that were written.

    Args:
        files: Path to what it holds.
    """
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, overflow="fold")
    table.add_column(style="dim")
    for path, text in files.items():
        table.add_row(escape(str(path)), escape(text))
    Console().print()
    Console().print(table)


def exit_code(solutions: Sequence[Solution]) -> int:
    """Zero where every solve converged; otherwise say which did not, on standard error, and what to change.

    Args:
        solutions: Everything that was solved.

    Returns:
        0 or 3.
    """
    failed = [solution for solution in solutions if not solution.status.is_converged]
    console = Console(stderr=True)
    for solution in failed:
        advice = escape(solution.status.advice)
        console.print(f"[bold red]not converged[/] at epsilon {solution.epsilon:.4g}: {advice}")
    if failed:
        console.print(
            "Outputs are written, and marked. Options: --max-iterations, --epsilon, --tolerance, --dtype, --solver."
        )
    return NOT_CONVERGED if failed else OK
