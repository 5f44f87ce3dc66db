"""`isotherm evaluate`: a trained model looked at from all sides, with every number beside its floor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from isotherm._checks import check_count
from isotherm.cli import options
from isotherm.cli.outputs import staged
from isotherm.cli.progress import Task, progress_bars
from isotherm.cli.runs import Run, doubts_told, read_run
from isotherm.cli.show import show_files
from isotherm.cli.threads import cpu_threads
from isotherm.models.evaluation import evaluate as measure
from isotherm.models.portrait import Portrait, portray
from isotherm.report.figures import (
    codes_figure,
    curves_figure,
    entropy_figure,
    posteriors_figure,
    reconstructions_figure,
    samples_figure,
    sweep_figure,
)
from isotherm.report.files import check_outputs, save_figure, write_json
from isotherm.report.models import evaluation_table, headline, write_model_report

FIGURES = {
    "samples.png": ("Samples", "Held-out observations beside what the model makes of its prior."),
    "reconstructions.png": (
        "Reconstructions",
        "Held-out observations, and what is left of them after code and decoder.",
    ),
    "latent.png": (
        "Latent map",
        "Codes of held-out observations beside draws from the prior. Where the prior has mass and no code lies, samples are "
        "extrapolated.",
    ),
    "posteriors.png": (
        "Posterior families",
        "For a few held-out observations, what causes look like that were drawn given each. Where they differ, the model "
        "does not know.",
    ),
    "temperature.png": (
        "Temperature sweep",
        "Cold, the causes that explain best; hot, any cause. The dashed line is the temperature that it was trained at.",
    ),
    "entropy.png": (
        "Coupling entropy",
        "Of the entropic plan between held-out and generated observations: 0 pairs each with one, 1 each with all. A model "
        "that repeats itself stays high where it is cold.",
    ),
    "training.png": ("Training curves", "Every number that was logged."),
}
FILES = {
    **{name: title.lower() for name, (title, _) in FIGURES.items()},
    "evaluation.json": "every number",
    "report.html": "all of it for a person to read: open this one",
}

Draws = Annotated[
    int,
    typer.Option(
        help="Sets of generated observations that are measured, each as large as what is held out.",
        metavar="NUMBER",
        parser=options.whole_number,
        rich_help_panel=options.ASKED,
    ),
]
Data = Annotated[
    str | None,
    typer.Option(
        help="The data, where config.yaml of the run does not name them or they have moved.",
        metavar="NAME|FILE|DIR",
        show_default=False,
        rich_help_panel=options.INPUT,
    ),
]


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training, or of one of its checkpoints.")],
    *,
    data: Data = None,
    draws: Draws = 5,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder to write to. \\[default: evaluation, within RUN]",
            show_default=False,
            metavar="DIR",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    is_overwriting: options.IsOverwriting = False,
) -> int:
    """Measure a trained model against held-out data and write figures and a report."""
    output = output or run / "evaluation"
    check_outputs([output / name for name in FILES], overwrite=is_overwriting)
    check_count(draws, "--draws")
    with cpu_threads(threads), doubts_told(), progress_bars() as bars:
        task = Task(bars, "evaluate")
        seen = read_run(run, data)
        task.show(0.1, "metrics")
        found = measure(seen.model, seen.data, draws=draws, seed=seed)
        task.show(0.5, "portrait")
        figures = figures_of(seen, portray(seen.model, seen.data, seed=seed))
        with staged(output) as folder:
            for place, (name, figure) in enumerate(figures.items()):
                task.show(0.7 + 0.2 * place / len(figures), "figures")
                save_figure(folder / name, figure)
            written = [name for name in FILES if name in figures or name not in FIGURES]
            inputs = inputs_of(seen, draws, seed)
            write_json(folder / "evaluation.json", {"command": "evaluate", "inputs": inputs, **found.to_json()})
            write_model_report(
                folder / "report.html",
                title=f"{type(seen.model).__name__} on {seen.data.name}",
                introduction=f"Run {seen.name}: {seen.model.extra_repr()}.\n\nData: {seen.data.description}.",
                evaluations={type(seen.model).__name__: found},
                figures=[(*FIGURES[name], figure) for name, figure in figures.items()],
                inputs=inputs,
                outputs=[folder / name for name in written if name != "report.html"],
            )
        task.done()
    for sentence in headline(type(seen.model).__name__, found):
        Console().print(escape(sentence))
    show_rows([{key: row[key] for key in ("metric", "this model", "95 %", "floor")} for row in evaluation_table(found)])
    show_files({output / name: FILES[name] for name in written})
    return 0


def figures_of(run: Run, seen: Portrait) -> dict[str, Figure]:
    """Every figure that the model has something to show in, by file name.

    Args:
        run: The training.
        seen: Its model, looked at.

    Returns:
        In the order of `FIGURES`.
    """
    name, scale = type(run.model).__name__, run.data.scale
    figures = {"samples.png": samples_figure({name: seen.samples}, run.data.test, scale=scale)}
    if seen.pairs is not None:
        figures["reconstructions.png"] = reconstructions_figure(*seen.pairs, scale=scale)
    if seen.codes is not None and seen.prior is not None:
        figures["latent.png"] = codes_figure(seen.codes, seen.prior, seen.labels)
    if seen.families is not None:
        figures["posteriors.png"] = posteriors_figure(seen.families, scale=scale)
        if seen.sweep:
            own = float(run.model.settings()["gamma"])
            figures["temperature.png"] = sweep_figure(seen.sweep, seen.families.x[0], own, scale=scale)
    if seen.entropies:
        figures["entropy.png"] = entropy_figure({name: seen.entropies})
    if run.curves:
        figures["training.png"] = curves_figure({name: run.curves})
    return figures


def inputs_of(run: Run, draws: int, seed: int) -> dict[str, str]:
    """What was asked, in words.

    Args:
        run: The training.
        draws: Sets of generated observations.
        seed: Of them.

    Returns:
        Name to description.
    """
    return {"run": run.name, "data": f"{run.source}: {run.data.description}", "draws": str(draws), "seed": str(seed)}


def show_rows(rows: list[dict[str, str]]) -> None:
    """A table on the terminal.

    Args:
        rows: With the same keys, the headers.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(rows[0]):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(escape, row.values()))
    Console().print()
    Console().print(table)
