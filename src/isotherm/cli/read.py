"""Files to clouds of weighted points, with one clear error for what cannot be read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from isotherm._checks import check_choice, check_count
from isotherm.cli.arrays import ARRAYS, read_arrays
from isotherm.cli.pictures import PICTURES, read_picture
from isotherm.cli.tables import TABLES, read_table

PICTURE_SAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to take from a file.

    Attributes:
        weights: Column or key of the weights, or None.
        columns: Columns that are the features; all others when None.
        samples: Draw at most so many points; None for all, or `PICTURE_SAMPLES` of a picture.
        dtype: "float32" or "float64"; that of the file when None.
        is_normalised: Whether weights are scaled to a total of 1.
    """

    weights: str | None = None
    columns: tuple[str, ...] | None = None
    samples: int | None = None
    dtype: str | None = None
    is_normalised: bool = False

    def __post_init__(self) -> None:
        if self.samples is not None:
            check_count(self.samples, "--samples")
        if self.dtype is not None:
            check_choice(self.dtype, "--dtype", ("float32", "float64"))


@dataclass(frozen=True, eq=False, kw_only=True)
class Cloud:
    """Weighted points and where they came from.

    Attributes:
        path: The file.
        points: Shape (N, D), float32 or float64, finite.
        weights: Shape (N,), non-negative with a positive total, or None for equal ones.
        rows: Place of each point in the file, from 0 (row of a table, pixel of a picture), shape (N,).
        features: Names of the D features, or None where the file has none.
        description: What was read, in words.
    """

    path: Path
    points: np.ndarray
    weights: np.ndarray | None
    rows: np.ndarray
    features: tuple[str, ...] | None
    description: str


def read_pair(
    paths: tuple[Path, Path], selections: tuple[Selection, Selection], *, generator: torch.Generator
) -> tuple[Cloud, Cloud]:
    """Read both sides of a problem, and check that they live in the same space.

    Features go together by name where both files name the same ones, in any order; otherwise by position.

    Args:
        paths: Source and target.
        selections: What to take from each.
        generator: Source of randomness for samples.

    Returns:
        Two clouds with equally many features in the same dtype.

    Raises:
        ValueError: Something is wrong with a file's content, or the two do not fit together.
        OSError: A file is missing or cannot be read.
    """
    source, target = (
        read_cloud(path, selection, generator=generator) for path, selection in zip(paths, selections, strict=True)
    )
    if source.points.shape[1] != target.points.shape[1]:
        msg = (
            f"Both files must have the same number of features: got {_counted(source)} in {source.path} "
            f"and {_counted(target)} in {target.path}. Choose the same ones with --columns."
        )
        raise ValueError(msg)
    if source.features and target.features and source.features != target.features:
        if set(source.features) == set(target.features):
            order = [target.features.index(name) for name in source.features]
            target = replace(
                target,
                points=target.points[:, order],
                features=source.features,
                description=f"{target.description}, columns put in the order of the source file",
            )
        else:
            note = f"{target.description}, taken by position: its names differ from the source file's"
            target = replace(target, description=note)
    dtype = np.result_type(source.points, target.points)
    source, target = (replace(cloud, points=cloud.points.astype(dtype)) for cloud in (source, target))
    return source, target


