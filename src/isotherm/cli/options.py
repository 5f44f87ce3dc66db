"""Arguments and options that several commands share, with their words."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from isotherm.geometry.costs import NAMED_COSTS
from isotherm.solvers.solve import NAMED_SOLVERS

FORMATS = ".npy, .npz, .csv, .tsv, .parquet, .png, .jpg"
INFINITY = math.inf

ASKED, INPUT, OUTPUT, SOLVING = "What is asked", "Reading", "Writing", "Solving"


def number(text: str | float) -> float:
    """A number as it is typed; defaults come as they are."""
    try:
        return float(text)
    except ValueError as error:
        msg = f"expected a number, got {text!r}."
        raise typer.BadParameter(msg) from error


def whole_number(text: str | int) -> int:
    """A whole number as it is typed."""
    try:
        return int(text)
    except ValueError as error:
        msg = f"expected a whole number, got {text!r}."
        raise typer.BadParameter(msg) from error


# readable=False leaves that check to read.py, whose message says what to do.
Source = Annotated[Path, typer.Argument(metavar="SOURCE", readable=False, help=f"Points to move from: {FORMATS}.")]
Target = Annotated[Path, typer.Argument(metavar="TARGET", readable=False, help="Points to move to, in the same space.")]

Epsilon = Annotated[
    float | None,
    typer.Option(
        help="Temperature: small gives nearly a matching, large nearly independence. A share of the mean cost, so "
        "that 0.05 means 5 % of it; --epsilon-of changes the unit. \\[default: 0.05]",
        show_default=False,
        metavar="NUMBER",
        parser=number,
        rich_help_panel=ASKED,
    ),
]
EpsilonOf = Annotated[
    str,
    typer.Option(
        help="Unit of the temperature: a share of the cost's mean, a share of its standard deviation, or absolute "
        "(the units of the cost itself).",
        metavar="mean|std|absolute",
        rich_help_panel=ASKED,
    ),
]
Cost = Annotated[
    str,
    typer.Option(help=f"What moving one unit of mass costs: {', '.join(NAMED_COSTS)}.", rich_help_panel=ASKED),
]
RhoA = Annotated[
    float,
    typer.Option(
        help="Price of leaving source mass unmatched, in units of cost; inf enforces the source weights.",
        metavar="NUMBER",
        parser=number,
        rich_help_panel=ASKED,
    ),
]
RhoB = Annotated[
    float,
    typer.Option(help="The same for target mass.", metavar="NUMBER", parser=number, rich_help_panel=ASKED),
]
Solver = Annotated[
    str,
    typer.Option(help=f"How to solve: {', '.join(NAMED_SOLVERS)}.", rich_help_panel=SOLVING),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Stop when both marginals are this close in L1, per unit of mass. \\[default: 1e-4]",
        show_default=False,
        metavar="NUMBER",
        parser=number,
        rich_help_panel=SOLVING,
    ),
]
MaxIterations = Annotated[
    int | None,
    typer.Option(
        help="Give up after so many iterations, with exit code 3. \\[default: 5000]",
        show_default=False,
        metavar="NUMBER",
        parser=whole_number,
        rich_help_panel=SOLVING,
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(
        help="Precision. \\[default: that of the files, float64 for text and pictures]",
        show_default=False,
        metavar="float32|float64",
        rich_help_panel=SOLVING,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        help="CPU threads. On a machine that is busy with other work, 1 is often fastest. \\[default: all cores]",
        show_default=False,
        metavar="NUMBER",
        parser=whole_number,
        rich_help_panel=SOLVING,
    ),
]
WeightsColumn = Annotated[
    str | None,
    typer.Option(
        help="Column (or .npz key) of both files that holds the weights; equal weights when left out.",
        metavar="NAME",
        rich_help_panel=INPUT,
    ),
]
SourceWeights = Annotated[
    str | None,
    typer.Option(help="The same for the source file alone.", metavar="NAME", rich_help_panel=INPUT),
]
TargetWeights = Annotated[
    str | None,
    typer.Option(help="The same for the target file alone.", metavar="NAME", rich_help_panel=INPUT),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help="Columns that are the features, separated by commas; every column but the weights when left out.",
        metavar="NAMES",
        rich_help_panel=INPUT,
    ),
]
IsNormalised = Annotated[
    bool,
    typer.Option("--normalise", help="Scale the weights of each side to a total of 1.", rich_help_panel=INPUT),
]
Samples = Annotated[
    int | None,
    typer.Option(
        help="Draw at most so many points from each file. \\[default: 2000 pixels of a picture, all rows of other files]",
        show_default=False,
        metavar="NUMBER",
        parser=whole_number,
        rich_help_panel=INPUT,
    ),
]
Seed = Annotated[
    int, typer.Option(help="Seed of every random draw.", metavar="NUMBER", parser=whole_number, rich_help_panel=INPUT)
]
IsOverwriting = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace outputs that exist already.", rich_help_panel=OUTPUT),
]
OutputFolder = Annotated[
    Path, typer.Option("--output", "-o", help="Folder for the outputs.", metavar="DIR", rich_help_panel=OUTPUT)
]
