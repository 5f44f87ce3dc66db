"""The commands together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

import isotherm
from isotherm.cli.compare import compare
from isotherm.cli.couple import couple
from isotherm.cli.demo import demo
from isotherm.cli.evaluate import evaluate
from isotherm.cli.main import BAD_INPUT, INTERRUPTED, OK
from isotherm.cli.recolor import recolor
from isotherm.cli.sample import sample
from isotherm.cli.sweep import sweep
from isotherm.cli.train import train

HELP = """Entropic optimal transport from the command line: couple two data sets, certify the answer, look at it.

Every command says what it does with --help, with examples."""

EXIT_CODES = (
    "[bold]Exit codes[/bold]: 0 done; 2 bad input, nothing was written; "
    "3 a solve did not converge, or a training left finite numbers, outputs are written and marked; 130 interrupted, nothing is half-written."
)

# Older typer uses click, newer ones a copy of it: the class is reached through what typer exports in both.
UsageError: type[Exception] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="isotherm",
    help=HELP,
    epilog=EXIT_CODES,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def examples(*lines: str) -> str:
    """Command lines as the end of a help text, one paragraph each: the help joins lines within a paragraph."""
    return "\n\n".join(["[bold]Examples[/bold]", *(line.replace("[", "\\[") for line in lines)])


def print_version(is_wanted: bool) -> None:
    """What --version does."""
    if is_wanted:
        typer.echo(f"isotherm {isotherm.__version__}")
        raise typer.Exit(OK)


@app.callback()
def isotherm_command(
    is_version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True)
    ] = False,
    is_debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error. Works anywhere.")] = False,
) -> None:
    """Options of the program itself; `main` reads --debug before anything is parsed."""


app.command(
    epilog=examples(
        "isotherm couple monday.csv friday.csv --epsilon 0.05 --output out/week",
        "isotherm couple x.npy y.npy --epsilon 2 --epsilon-of absolute",
        "isotherm couple a.parquet b.parquet --weights-column count --normalise",
        "isotherm couple x.npz y.npz --cost euclidean --rho-a 1 --rho-b 1",
        "isotherm couple photo.jpg palette.png --samples 1000 --seed 1",
    )
)(couple)
app.command(
    epilog=examples(
        "isotherm sweep x.npy y.npy --output out/dial",
        "isotherm sweep x.csv y.csv --epsilons 1,0.1,0.01,0 --overwrite",
    )
)(sweep)
app.command(
    epilog=examples(
        "isotherm recolor photo.jpg palette.jpg --output recoloured.png",
        "isotherm recolor photo.jpg palette.jpg --epsilon 0.01 --output vivid.png",
    )
)(recolor)
app.command(
    epilog=examples(
        "isotherm train vae --data digits latent=4 steps=5000 ema=0.999 --output out/vae",
        "isotherm train --resume --output out/vae",
        "isotherm train vae --data 2d:moons --print-config > vae.yaml",
        "isotherm train --config vae.yaml learning_rate=3e-4 --output out/moons",
        "torchrun --nproc-per-node 2 --no-python isotherm train vae --data pictures/ --output out/pictures",
    )
)(train)
app.command(
    epilog=examples(
        "isotherm sample out/vae --count 100 --output samples.png",
        "isotherm sample out/vae --count 10000 --raw --seed 1 --output samples.npy",
    )
)(sample)
app.command(
    epilog=examples(
        "isotherm evaluate out/vae",
        "isotherm evaluate out/vae/checkpoints/00000500 --output out/early --draws 10",
    )
)(evaluate)
app.command(epilog=examples("isotherm compare out/vae out/evia --output out/compare"))(compare)
app.command(epilog=examples("isotherm demo", "isotherm demo --output out/demo --overwrite"))(demo)
app.command(epilog=examples("isotherm demo", "isotherm demo evia", "isotherm demo --output out/demo --overwrite"))(demo)


def run(arguments: Sequence[str]) -> int:
    """Parse and run; a command returns its exit code.

    Args:
        arguments: Words after the program's name.

    Returns:
        Exit code.
    """
    try:
        code = app(args=list(arguments) or ["--help"], prog_name="isotherm", standalone_mode=False)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort as stop:
        raise KeyboardInterrupt from stop
    except UsageError as error:  # what --help describes was not followed
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "isotherm"
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        typer.echo(f"error: {message} Try '{command} --help'.", err=True)
        return BAD_INPUT
    if code == INTERRUPTED:  # newer typer catches the interrupt itself
        raise KeyboardInterrupt
    return OK if code is None else int(code)