def read_cloud(path: Path, selection: Selection, *, generator: torch.Generator) -> Cloud:
    """Read one file.

    Args:
        path: The file; its suffix says what it holds.
        selection: What to take from it.
        generator: Source of randomness for a sample.

    Returns:
        Points, weights, and where they came from.

    Raises:
        ValueError: Unknown suffix, or content that is not a cloud of points.
        OSError: The file is missing or cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix not in (*ARRAYS, *TABLES, *PICTURES):
        msg = (
            f"{path} must end in one of {', '.join((*ARRAYS, *TABLES, *PICTURES))}: got {suffix or 'no suffix'!r}. "
            f"Convert it, for instance to .npy or .csv."
        )
        raise ValueError(msg)
    check_readable(path)
    features = None
    if suffix in TABLES:
        points, weights, features, kind = read_table(path, weights=selection.weights, columns=selection.columns)
        kind = f"{len(points):,} rows, {kind}"
    elif suffix in PICTURES:
        _refuse_names(path, selection.weights, selection.columns)
        picture = read_picture(path)
        points, weights, features = picture.reshape(-1, 3) / 255.0, None, ("red", "green", "blue")
        kind = f"picture of {picture.shape[1]} x {picture.shape[0]} pixels, colours as points in [0, 1]³"
        selection = replace(selection, samples=selection.samples or PICTURE_SAMPLES)
    else:
        _refuse_names(path, None, selection.columns)
        points, weights = read_arrays(path, weights=selection.weights)
        kind = (
            f"{points.shape[0] if points.ndim else 0:,} points, {points.shape[1] if points.ndim == 2 else 1} features"
        )
    points = _checked_points(path, points, features, selection.dtype)
    if weights is not None:
        weights = _checked_weights(path, weights, len(points))
    cloud = Cloud(
        path=path,
        points=points,
        weights=weights,
        rows=np.arange(len(points)),
        features=features,
        description=f"{path.name}: {kind}",
    )
    cloud = _sampled(cloud, selection.samples, generator)
    return _normalised(cloud) if selection.is_normalised else cloud


def check_readable(path: Path) -> None:
    """A file that exists and opens.

    Args:
        path: The file.

    Raises:
        OSError: It does not; the message says what to do.
    """
    if path.is_dir():
        msg = f"{path} must be a file: got a folder. Name a file in it."
        raise IsADirectoryError(msg)
    if not path.exists():
        msg = f"{path} must be a file: there is none. Check the spelling, and the folder you are in."
        raise FileNotFoundError(msg)
    try:
        path.open("rb").close()
    except OSError as error:
        msg = f"{path} must be readable: {error.strerror}. Check its permissions."
        raise PermissionError(msg) from error


def _refuse_names(path: Path, weights: str | None, columns: tuple[str, ...] | None) -> None:
    """Names of columns say nothing about a file that has no columns."""
    name = weights if weights is not None else ",".join(columns) if columns else None
    if name is not None:
        msg = f"{path} must have a column {name!r}: got a file without columns. Use a table, or leave the option out."
        raise ValueError(msg)


def _checked_points(path: Path, points: np.ndarray, features: tuple[str, ...] | None, dtype: str | None) -> np.ndarray:
    """Finite numbers of shape (N, D) in the dtype asked for, at least one."""
    points = _checked_numbers(path, points, "points", dtype)
    if points.ndim == 1:
        points = points[:, None]
    if points.ndim != 2:
        msg = f"{path} must hold points of shape (points, features): got {points.shape}. Flatten the other axes first."
        raise ValueError(msg)
    if 0 in points.shape:
        msg = (
            f"{path} must hold at least one point with one feature: got shape {points.shape}. Check how it was written."
        )
        raise ValueError(msg)
    bad = np.argwhere(~np.isfinite(points))
    if len(bad):
        row, column = map(int, bad[0])
        where = f"row {row + 1}, column {features[column]!r}" if features else f"index {(row, column)}"
        msg = (
            f"{path} must hold finite numbers: got {len(bad)} missing, NaN or infinite, the first at {where}. "
            f"Remove or impute them."
        )
        raise ValueError(msg)
    return points


def _checked_weights(path: Path, weights: np.ndarray, size: int) -> np.ndarray:
    """One finite, non-negative weight per point, not all zero."""
    weights = _checked_numbers(path, weights, "weights", None)
    if weights.shape != (size,):
        msg = f"{path} must hold one weight per point, shape ({size},): got {weights.shape}. Save them together."
        raise ValueError(msg)
    bad = ~np.isfinite(weights) | (weights < 0)
    if bad.any():
        row = int(bad.argmax())
        msg = (
            f"{path} must hold finite, non-negative weights: got {weights[row]:g} in row {row + 1}. Clip or remove it."
        )
        raise ValueError(msg)
    if not weights.sum() > 0:
        msg = f"{path} must hold weights with a positive total: got all zeros. Leave them out for equal weights."
        raise ValueError(msg)
    return weights


def _checked_numbers(path: Path, values: np.ndarray, what: str, dtype: str | None) -> np.ndarray:
    """Real numbers as float32 or float64."""
    if values.dtype.kind not in "fiub":
        msg = f"{path} must hold real numbers: got {what} of dtype {values.dtype}. Convert them with .astype(float)."
        raise ValueError(msg)
    kept = np.float32 if values.dtype.kind == "f" and values.dtype.itemsize <= 4 else np.float64
    return values.astype(dtype or kept)


def _sampled(cloud: Cloud, samples: int | None, generator: torch.Generator) -> Cloud:
    """Some of the points, drawn without replacement, in the file's order."""
    size = len(cloud.points)
    if samples is None or samples >= size:
        return cloud
    rows = np.sort(torch.randperm(size, generator=generator)[:samples].numpy())
    weights = None if cloud.weights is None else cloud.weights[rows]
    if weights is not None and not weights.sum() > 0:
        msg = f"{cloud.path}: all of the {samples} points drawn have weight 0. Draw more with --samples, or use another --seed."
        raise ValueError(msg)
    return replace(
        cloud,
        points=cloud.points[rows],
        weights=weights,
        rows=rows,
        description=f"{cloud.description}; {samples:,} drawn at random without replacement",
    )


