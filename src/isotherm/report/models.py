"""Pages about models: one looked at from all sides, or several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isotherm.models.evaluation import METRICS
from isotherm.report.digits import number
from isotherm.report.page import write_story

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from isotherm.models.evaluation import Evaluation, Measured

EXPLAINED = """Each number beside its floor: what the best possible model gets, with as many observations. Intervals are of 95 %, \
over sets of samples; a difference within them says nothing."""
WORDS = {
    "Floor": "The same metric for a part of the training data, as large as the held-out data: two samples of one law are not "
    "the same. For reconstructions: as many principal components as the code has numbers. For copies: held-out data.",
    "W2, Fréchet distance, MMD": "How far the generated observations are from the held-out ones: by exact transport, by means "
    "and covariances alone, by a smooth kernel. Smaller is better, down to the floor. A single Gaussian can look perfect to the "
    "Fréchet distance of observations.",
    "Precision, density": "How many of the generated observations lie where held-out ones do, and how deep within. Blurred "
    "observations raise both.",
    "Recall, coverage": "How much of the held-out data the generated ones reach. Noise raises recall, but not coverage.",
    "Memorisation, copies": "Distance from the generated observations to the training data, over that of held-out ones: 1 as if "
    "new, near 0 for copies. Copies: the share that is nearer than 99 % of held-out ones are.",
    "Posterior": "Which causes may lie behind an observation: one point, or a family. Its spread is a standard deviation, in "
    "units of the prior's.",
}


def write_model_report(
    path: str | Path,
    *,
    title: str,
    introduction: str,
    evaluations: Mapping[str, Evaluation],
    figures: Iterable[tuple[str, str, Figure]],
    inputs: Mapping[str, Any],
    outputs: Iterable[str | Path],
) -> None:
    """Write a self-contained HTML page about one model or several, atomically.

    Args:
        path: The file, replaced if it exists.
        title: Headline.
        introduction: What was done; empty lines separate paragraphs.
        evaluations: What was measured, by name of the model, on the same data.
        figures: Title, caption and matplotlib figure of each, in the order shown.
        inputs: What went in, name to value; shown as text.
        outputs: Files that were written beside the page; linked relative to it.

    Raises:
        ValueError: No evaluation.
        ImportError: jinja2 or matplotlib is missing; the message says how to get them.
    """
    if not evaluations:
        msg = "`evaluations` must hold at least one: got none. Evaluate a model first."
        raise ValueError(msg)
    sentences = [sentence for name, found in evaluations.items() for sentence in headline(name, found)]
    only = next(iter(evaluations.values()))
    write_story(
        path,
        title=title,
        introduction=introduction,
        answer=[f"{len(evaluations)} models measured" if len(evaluations) > 1 else "Measured", *sentences],
        table=evaluation_table(only) if len(evaluations) == 1 else comparison_table(evaluations),
        explained=EXPLAINED,
        figures=figures,
        words=WORDS,
        inputs=inputs,
        outputs=outputs,
    )


def evaluation_table(found: Evaluation) -> list[dict[str, str]]:
    """One row for each metric.

    Args:
        found: What was measured.

    Returns:
        Rows with the same keys, the headers of the columns.
    """
    return [
        {
            "metric": each.name.replace("_", " "),
            "this model": number(each.value, 3),
            "95 %": f"[{number(each.interval.low, 3)}, {number(each.interval.high, 3)}]",
            "floor": number(each.floor, 3),
            "the floor is": each.floor_is,
            "what it is": METRICS[each.name],
        }
        for each in found.measured
    ]


def comparison_table(evaluations: Mapping[str, Evaluation]) -> list[dict[str, str]]:
    """One row for each model, one column for each metric, the floor as the last row.

    Args:
        evaluations: By name of the model, on the same data.

    Returns:
        Rows with the same keys, the headers of the columns; a dash where a model does not have what is measured.
    """
    names = [name for name in METRICS if any(name in _by_name(found) for found in evaluations.values())]
    rows = []
    for model, found in evaluations.items():
        cells = {name: _by_name(found).get(name) for name in names}
        shown = {name.replace("_", " "): "–" if each is None else number(each.value, 3) for name, each in cells.items()}
        rows.append({"model": model, **shown, "posterior": _posterior(found)})
    floors = [next(f for e in evaluations.values() if (f := _by_name(e).get(name))) for name in names]
    shown = {name.replace("_", " "): number(floor.floor, 3) for name, floor in zip(names, floors, strict=True)}
    return [*rows, {"model": "floor", **shown, "posterior": "–"}]


def headline(name: str, found: Evaluation) -> list[str]:
    """A model in a sentence or two.

    Args:
        name: Of the model.
        found: What was measured.

    Returns:
        Sentences.
    """
    w2, coverage, precision, near = (found[key] for key in ("w2", "coverage", "precision", "memorisation"))
    copies = "; what it makes is close to copies of the training data" if near.value < 0.5 else ""
    sentence = (
        f"{name}: exact W2 to the held-out data {number(w2.value, 3)} (floor {number(w2.floor, 3)}), coverage "
        f"{number(coverage.value, 2)} ({number(coverage.floor, 2)}), precision {number(precision.value, 2)} "
        f"({number(precision.floor, 2)}){copies}."
    )
    return [sentence] if found.posterior is None else [f"{sentence} Given an observation it has {_posterior(found)}."]


def _posterior(found: Evaluation) -> str:
    if found.posterior is None:
        return "no posterior"
    if found.posterior.name == "a point":
        return "a point"
    return f"a family, spread {number(found.posterior.spread, 2)}"


def _by_name(found: Evaluation) -> dict[str, Measured]:
    return {each.name: each for each in found.measured}
