"""`isotherm compare`: several trained models side by side, on the same held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from isotherm._checks import check_count
from isotherm.cli import options
from isotherm.cli.evaluate import Data, Draws, inputs_of, show_rows
from isotherm.cli.outputs import staged
from isotherm.cli.progress import Task, progress_bars
from isotherm.cli.runs import Run, doubts_told, read_run
from isotherm.cli.show import show_files
from isotherm.cli.threads import cpu_threads
from isotherm.models.evaluation import evaluate as measure
from isotherm.models.portrait import portray
from isotherm.report.figures import comparison_figure, curves_figure, entropy_figure, samples_figure
from isotherm.report.files import check_outputs, save_figure, write_json
from isotherm.report.models import comparison_table, write_model_report

FIGURES = {
    "comparison.png": (
        "Every metric",
        "One dot per model with its 95 % interval over sets of samples; the dashed line is its floor.",
    ),
    "samples.png": ("Samples", "Held-out observations, and what each model makes of its prior."),
    "entropy.png": (
        "Coupling entropy",
        "Of the entropic plan between held-out and generated observations: 0 pairs each with one, 1 each with all.",
    ),
    "training.png": ("Training curves", "Every number that was logged, run by run."),
}
FILES = {
    **{name: title.lower() for name, (title, _) in FIGURES.items()},
    "comparison.json": "every number",
    "report.html": "all of it for a person to read: open this one",
}


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of trainings on the same data.")],
    *,
    data: Data = None,
    draws: Draws = 5,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("out/compare"),
    is_overwriting: options.IsOverwriting = False,
) -> int:
    """Measure several trained models against the same held-out data and write one report about all."""
    check_outputs([output / name for name in FILES], overwrite=is_overwriting)
    check_count(draws, "--draws")
    with cpu_threads(threads), doubts_told(), progress_bars() as bars:
        task = Task(bars, "compare")
        seen = dict(zip(names_of(runs), (read_run(run, data) for run in runs), strict=True))
        check_same_data(seen)
        evaluations, portraits = {}, {}
        for place, (name, run) in enumerate(seen.items()):
            task.show(0.8 * place / len(seen), name)
            evaluations[name] = measure(run.model, run.data, draws=draws, seed=seed)
            portraits[name] = portray(run.model, run.data, seed=seed)
        task.show(0.8, "figures and report")
        first = next(iter(seen.values()))
        curves = {name: run.curves for name, run in seen.items() if run.curves}
        made = {name: portrait.samples for name, portrait in portraits.items()}
        figures = {
            "comparison.png": comparison_figure(evaluations),
            "samples.png": samples_figure(made, first.data.test, scale=first.data.scale),
            "entropy.png": entropy_figure({name: portrait.entropies for name, portrait in portraits.items()}),
            **({"training.png": curves_figure(curves)} if curves else {}),
        }
        written = [name for name in FILES if name in figures or name not in FIGURES]
        inputs = inputs_of(first, draws, seed) | {"run": ", ".join(run.name for run in seen.values())}
        with staged(output) as folder:
            for name, figure in figures.items():
                save_figure(folder / name, figure)
            numbers = {name: found.to_json() for name, found in evaluations.items()}
            write_json(folder / "comparison.json", {"command": "compare", "inputs": inputs, "models": numbers})
            write_model_report(
                folder / "report.html",
                title=f"{len(seen)} models of {first.data.name}",
                introduction="\n\n".join(
                    f"{name}: {type(run.model).__name__}({run.model.extra_repr()})." for name, run in seen.items()
                ),
                evaluations=evaluations,
                figures=[(*FIGURES[name], figure) for name, figure in figures.items()],
                inputs=inputs,
                outputs=[folder / name for name in written if name != "report.html"],
            )
        task.done()
    rows = comparison_table(evaluations)
    shown = [
        key for key in ("model", "w2", "frechet features", "precision", "coverage", "reconstruction") if key in rows[0]
    ]
    show_rows([{key: row[key] for key in shown} for row in rows])
    show_files({output / name: FILES[name] for name in written})
    return 0


def names_of(runs: list[Path]) -> list[str]:
    """A name for each run: the last part of its path, with as much before it as tells it from the others.

    Args:
        runs: Folders.

    Returns:
        Different names.

    Raises:
        ValueError: Fewer than two runs, or one of them twice.

    Example:
        >>> names_of([Path("a/vae"), Path("b/vae"), Path("b/wae")])
        ['a/vae', 'b/vae', 'b/wae']
    """
    folders = [run.resolve() for run in runs]
    if len(set(folders)) < 2 or len(set(folders)) < len(folders):
        msg = f"Runs must be two different folders or more: got {', '.join(map(str, runs))}. Look at one alone with isotherm evaluate."
        raise ValueError(msg)
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return ["/".join(folder.parts[-depth:]) for folder in folders]


def check_same_data(runs: dict[str, Run]) -> None:
    """Numbers of different data cannot be compared.

    Args:
        runs: By name.

    Raises:
        ValueError: Some have other held-out observations than the first.
    """
    first, *others = runs.items()
    for name, run in others:
        kept = first[1].data.test
        if run.data.test.shape != kept.shape or not bool((run.data.test == kept).all()):
            msg = f"Runs must have the same held-out observations: {first[0]} has {first[1].source!r}, {name} has {run.source!r}, or another seed. Train on the same data with the same seed of the data."
            raise ValueError(msg)