def _normalised(cloud: Cloud) -> Cloud:
    """Weights scaled to a total of 1; equal ones are already."""
    if cloud.weights is None:
        return cloud
    return replace(cloud, weights=cloud.weights / cloud.weights.sum())


def _counted(cloud: Cloud) -> str:
    count = cloud.points.shape[1]
    names = f" ({', '.join(cloud.features[:6])}{', …' if count > 6 else ''})" if cloud.features else ""
    return f"{count}{names}"


def selections(
    *,
    weights: tuple[str | None, str | None],
    columns: str | None,
    samples: int | None,
    dtype: str | None,
    is_normalised: bool,
) -> tuple[Selection, Selection]:
    """What to take from the source and from the target file, from options as they are typed.

    Args:
        weights: Column of the weights on each side.
        columns: Features, separated by commas.
        samples: At most so many points from each.
        dtype: "float32", "float64" or None.
        is_normalised: Whether to scale weights to a total of 1.

    Returns:
        One for the source, one for the target.

    Raises:
        ValueError: A setting is out of range.
    """
    names = None if columns is None else tuple(name.strip() for name in columns.split(",") if name.strip())
    if names is not None and (not names or len(set(names)) < len(names)):
        msg = (
            f"--columns must name different columns, separated by commas: got {columns!r}. For instance --columns x,y."
        )
        raise ValueError(msg)
    source, target = (
        Selection(weights=name, columns=names, samples=samples, dtype=dtype, is_normalised=is_normalised)
        for name in weights
    )
    return source, target


def seeded(seed: int) -> torch.Generator:
    """The source of randomness behind --seed.

    Args:
        seed: As given.

    Returns:
        A generator of its own: the global random state plays no part.

    Raises:
        ValueError: Not between 0 and 2^63 - 1.
    """
    if not 0 <= seed < 2**63:
        msg = f"--seed must lie between 0 and 2^63 - 1: got {seed}. Any small number will do."
        raise ValueError(msg)
    return torch.Generator().manual_seed(seed)


def describe_clouds(clouds: tuple[Cloud, Cloud], seed: int) -> dict[str, str]:
    """What was read, in words.

    Args:
        clouds: Source and target.
        seed: Of the samples drawn from them.

    Returns:
        Name to description.
    """
    words = {name: cloud.description for name, cloud in zip(("source", "target"), clouds, strict=True)}
    return {**words, "seed": str(seed)} if any("drawn at random" in text for text in words.values()) else words
