"""Tables: text with separators, and Parquet."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLES = (*SEPARATORS, ".parquet")


class PointTable(NamedTuple):
    """Columns of a table as numbers; a missing entry is NaN, still to be refused.

    Attributes:
        points: Features, shape (N, D).
        weights: Shape (N,), or None.
        features: Names of the D columns, or None where the file has no header.
        description: What was read, in words.
    """

    points: np.ndarray
    weights: np.ndarray | None
    features: tuple[str, ...] | None
    description: str


def read_table(path: Path, *, weights: str | None, columns: tuple[str, ...] | None) -> PointTable:
    """Read the features and the weights of a table.

    Args:
        path: A .csv, .tsv or .parquet file. Text whose first line is all numbers has no header; its columns are
            then called column_1, column_2, ...
        weights: Column of the weights, or None.
        columns: Columns that are the features; every one but the weights when left out.

    Returns:
        Features and weights as numbers.

    Raises:
        ValueError: The file is damaged or empty, a column is missing or does not hold numbers.
    """
    table, has_header = _load(path)
    for name in (*([weights] if weights is not None else []), *(columns or ())):
        _check_column(path, table, name)
    names = columns or tuple(name for name in table.columns if name != weights)
    if not names:
        msg = f"{path} must have a column beside the weights {weights!r}: got none. Add the features."
        raise ValueError(msg)
    read = [*names, *([weights] if weights is not None else [])]
    numbers = {name: _numbers(path, table[name]) for name in read}
    described = f"{len(names)} feature{'s' if len(names) > 1 else ''} ({_shortened(names)})"
    if weights is not None:
        described += f", weights from {weights!r}"
    return PointTable(
        points=np.stack([numbers[name] for name in names], axis=1),
        weights=None if weights is None else numbers[weights],
        features=names if has_header else None,
        description=described,
    )


def _load(path: Path) -> tuple[pl.DataFrame, bool]:
    """The table, and whether it has a header; columns of text files are still text."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path), True
        separator = SEPARATORS[suffix]
        table = pl.read_csv(path, separator=separator, infer_schema=False)
        if all(_is_number(name) for name in table.columns):
            table = pl.read_csv(path, separator=separator, infer_schema=False, has_header=False)
            table.columns = [f"column_{k}" for k in range(1, table.width + 1)]
            return table, False
        return table, True
    except pl.exceptions.NoDataError as error:
        msg = f"{path} must hold at least one point: got an empty file. Check how it was written."
        raise ValueError(msg) from error
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        msg = f"{path} is not a readable {suffix.removeprefix('.')} file: {reason}. Write it again, or check its separator."
        raise ValueError(msg) from error


def _check_column(path: Path, table: pl.DataFrame, name: str) -> None:
    """A column that exists, with the nearest one suggested."""
    if name not in table.columns:
        near = difflib.get_close_matches(name, table.columns, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "Check its spelling."
        msg = f"{path} must have a column {name!r}: got {_shortened(table.columns)}. {hint}"
        raise ValueError(msg)


def _numbers(path: Path, column: pl.Series) -> np.ndarray:
    """A column as float64, or float32 where it is; empty entries are NaN."""
    if column.dtype == pl.String:
        text = column.str.strip_chars()
        values = text.cast(pl.Float64, strict=False)
        wrong = values.is_null() & text.is_not_null() & (text != "")
        if wrong.any():
            row = int(wrong.arg_true()[0])
            _refuse(path, column.name, f"{text[row]!r} in row {row + 1}")
        return values.to_numpy()
    if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
        _refuse(path, column.name, f"{column.dtype}")
    return column.cast(pl.Float32 if column.dtype == pl.Float32 else pl.Float64).to_numpy()


def _refuse(path: Path, column: str, got: str) -> None:
    msg = (
        f"{path}: column {column!r} must hold numbers: got {got}. "
        f"Leave it out by naming the features with --columns, or encode it."
    )
    raise ValueError(msg)


def _is_number(text: str) -> bool:
    try:
        float(text.partition("_duplicated_")[0])
    except ValueError:
        return False
    return True


def _shortened(names: tuple[str, ...] | list[str]) -> str:
    """A list of names that stays readable."""
    shown = ", ".join(names[:6])
    return shown if len(names) <= 6 else f"{shown}, … {len(names) - 6} more"
