"""`isotherm couple`: two data sets in, a coupling with its certificate out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from isotherm._checks import check_count
from isotherm.cli import options
from isotherm.cli.figures import figures_of
from isotherm.cli.outputs import staged, write_coupling, write_matches, write_solution
from isotherm.cli.pose import Question, at_temperature, in_words, pose, solver_asked, temperature_asked, tolerance_of
from isotherm.cli.progress import SolveTask, Task, progress_bars
from isotherm.cli.read import Cloud, describe_clouds, read_pair, seeded, selections
from isotherm.cli.show import exit_code, show_files, show_solutions
from isotherm.cli.threads import cpu_threads
from isotherm.report.files import check_outputs, write_json
from isotherm.report.page import write_report
from isotherm.report.summary import summarise
from isotherm.solution import Solution

FILES = {
    "solution.npz": "potentials, weights, values, barycentric map",
    "coupling.npz": "the heavier pairs as a sparse matrix (scipy.sparse.load_npz)",
    "matches.csv": "the heaviest targets of each source",
    "summary.json": "every number",
    "report.html": "all of it for a person to read",
}


@dataclass(frozen=True, kw_only=True)
class Lists:
    """How much of the plan goes into the files.

    Attributes:
        threshold: Least share of its source's mass that a pair in coupling.npz carries, in [0, 1].
        top_k: Matches per source in matches.csv.

    Raises:
        ValueError: Out of range.
    """

    threshold: float
    top_k: int

    def __post_init__(self) -> None:
        check_count(self.top_k, "--top-k")
        if not 0 <= self.threshold <= 1:
            msg = f"`--threshold` must be a share of a source's mass, from 0 to 1: got {self.threshold:g}. 0 keeps every pair."
            raise ValueError(msg)


def couple(
    source: options.Source,
    target: options.Target,
    *,
    epsilon: options.Epsilon = None,
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
    output: options.OutputFolder = Path("out/couple"),
    is_overwriting: options.IsOverwriting = False,
    threshold: Annotated[
        float,
        typer.Option(
            help="Keep a pair in coupling.npz if it carries at least this share of its source's mass.",
            metavar="NUMBER",
            parser=options.number,
            rich_help_panel=options.OUTPUT,
        ),
    ] = 1e-4,
    top_k: Annotated[
        int,
        typer.Option(
            help="Matches per source in matches.csv.",
            metavar="NUMBER",
            parser=options.whole_number,
            rich_help_panel=options.OUTPUT,
        ),
    ] = 5,
) -> int:
    """Couple two data sets: which point of SOURCE goes to which of TARGET, how much, at what cost, how sure."""
    check_outputs([output / name for name in FILES], overwrite=is_overwriting)
    lists = Lists(threshold=threshold, top_k=top_k)
    chosen = solver_asked(solver, tolerance=tolerance, max_iterations=max_iterations)
    asked = temperature_asked(epsilon, epsilon_of, chosen)
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
        problem = at_temperature(pose(*clouds, question), asked)
        listener = SolveTask(Task(bars, "solve"), tolerance=tolerance_of(chosen), epsilons=[problem.epsilon])
        solution = chosen.run(problem, callback=listener)
        listener.finish([solution], f"{solution.iterations:,} iterations")
        inputs = {
            **describe_clouds(clouds, seed),
            "epsilon": in_words(asked, problem),
            "tolerance": f"{tolerance_of(chosen):g} (L1 error of the marginals, per unit of mass)",
        }
        task = Task(bars, "certify, draw and write")
        with staged(output) as folder:
            kept = write_files(folder, solution, clouds, inputs=inputs, lists=lists, task=task)
    show_solutions([solution])
    files = {output / name: text for name, text in FILES.items()}
    files[output / "coupling.npz"] += f"; {100 * kept:.3g} % of the mass"
    show_files(files)
    return exit_code([solution])


def write_files(
    folder: Path,
    solution: Solution,
    clouds: tuple[Cloud, Cloud],
    *,
    inputs: dict[str, Any],
    lists: Lists,
    task: Task,
) -> float:
    """Write every file of `FILES`.

    Args:
        folder: Where, an existing folder.
        solution: What to write.
        clouds: Source and target.
        inputs: What was asked, in words.
        lists: How much of the plan to write.
        task: Bar to move.

    Returns:
        Share of the mass that coupling.npz holds.
    """
    write_solution(folder / "solution.npz", solution, *clouds)
    task.show(0.2, "pairs")
    kept = write_coupling(folder / "coupling.npz", solution, lists.threshold)
    write_matches(folder / "matches.csv", solution, *clouds, top_k=lists.top_k)
    task.show(0.4, "certificate")
    summary = {"command": "couple", "inputs": inputs, "solution": summarise(solution)}
    summary["coupling.npz"] = {"threshold": lists.threshold, "share_of_mass": kept}
    write_json(folder / "summary.json", summary)
    task.show(0.6, "figures and report")
    source, target = clouds
    write_report(
        folder / "report.html",
        title=f"{source.path.name} coupled with {target.path.name}",
        introduction=(
            f"{len(source.points):,} points of {source.path.name} were matched with {len(target.points):,} of "
            f"{target.path.name}, so that moving the mass costs little and the matching is as spread out as the "
            f"temperature epsilon asks.\n\n"
            f"coupling.npz holds the pairs that carry at least {lists.threshold:g} of their source's mass, "
            f"{100 * kept:.3g} % of the mass in all. solution.npz holds what is needed to rebuild the whole plan."
        ),
        solutions=[solution],
        figures=figures_of(solution),
        inputs=inputs,
        outputs=[folder / name for name in FILES if name != "report.html"],
    )
    task.done()
    return kept
