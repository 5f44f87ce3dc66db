"""NumPy files: one array, or several under names."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

ARRAYS = (".npy", ".npz")
POINT_KEYS = ("x", "points")
WEIGHTS_KEY = "weights"  # read without being asked for


class PointArrays(NamedTuple):
    """Points and their weights as they are in the file, unchecked."""

    points: np.ndarray
    weights: np.ndarray | None


def read_arrays(path: Path, *, weights: str | None) -> PointArrays:
    """Read points, and weights where there are any.

    Args:
        path: A .npy file, or a .npz file with points under 'x' or 'points' or as its only array.
        weights: Name of the array of weights; 'weights', if there is one, when left out.

    Returns:
        Points, and weights or None.

    Raises:
        ValueError: The file is damaged, or does not hold what it should.
    """
    arrays = _load(path)
    if weights is not None and weights not in arrays:
        held = f"arrays {_listed(arrays)}" if path.suffix.lower() == ".npz" else "a single array without names"
        msg = f"{path} must hold the weights {weights!r}: got {held}. Name another, or leave it out for equal weights."
        raise ValueError(msg)
    mass = arrays.pop(weights or WEIGHTS_KEY, None)
    key = next((name for name in POINT_KEYS if name in arrays), None)
    if key is None and len(arrays) == 1:
        key = next(iter(arrays))
    if key is None:
        msg = (
            f"{path} must hold its points under 'x' or 'points', or a single array: got {_listed(arrays)}. "
            f"Save it with numpy.savez(path, x=points, weights=weights)."
        )
        raise ValueError(msg)
    return PointArrays(arrays[key], mass)


def _load(path: Path) -> dict[str, np.ndarray]:
    """Everything in the file, by name; a single array has the name 'x'."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded}
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        msg = (
            f"{path} must be a NumPy file of numbers: got one that is damaged or holds Python objects. "
            f"Save it again with numpy.save or numpy.savez."
        )
        raise ValueError(msg) from error


def _listed(arrays: dict[str, np.ndarray]) -> str:
    return ", ".join(map(repr, arrays)) or "nothing"
