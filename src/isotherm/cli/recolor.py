"""`isotherm recolor`: one photograph in the colours of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

import isotherm
from isotherm._checks import check_count
from isotherm._files import atomic
from isotherm.applications.images import map_colours, sample_colours
from isotherm.cli import options
from isotherm.cli.pictures import PICTURES, read_picture, write_picture
from isotherm.cli.pose import Question, at_temperature, in_words, pose, solver_asked, temperature_asked, tolerance_of
from isotherm.cli.progress import SolveTask, Task, progress_bars
from isotherm.cli.read import Cloud, check_readable, seeded
from isotherm.cli.show import exit_code, show_files, show_solutions
from isotherm.cli.threads import cpu_threads
from isotherm.geometry import merge_equal_points
from isotherm.report.files import check_outputs
from isotherm.solvers import Exact

Photo = Annotated[Path, typer.Argument(metavar="SOURCE", help="Photograph to change: .png, .jpg.")]
Palette = Annotated[Path, typer.Argument(metavar="TARGET", help="Photograph whose colours it takes.")]
PixelSamples = Annotated[
    int,
    typer.Option(
        help="Pixels drawn from each photograph and coupled; the whole photograph goes through the map.",
        metavar="NUMBER",
        parser=options.whole_number,
        rich_help_panel=options.INPUT,
    ),
]
OutputPicture = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Picture to write, .png or .jpg.", metavar="FILE", rich_help_panel=options.OUTPUT
    ),
]


def recolor(
    source: Photo,
    target: Palette,
    *,
    epsilon: options.Epsilon = None,
    epsilon_of: options.EpsilonOf = "mean",
    samples: PixelSamples = 2000,
    seed: options.Seed = 0,
    solver: options.Solver = "auto",
    tolerance: options.Tolerance = None,
    max_iterations: options.MaxIterations = None,
    threads: options.Threads = None,
    output: OutputPicture = Path("recoloured.png"),
    is_overwriting: options.IsOverwriting = False,
) -> int:
    """Give the photograph SOURCE the colours of TARGET: cold is vivid with sharp edges, hot fades to one colour."""
    if output.suffix.lower() not in PICTURES:
        msg = f"--output must end in .png or .jpg: got {str(output)!r}. Name the picture to write."
        raise ValueError(msg)
    check_outputs([output], overwrite=is_overwriting)
    check_count(samples, "--samples")
    chosen = solver_asked(solver, tolerance=tolerance, max_iterations=max_iterations)
    if isinstance(chosen, Exact):
        msg = "--solver exact says nothing about colours that were not sampled: choose another and a small --epsilon."
        raise ValueError(msg)
    asked = temperature_asked(epsilon, epsilon_of, chosen)
    generator = seeded(seed)
    pictures = [_read(path) for path in (source, target)]
    clouds = [
        colour_cloud(path, picture, samples, generator=generator)
        for path, picture in zip((source, target), pictures, strict=True)
    ]
    with cpu_threads(threads), progress_bars() as bars:
        problem = at_temperature(pose(clouds[0], clouds[1], Question()), asked)
        listener = SolveTask(Task(bars, "solve"), tolerance=tolerance_of(chosen), epsilons=[problem.epsilon])
        solution = chosen.run(problem, callback=listener)
        listener.finish([solution], f"{solution.iterations:,} iterations")
        task = Task(bars, "recolour the photograph")
        recoloured = map_colours(solution.coupling, pictures[0], progress=task.show)
        with atomic(output) as temporary:
            comment = (
                f"{source.name} in the colours of {target.name}, isotherm {isotherm.__version__}, "
                f"epsilon {in_words(asked, problem)}; {solution.status}"
            )
            write_picture(temporary, recoloured, comment=comment)
    show_solutions([solution])
    show_files({output: f"{recoloured.shape[1]} x {recoloured.shape[0]} pixels"})
    return exit_code([solution])


def colour_cloud(
    path: Path, picture: np.ndarray, samples: int, *, generator: torch.Generator, dtype: str = "float64"
) -> Cloud:
    """Colours of some pixels as a cloud of points, those of one colour as one.

    Args:
        path: Where the picture came from.
        picture: Shape (H, W, 3), uint8.
        samples: How many pixels.
        generator: Source of randomness.
        dtype: Floating dtype of the colours.

    Returns:
        Distinct colours in [0, 1], weighted by their pixels; its rows are flat indices, each of one pixel of a colour.
    """
    pixels, colours = sample_colours(picture, samples, generator=generator, dtype=dtype)
    merged = merge_equal_points(colours)
    rows = np.empty(len(merged.weights), dtype=pixels.dtype)
    rows[merged.index.numpy()[::-1]] = pixels[::-1]  # the first of each colour
    return Cloud(
        path=path,
        points=merged.points,
        weights=merged.weights,
        rows=rows,
        features=("red", "green", "blue"),
        description=f"{path.name}: {len(pixels):,} of {picture.shape[1]} x {picture.shape[0]} pixels, "
        f"{len(rows):,} distinct colours in [0, 1]³",
    )


def _read(path: Path) -> np.ndarray:
    if path.suffix.lower() not in PICTURES:
        msg = f"{path} must be a picture, .png or .jpg: got {path.suffix or 'no suffix'!r}. Convert it first."
        raise ValueError(msg)
    check_readable(path)
    return read_picture(path)
