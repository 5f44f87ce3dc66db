"""`isotherm demo`: two photographs, three temperatures, every kind of output; or digits that were half measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from isotherm._checks import check_choice, check_count
from isotherm._optional import require
from isotherm.applications.images import map_colours
from isotherm.cli import options
from isotherm.cli.demo_evia import demo_evia
from isotherm.cli.figures import plans_figures, trust_figures
from isotherm.cli.outputs import staged
from isotherm.cli.pose import Question, Temperature, at_temperature, pose
from isotherm.cli.progress import SolveTask, Task, progress_bars
from isotherm.cli.read import seeded
from isotherm.cli.recolor import colour_cloud
from isotherm.cli.show import exit_code, show_files, show_solutions
from isotherm.cli.threads import cpu_threads
from isotherm.report.figures import plan_figure, recolour_figure
from isotherm.report.files import check_outputs, save_figure, write_json
from isotherm.report.page import write_report
from isotherm.report.summary import summarise
from isotherm.solvers import Auto, TemperaturePath, temperature_path

TEMPERATURES = {"cold": 0.002, "warm": 0.05, "hot": 3.0}  # shares of the mean cost
PLAN_FILES = {name: f"plan-{name}.png" for name in TEMPERATURES}
FILES = {
    "recoloured.png": "the photographs, each also in the colours of the other",
    **{PLAN_FILES[name]: f"the plan at {100 * share:g} % of the mean cost" for name, share in TEMPERATURES.items()},
    "convergence.png": "marginal error against iterations",
    "certificate.png": "bounds on the entropic and on the exact value",
    "summary.json": "every number",
    "report.html": "all of it for a person to read: open this one",
}
INTRODUCTION = """The colours of two photographs are two clouds of points in a cube: red, green and blue from 0 to 1. Entropic \
optimal transport couples them, so that mass moves as little as possible and the matching stays as spread out as the \
temperature asks. Then every pixel of the first photograph moves to the mean of the colours it is coupled with.

Cold, nearly a matching: colours arrive pure, and neighbouring shades of sky may be sent far apart. Hot, nearly independence: every \
colour is coupled with all others, so the picture fades to their mean. In between lies the useful range.

