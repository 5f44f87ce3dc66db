"""`isotherm sample`: new observations from a trained model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from torch import Tensor

from isotherm._checks import check_choice, check_count
from isotherm._files import atomic
from isotherm.cli import options
from isotherm.cli.pictures import write_picture
from isotherm.cli.read import seeded
from isotherm.cli.runs import read_configuration
from isotherm.cli.show import show_files
from isotherm.cli.threads import cpu_threads
from isotherm.models import load_model
from isotherm.models.data import load_data
from isotherm.models.training import Checkpoints, read_state
from isotherm.report.files import check_outputs

FORMATS = (".npy", ".png")
GAP, LEAST = 1, 500  # pixels between two pictures of a grid, and least width of the file


def sample(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a training, or of one of its checkpoints.")],
    *,
    count: Annotated[
        int,
        typer.Option(
            "--count",
            "-n",
            help="How many.",
            metavar="NUMBER",
            parser=options.whole_number,
            rich_help_panel=options.ASKED,
        ),
    ] = 64,
    is_averaged: Annotated[
        bool,
        typer.Option(
            "--ema/--raw",
            help="With the mean of past weights, where the training kept one, or with the last weights.",
            rich_help_panel=options.ASKED,
        ),
    ] = True,
    seed: options.Seed = 0,
    threads: options.Threads = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help=".npy: an array, shape (count, ...). .png: a grid of pictures, for models of pictures.",
            metavar="FILE",
            rich_help_panel=options.OUTPUT,
        ),
    ] = Path("out/samples.npy"),
    is_overwriting: options.IsOverwriting = False,
) -> int:
    """Draw new observations from a trained model, the same ones for the same seed."""
    check_count(count, "--count")
    suffix = check_choice(output.suffix.lower(), "suffix of --output", FORMATS)
    check_outputs([output], overwrite=is_overwriting)
    with cpu_threads(threads):
        model = load_model(run)
        if not is_averaged:
            model.load_state_dict(last_state(run)["model"])
        drawn = model.sample(count, generator=seeded(seed))
    if suffix == ".png":
        picture = grid(drawn, *scale_of(run, drawn))
        comment = f"isotherm sample {run.name}: {count} samples, seed {seed}"
        with atomic(output) as temporary:
            write_picture(temporary, picture, comment=comment)
    else:
        with atomic(output) as temporary:
            np.save(temporary, drawn.numpy(), allow_pickle=False)
    show_files({output: f"{count} samples, each of shape {tuple(drawn.shape[1:])}"})
    return 0


def last_state(run: Path) -> dict:
    """State of the last checkpoint of a run, or of the checkpoint itself."""
    steps = Checkpoints(run, 1).steps()
    folder = Checkpoints(run, 1).path(steps[-1]) if steps else run
    if not (folder / "state.pt").is_file():
        msg = f"--raw needs a checkpoint with the last weights: found no state.pt in {folder}. Leave --raw out."
        raise FileNotFoundError(msg)
    return read_state(folder)


def scale_of(run: Path, drawn: Tensor) -> tuple[float, float]:
    """Which values are black and white: those of the data it was trained on, else the samples' own range."""
    _, asked = read_configuration(run)
    if "data" in asked:
        return load_data(asked["data"], seed=asked.get("seed", 0)).scale
    low, high = drawn.aminmax()
    return float(low), float(high)


def grid(drawn: Tensor, low: float, high: float) -> np.ndarray:
    """Samples side by side as one picture.

    Args:
        drawn: Shape (n, H, W), (n, 1, H, W), (n, 3, H, W) or (n, H, W, 3).
        low: What is black.
        high: What is white.

    Returns:
        Colours, shape (height, width, 3), uint8.

    Raises:
        ValueError: Samples are no pictures.
    """
    if drawn.ndim == 4 and drawn.shape[1] in (1, 3):
        drawn = drawn.movedim(1, -1)
    elif drawn.ndim == 3:
        drawn = drawn[..., None]
    if drawn.ndim != 4 or drawn.shape[-1] not in (1, 3):
        msg = f"A .png shows pictures: got samples of shape {tuple(drawn.shape[1:])}. Write a .npy file."
        raise ValueError(msg)
    shades = ((drawn - low) / max(high - low, 1e-12)).clamp(0, 1).mul(255).round().byte()
    tiles = np.broadcast_to(shades.numpy(), (*shades.shape[:3], 3))
    columns = math.ceil(math.sqrt(len(tiles)))
    rows, (height, width) = -(-len(tiles) // columns), tiles.shape[1:3]
    sheet = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 128, dtype=np.uint8)
    for k, tile in enumerate(tiles):
        top, left = (k // columns) * (height + GAP), (k % columns) * (width + GAP)
        sheet[top : top + height, left : left + width] = tile
    times = max(1, LEAST // sheet.shape[1])  # small pictures are shown with whole pixels
    return sheet.repeat(times, axis=0).repeat(times, axis=1)
