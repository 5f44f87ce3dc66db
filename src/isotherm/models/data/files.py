"""Arrays in files, .npy and .npz; never anything that would run code on loading."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from isotherm.models.data.dataset import DataSet, split

if TYPE_CHECKING:
    from pathlib import Path

ARRAYS = (".npy", ".npz")
OBSERVATIONS = ("x", "data", "images")  # names in a .npz under which observations may stand
UNREADABLE = (ValueError, EOFError, OSError, zipfile.BadZipFile)


def read_arrays(path: Path, *, share: float, seed: int) -> DataSet:
    """Observations from a file of arrays.

    Args:
        path: .npy: the observations, one per row. .npz: `train` and `test` as they are to be split; or the observations
            under one of the names `x`, `data`, `images`, or as the only array; `labels` (`train_labels`, `test_labels`)
            are taken where they are. Eight-bit pictures, shape (n, H, W, ...), are divided by 255.
        share: Of what is held out, where the file does not say.
        seed: Of that draw.

    Returns:
        The data set.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be read as arrays of finite real numbers, or not as observations.
    """
    if not path.is_file():
        msg = f"{path} must be a file: there is none. Check the spelling, and the folder you are in."
        raise FileNotFoundError(msg)
    arrays = _arrays(path)
    is_eight_bit = _is_eight_bit(arrays["x"] if "x" in arrays else arrays["train"])
    parts = {
        name: _labels(path, name, value) if "labels" in name else _observations(path, name, value)
        for name, value in arrays.items()
    }
    words = f"{path.name}{', eight bits divided by 255' if is_eight_bit else ''}"
    if "train" in parts and "test" in parts:
        labels = parts.get("train_labels"), parts.get("test_labels")
        train, test, words = parts["train"], parts["test"], f"{words}; split as in the file"
    else:
        train, test, *labels = split(parts["x"], parts.get("labels"), share=share, seed=seed, name=str(path))
        words = f"{words}; {len(test)} of {len(train) + len(test)} held out at random, seed {seed}"
    return DataSet(
        name=path.stem,
        description=words,
        train=train,
        test=test,
        train_labels=labels[0],
        test_labels=labels[1],
        bounds=(0.0, 1.0) if is_eight_bit else None,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file by their part: x and labels, or train, test and their labels."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"x": loaded}
        with loaded as archive:
            found = {name: archive[name] for name in archive.files}
    except UNREADABLE as error:
        told = (
            "Python objects" if "pickle" in str(error).lower() or "object" in str(error).lower() else "something else"
        )
        msg = f"{path} must hold arrays of numbers written by numpy.save or numpy.savez: got {told}. Convert with .astype(float) and save again."
        raise ValueError(msg) from error
    if {"train", "test"} <= set(found):
        return {name: found[name] for name in ("train", "test", "train_labels", "test_labels") if name in found}
    rest = [name for name in found if name != "labels"]
    name = next((name for name in OBSERVATIONS if name in found), rest[0] if len(rest) == 1 else None)
    if name is None:
        msg = f"{path} must hold observations under `x`, or `train` and `test`: got {', '.join(map(repr, found)) or 'no arrays'}. Rename with numpy.savez(path, x=...)."
        raise ValueError(msg)
    return {"x": found[name], **({"labels": found["labels"]} if "labels" in found else {})}


def _observations(path: Path, name: str, values: np.ndarray) -> Tensor:
    """One row each, finite, float32."""
    if values.dtype.kind not in "fiub":
        msg = f"{path} must hold real numbers: got {name} of dtype {values.dtype}. Convert them with .astype(float)."
        raise ValueError(msg)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim == 0 or 0 in values.shape:
        msg = f"{path} must hold at least one observation with one number: got {name} of shape {values.shape}. Check how it was written."
        raise ValueError(msg)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is told below
        numbers = values.astype(np.float32)
    bad = np.argwhere(~np.isfinite(numbers))
    if len(bad):
        first = tuple(map(int, bad[0]))
        msg = f"{path} must hold finite numbers: got {len(bad)} NaN or infinite in {name}, the first at index {first}. Remove or impute them."
        raise ValueError(msg)
    return torch.from_numpy(numbers / 255.0 if _is_eight_bit(values) else numbers)


def _is_eight_bit(values: np.ndarray) -> bool:
    """Whether these are pictures as files hold them."""
    return values.dtype == np.uint8 and values.ndim >= 3


def _labels(path: Path, name: str, values: np.ndarray) -> Tensor:
    """Whole numbers, one per observation."""
    if values.dtype.kind not in "iub" or values.ndim != 1:
        msg = f"{path} must hold `{name}` as whole numbers, shape (n,): got {values.dtype} of shape {values.shape}. Number the classes."
        raise ValueError(msg)
    return torch.from_numpy(values.astype(np.int64))
