"""`isotherm sweep`: one problem along the dial, from nearly a matching to nearly independence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from isotherm._checks import check_choice
from isotherm.cli import options
from isotherm.cli.figures import figures_of_path
from isotherm.cli.outputs import staged, write_path
from isotherm.cli.pose import UNITS, Question, Temperature, at_temperature, pose, solver_asked, tolerance_of
from isotherm.cli.progress import SolveTask, Task, progress_bars
from isotherm.cli.read import Cloud, describe_clouds, read_pair, seeded, selections
from isotherm.cli.show import exit_code, show_files, show_solutions
from isotherm.cli.threads import cpu_threads
from isotherm.report.files import check_outputs, save_figure, write_json
from isotherm.report.page import write_report
from isotherm.report.summary import summarise
from isotherm.solvers import Exact, TemperaturePath, temperature_path

FILES = {
    "dial.png": "plan, cost and entropy against temperature",
    "path.npz": "potentials and values at every temperature",
    "summary.json": "every number",
    "report.html": "all of it for a person to read",
}

_UNIT_WORDS = {
    "mean": "shares of the mean cost",
    "std": "shares of the standard deviation of the cost",
    "absolute": "in units of cost",
}

Epsilons = Annotated[
    str,
    typer.Option(
        help="Temperatures separated by commas, in any order, as shares of the mean cost; --epsilon-of changes the "
        "unit. 0 is exact transport.",
        metavar="NUMBERS",
        rich_help_panel=options.ASKED,
    ),
]


def sweep(
    source: options.Source,
    target: options.Target,
    *,
    epsilons: Epsilons = "1,0.3,0.1,0.03,0.01",
    epsilon_of: options.EpsilonOf = "mean",
    cost: options.Cost = "sqeuclidean",
    rho_a: options.RhoA = options.INFINITY,
    rho_b: options.RhoB = options.INFINITY,
    weights_column: options.WeightsColumn = None,
    source_weights: options.SourceWeights = None,
    target_weights: options.TargetWeights = None,
    columns: options.Columns = None,
    is_normalised: options.IsNormalised = False,
    samples: options.Samples = None,
    seed: options.Seed = 0,
    solver: options.Solver = "auto",
    tolerance: options.Tolerance = None,
    max_iterations: options.MaxIterations = None,
    dtype: options.Dtype = None,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("out/sweep"),
    is_overwriting: options.IsOverwriting = False,
) -> int:
    """Couple two data sets at several temperatures, each solve starting from the one before, and draw the dial."""
    check_outputs([output / name for name in FILES], overwrite=is_overwriting)
    levels = temperatures_asked(epsilons, epsilon_of)
    chosen = solver_asked(solver, tolerance=tolerance, max_iterations=max_iterations)
    if isinstance(chosen, Exact):
        msg = "--solver exact has one temperature, 0: got a sweep. Put 0 among --epsilons, or use `isotherm couple`."
        raise ValueError(msg)
    question = Question(cost=cost, rho_a=rho_a, rho_b=rho_b)
    wanted = selections(
        weights=(source_weights or weights_column, target_weights or weights_column),
        columns=columns,
        samples=samples,
        dtype=dtype,
        is_normalised=is_normalised,
    )
    clouds = read_pair((source, target), wanted, generator=seeded(seed))
    with cpu_threads(threads), progress_bars() as bars:
        problem = pose(*clouds, question)
        dial = sorted((at_temperature(problem, level).epsilon for level in levels), reverse=True)
        if dial[-1] == 0 and not problem.is_balanced:
            msg = "--epsilons may hold 0, exact transport, only without --rho-a and --rho-b: got both. Leave out the 0."
            raise ValueError(msg)
        warm = [epsilon for epsilon in dial if epsilon > 0]
        listener = SolveTask(Task(bars, "solve"), tolerance=tolerance_of(chosen), epsilons=warm)
        path = temperature_path(problem, dial, solver=chosen, callback=listener if warm else None)
        listener.finish(path, f"{len(path)} temperatures")
        inputs = {**describe_clouds(clouds, seed), "epsilons": f"{epsilons} ({_UNIT_WORDS[epsilon_of]})"}
        task = Task(bars, "certify, draw and write")
        with staged(output) as folder:
            write_files(folder, path, clouds, inputs=inputs, task=task)
    show_solutions(path)
    show_files({output / name: text for name, text in FILES.items()})
    return exit_code(path)


def write_files(
    folder: Path,
    path: TemperaturePath,
    clouds: tuple[Cloud, Cloud],
    *,
    inputs: dict[str, str],
    task: Task,
) -> None:
    """Write every file of `FILES`.

    Args:
        folder: Where, an existing folder.
        path: The solutions.
        clouds: Source and target.
        inputs: What was asked, in words.
        task: Bar to move.
    """
    write_path(folder / "path.npz", path, *clouds)
    task.show(0.2, "certificates")
    summary = {"command": "sweep", "inputs": inputs, "solutions": [summarise(solution) for solution in path]}
    write_json(folder / "summary.json", summary)
    task.show(0.5, "figures and report")
    figures = figures_of_path(path)
    save_figure(folder / "dial.png", figures[0][2])
    source, target = clouds
    write_report(
        folder / "report.html",
        title=f"{source.path.name} and {target.path.name} along the dial",
        introduction=(
            f"The same two data sets, coupled at {len(path)} temperatures. Cold plans decide, hot plans hedge; the cost that "
            f"a plan pays and its entropy rise with temperature."
        ),
        solutions=path,
        figures=figures,
        inputs=inputs,
        outputs=[folder / name for name in FILES if name != "report.html"],
    )
    task.done()


def temperatures_asked(text: str, unit: str) -> list[Temperature]:
    """The temperatures behind --epsilons, without repetitions.

    Args:
        text: Numbers separated by commas.
        unit: One of `UNITS`.

    Returns:
        In the order they were given.

    Raises:
        ValueError: Not numbers, negative, not finite, none, or an unknown unit.
    """
    check_choice(unit, "--epsilon-of", UNITS)
    try:
        numbers = [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        numbers = [math.nan]
    if not numbers or not all(number >= 0 and math.isfinite(number) for number in numbers):
        msg = f"--epsilons must be numbers of at least 0, separated by commas: got {text!r}. For instance --epsilons 1,0.1,0.01."
        raise ValueError(msg)
    return [Temperature(number, unit) for number in dict.fromkeys(numbers)]
