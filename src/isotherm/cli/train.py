"""`isotherm train`: a model and data in, a folder with a trained model out, that can be taken up again."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from isotherm._files import write_text
from isotherm._optional import require
from isotherm.cli import options
from isotherm.cli.main import INTERRUPTED, NOT_CONVERGED, OK
from isotherm.cli.progress import Task, TrainingTask, progress_bars
from isotherm.cli.show import show_files
from isotherm.cli.threads import cpu_threads
from isotherm.models.data import load_data
from isotherm.models.training import Checkpoints, TensorBoard
from isotherm.report.files import check_outputs

if TYPE_CHECKING:
    from isotherm.cli.configuration import Configuration

CONFIGURATION = "config.yaml"
FILES = {
    CONFIGURATION: "what was asked, with every default",
    "config.json": "the model: class, settings, versions",
    "model.safetensors": "its weights; isotherm.models.load_model reads the folder",
    "metrics.jsonl": "numbers of the training, one line for every few steps",
    "checkpoints": "the last few and the best, each a model with the state of its training",
    "tensorboard": "curves, with --tensorboard",
}

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL KEY=VALUE",
        help="A model (vae, ...) and settings of it and of its training: latent=2 steps=500 learning_rate=3e-4. "
        "--print-config lists them all.",
        show_default=False,
    ),
]


def train(
    words: Words = None,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, iris, 2d:NAME (moons, ...), an array .npy or .npz, or a folder of pictures.",
            metavar="NAME|FILE|DIR",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with model, data and settings; what is typed comes before it.",
            metavar="FILE",
            rich_help_panel=options.INPUT,
        ),
    ] = None,
    is_resuming: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the last checkpoint in --output; only settings of the training, such as steps, may change.",
            rich_help_panel=options.SOLVING,
        ),
    ] = False,
    threads: options.Threads = None,
    output: options.OutputFolder = Path("out/train"),
    is_overwriting: options.IsOverwriting = False,
    has_tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Write curves for TensorBoard as well.", rich_help_panel=options.OUTPUT),
    ] = False,
    is_printing_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print the whole configuration as YAML, and exit.", rich_help_panel=options.OUTPUT
        ),
    ] = False,
    is_printing_schema: Annotated[
        bool,
        typer.Option(
            "--print-schema",
            help="Print the JSON schema of the configuration, and exit.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = False,
) -> int:
    """Train a model on data; an interrupt or a crash loses nothing but the steps since the last checkpoint."""
    for module in ("pydantic", "yaml", "safetensors"):
        require(module, extra="train", why="train a model from the command line")
    read = importlib.import_module("isotherm.cli.configuration")  # imports pydantic, which `isotherm[cli]` lacks
    if is_resuming and config is not None:
        msg = (
            f"A resumed training has its configuration in {output / CONFIGURATION}: got --config as well. Leave it out."
        )
        raise ValueError(msg)
    base = read.read_yaml(output / CONFIGURATION if is_resuming else config) if is_resuming or config else {}
    if is_printing_config or is_printing_schema:
        asked = read.configured(words or [], data or base.get("data", "digits"), base)
        schema = json.dumps(read.form_of(asked.model).model_json_schema(), indent=2)
        typer.echo(schema if is_printing_schema else asked.to_yaml(), nl=is_printing_schema)
        return OK
    asked = read.configured(words or [], data, base)
    training = asked.make_training()
    if is_resuming and not goes_on(asked, read.configured([], None, base), output):
        return OK
    is_first = int(os.environ.get("RANK", "0")) == 0  # of the processes that torchrun started: it alone writes
    files = [output / name for name in FILES]
    if not is_resuming and is_first:
        check_begun(output, overwrite=is_overwriting)
        check_outputs([file for file in files if not file.is_dir()], overwrite=is_overwriting)
    with ExitStack() as opened:
        opened.enter_context(cpu_threads(threads))
        observations = load_data(asked.data, seed=asked.seed)
        model = asked.make_model(observations.shape)
        if is_first:
            clear(files if not is_resuming else [])
            write_text(output / CONFIGURATION, asked.to_yaml())
        listeners = []
        if is_first:
            bars = opened.enter_context(progress_bars())
            listeners.append(TrainingTask(Task(bars, f"train {asked.model}"), steps=training.steps))
        if has_tensorboard and is_first:
            listeners.append(TensorBoard(output / "tensorboard", every=training.metrics_every))
            opened.callback(listeners[-1].close)
        try:
            training.run(model, observations.train, folder=output, callbacks=listeners, resume=is_resuming)
        except FloatingPointError as error:
            say(f"[bold red]not finite[/]: {escape(str(error))} Checkpoints are in {escape(str(output))}.")
            return NOT_CONVERGED
        except KeyboardInterrupt as stop:
            kept = Checkpoints(output, 1).steps()
            if is_first and stop.args and kept:
                say(escape(f"{stop}. Go on with: isotherm train --resume --output {output}"))
            return INTERRUPTED
    if is_first:
        show_files({output / name: text for name, text in FILES.items() if (output / name).exists()})
    return OK


def check_begun(output: Path, *, overwrite: bool) -> None:
    """A folder that holds a training already is not written to, unless asked."""
    if not overwrite and Checkpoints(output, 1).steps():
        msg = f"A training must have a folder of its own: {output} holds one. Go on with it (--resume), begin it anew (--overwrite), or choose another folder."
        raise FileExistsError(msg)


def goes_on(asked: Configuration, begun: Configuration, output: Path) -> bool:
    """Whether a resumed training has steps left; it goes on with its model, its data and its seed.

    Args:
        asked: Now.
        begun: When it began.
        output: Its folder.

    Returns:
        False after saying that it is done.

    Raises:
        ValueError: Another model, other data or another seed is asked for.
    """
    for name in ("model", "data", "seed", "settings"):
        now, then = getattr(asked, name), getattr(begun, name)
        if now != then:
            msg = f"A resumed training keeps its {name}: got {now}, {output / CONFIGURATION} says {then}. Give only settings of the training, or train anew in another folder."
            raise ValueError(msg)
    last = Checkpoints(output, 1).steps()[-1:]
    if last < [asked.training["steps"]]:
        return True
    say(escape(f"{output} is at step {last[0]} already. For more, give a larger steps=NUMBER."))
    return False


def clear(files: Sequence[Path]) -> None:
    """Remove what an earlier training left."""
    for file in files:
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)


def say(text: str) -> None:
    """A line on standard error."""
    Console(stderr=True, soft_wrap=True).print(text, highlight=False)