The coupling was computed between {coupled}, few enough to stay well below a minute with all bounds and \
pictures. The whole photograph, {whole}, went through the map for new points."""
PHOTOGRAPHS = """Top: the two photographs, and the second in the colours of the first, by the same coupling read backwards. \
Bottom: the first in the colours of the second, from cold to hot."""


def demo(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[photographs|evia]",
            help="photographs: the colours of two, coupled. evia: digits of which half the frequencies were measured, and "
            "what they may have been; needs a training, under two minutes.",
        ),
    ] = "photographs",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder for the outputs. \\[default: out/demo, or out/demo-evia]",
            show_default=False,
            metavar="DIR",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    *,
    is_overwriting: options.IsOverwriting = False,
    samples: Annotated[
        int,
        typer.Option(
            help="Photographs: pixels coupled from each, those of one colour as one; 273280 is all of them.",
            metavar="NUMBER",
            parser=options.whole_number,
            rich_help_panel=options.INPUT,
        ),
    ] = 60_000,
    seed: options.Seed = 0,
    threads: Annotated[
        int,
        typer.Option(
            help="CPU threads; one is enough here, and steady on a busy machine.",
            metavar="NUMBER",
            parser=options.whole_number,
            rich_help_panel=options.SOLVING,
        ),
    ] = 1,
) -> int:
    """Recolour one photograph with another at three temperatures, and write a report; under a minute. Or train EVIA."""
    if check_choice(what, "what", ("photographs", "evia")) == "evia":
        return demo_evia(output or Path("out/demo-evia"), is_overwriting=is_overwriting, seed=seed, threads=threads)
    output = output or Path("out/demo")
    check_outputs([output / name for name in FILES], overwrite=is_overwriting)
    check_count(samples, "--samples")
    photos = photographs()
    generator = seeded(seed)
    source, target = (
        colour_cloud(Path(name), photo, samples, generator=generator, dtype="float32") for name, photo in photos.items()
    )
    with cpu_threads(threads), progress_bars() as bars:
        problem = pose(source, target, Question())
        epsilons = [at_temperature(problem, Temperature(share, "mean")).epsilon for share in TEMPERATURES.values()]
        solver = Auto(max_iterations=20_000)
        listener = SolveTask(Task(bars, "solve"), tolerance=solver.tolerance, epsilons=sorted(epsilons, reverse=True))
        path = temperature_path(problem, epsilons, solver=solver, callback=listener)
        listener.finish(path, f"{len(path)} temperatures")
        pictures = recolour_all(path, photos, Task(bars, "recolour the photographs"))
        with staged(output) as folder:
            inputs = {"source": source.description, "target": target.description, "seed": seed}
            write_files(folder, path, pictures, inputs=inputs, task=Task(bars, "draw and write"))
    show_solutions(path)
    show_files({output / name: text for name, text in FILES.items()})
    return exit_code(path)


def photographs() -> dict[str, np.ndarray]:
    """The two photographs that scikit-learn ships, by file name; shape (427, 640, 3), uint8."""
    datasets = require("sklearn.datasets", extra="demo", why="read the two photographs of the demo")
    return {name: np.asarray(datasets.load_sample_image(name)) for name in ("china.jpg", "flower.jpg")}


def recolour_all(path: TemperaturePath, photos: dict[str, np.ndarray], task: Task) -> dict[str, np.ndarray]:
    """Everything to look at, by caption: both photographs, and each in the colours of the other.

    Args:
        path: One solution per entry of `TEMPERATURES`.
        photos: Source and target, shape (H, W, 3), uint8.
        task: Bar to move.

    Returns:
        Caption to picture, the two photographs first.
    """
    source, target = photos.values()
    couplings = {
        f"{name}: ε = {100 * share:g} % of mean cost": path[k].coupling
        for k, (name, share) in enumerate(TEMPERATURES.items())
    }
    jobs = [
        (
            f"{list(photos)[1]}, coloured back (warm)",
            path[list(TEMPERATURES).index("warm")].coupling.transpose(),
            target,
        ),
        *((caption, coupling, source) for caption, coupling in couplings.items()),
    ]
    pictures = dict(photos)
    for k, (caption, coupling, photo) in enumerate(jobs):
        pictures[caption] = map_colours(coupling, photo, progress=lambda done, k=k: task.show((k + done) / len(jobs)))
    task.done()
    return pictures


def write_files(
    folder: Path, path: TemperaturePath, pictures: dict[str, np.ndarray], *, inputs: dict[str, object], task: Task
) -> None:
    """Write every file of `FILES`.

    Args:
        folder: Where, an existing folder.
        path: One solution per entry of `TEMPERATURES`.
        pictures: Both photographs and the recoloured ones, by caption, the source first.
        inputs: What was asked, in words.
        task: Bar to move.
    """
    task.show(0.0, "pictures")
    recoloured = recolour_figure(pictures)
    save_figure(folder / "recoloured.png", recoloured)
    for name, solution in zip(TEMPERATURES, path, strict=True):
        save_figure(folder / PLAN_FILES[name], plan_figure(solution))
    task.show(0.3, "certificates")
    trust = trust_figures(path)
    for file, (_, _, figure) in zip(("convergence.png", "certificate.png"), trust, strict=True):
        save_figure(folder / file, figure)
    solutions = {name: summarise(solution) for name, solution in zip(TEMPERATURES, path, strict=True)}
    write_json(folder / "summary.json", {"command": "demo", "inputs": inputs, "solutions": solutions})
    task.show(0.7, "report")
    photo = next(iter(pictures.values()))
    height, width, _ = photo.shape
    distinct = len(np.unique(photo.reshape(-1, 3), axis=0))
    write_report(
        folder / "report.html",
        title="One photograph in the colours of another, at three temperatures",
        introduction=INTRODUCTION.format(
            coupled="{:,} and {:,} distinct colours of the pixels drawn from them".format(
                *path[0].problem.geometry.shape
            ),
            whole=f"{height * width:,} pixels of {distinct:,} distinct colours",
        ),
        solutions=path,
        figures=[("The photographs", PHOTOGRAPHS, recoloured), *plans_figures(path), *trust],
        inputs=inputs,
        outputs=[folder / name for name in FILES if name != "report.html"],
    )
    task.done()
