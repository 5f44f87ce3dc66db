"""Which pictures a report on one problem shows, and their words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from isotherm.report.figures import (
    certificate_figure,
    cloud_figure,
    convergence_figure,
    dial_figure,
    plan_figure,
    plans_figure,
)
from isotherm.solution import Solution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Captioned = tuple[str, str, "Figure"]  # title, text, figure


def figures_of(solution: Solution) -> list[Captioned]:
    """The pictures of one solution.

    Args:
        solution: Converged or not.

    Returns:
        Title, text and figure of each.
    """
    figures = [
        (
            "The plan",
            "Who goes where: one row per source, one column per target, both put in an order in which neighbours are "
            "similar. A sharp line is a matching, a smooth field is independence.",
            plan_figure(solution),
        ),
        (
            "The points",
            "Both clouds in two dimensions, and the strongest matches of some sources.",
            cloud_figure(solution),
        ),
    ]
    return [*figures, *trust_figures([solution])]


def figures_of_path(solutions: Sequence[Solution]) -> list[Captioned]:
    """The pictures of one problem at several temperatures.

    Args:
        solutions: Converged or not.

    Returns:
        Title, text and figure of each.
    """
    figures = [
        (
            "The dial",
            "Plan, transport cost and entropy against temperature. Turn it until the plan is as decided as the data "
            "deserve, and not further.",
            dial_figure(solutions),
        )
    ]
    return [*figures, *trust_figures(solutions)]


def plans_figures(solutions: Sequence[Solution]) -> list[Captioned]:
    """The plans side by side.

    Args:
        solutions: Of one problem, at several temperatures.

    Returns:
        Title, text and figure, one entry.
    """
    text = (
        "Who goes where: one row per source, one column per target. From left to right, cold to hot: nearly a matching, "
        "in between, nearly independent."
    )
    return [("The plans", text, plans_figure(solutions))]


def trust_figures(solutions: Sequence[Solution]) -> list[Captioned]:
    """How sure the answer is: convergence, where a solver iterated, and the certificate.

    Args:
        solutions: Converged or not.

    Returns:
        Title, text and figure of each.
    """
    figures: list[Captioned] = []
    if any(solution.history for solution in solutions):
        iterated = [solution for solution in solutions if solution.history]
        text = (
            "How far the plan's marginals were from the weights, per iteration; each solve stops below the tolerance."
        )
        figures.append(("Convergence", text, convergence_figure(iterated)))
    text = "The true values lie within these bars, whether or not a solve converged."
    return [*figures, ("The certificate", text, certificate_figure(solutions))]
