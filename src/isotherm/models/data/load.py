"""Data by name, by file or by folder."""

from __future__ import annotations

import difflib
from pathlib import Path

import torch

from isotherm._checks import check_choice, check_count
from isotherm.models.data.dataset import DataSet, split
from isotherm.models.data.files import ARRAYS, read_arrays
from isotherm.models.data.pictures import read_pictures
from isotherm.models.data.planar import PLANAR, planar
from isotherm.models.data.shipped import SHIPPED

PLANE = "2d:"


def load_data(source: str | Path, *, count: int = 5000, share: float = 0.2, seed: int = 0) -> DataSet:
    """Observations to learn from and observations held out, the same for the same arguments.

    Args:
        source: "digits" or "iris", which come with scikit-learn and with a split of their own; "2d:NAME", a law in the
            plane (see `PLANAR`); a file .npy or .npz; or a folder of pictures.
        count: Points drawn of a law in the plane, train and test together.
        share: Of the observations, held out where the source does not say which.
        seed: Of points drawn, and of the draw of those held out.

    Returns:
        The data set, on the CPU.

    Raises:
        ValueError: An unknown name, or content that is not observations of one shape.
        FileNotFoundError: No such file.
        ImportError: scikit-learn or Pillow is missing; the message says how to get it.

    Example:
        >>> load_data("2d:moons", count=100)
        DataSet(2d:moons: 80 to learn from, 20 held out, each 2)
    """
    check_count(seed, "seed", minimum=0)
    name, path = str(source), Path(source)
    if name in SHIPPED:
        return SHIPPED[name]()
    if name.startswith(PLANE):
        return _drawn(name, count=count, share=share, seed=seed)
    if path.suffix.lower() in ARRAYS and not path.is_dir():
        return read_arrays(path, share=share, seed=seed)
    if path.is_dir():
        return read_pictures(path, share=share, seed=seed)
    known = [*SHIPPED, *(PLANE + law for law in PLANAR)]
    near = difflib.get_close_matches(name.lower(), [*known, *PLANAR], n=1, cutoff=0.5)
    close = PLANE + near[0] if near and near[0] in PLANAR else near[0] if near else ""
    hint = f"Did you mean {close!r}?" if close else "Check the spelling, and the folder you are in."
    msg = f"Data must be {', '.join(map(repr, known))}, a file {' or '.join(ARRAYS)}, or a folder of pictures: got {name!r}. {hint}"
    raise ValueError(msg)


def _drawn(name: str, *, count: int, share: float, seed: int) -> DataSet:
    """A law in the plane."""
    law = check_choice(name.removeprefix(PLANE), "data after 2d:", PLANAR)
    x, part = planar(law, check_count(count, "count", minimum=2), generator=torch.Generator().manual_seed(seed))
    has_parts = bool(part.any())
    train, test, train_labels, test_labels = split(
        x.float(), part if has_parts else None, share=share, seed=seed, name=name
    )
    return DataSet(
        name=name,
        description=f"{count} points in the plane, {law}; {len(test)} held out, seed {seed}",
        train=train,
        test=test,
        train_labels=train_labels,
        test_labels=test_labels,
    )
