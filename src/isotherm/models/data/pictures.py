"""Folders of pictures of one size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from isotherm._optional import require
from isotherm.models.data.dataset import DataSet, split

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = (".png", ".jpg", ".jpeg")
GREY = ("1", "L", "LA", "I;16")  # modes of Pillow without colour


def read_pictures(folder: Path, *, share: float, seed: int) -> DataSet:
    """Pictures of a folder, in the order of their names; of its folders, if there are none, each one class.

    Args:
        folder: Holds .png, .jpg or .jpeg, all of the same size.
        share: Of what is held out.
        seed: Of that draw.

    Returns:
        Values from 0 to 1; shape (H, W) where all are grey, (3, H, W) where one has colour. Transparency is dropped.

    Raises:
        ValueError: No pictures, sizes that differ, or a file that is no picture; the message names it.
        ImportError: Pillow is missing.
    """
    files = [path for path in sorted(folder.iterdir()) if _is_picture(path)]
    classes = [] if files else [path for path in sorted(folder.iterdir()) if path.is_dir()]
    inside = {path: [file for file in sorted(path.iterdir()) if _is_picture(file)] for path in classes}
    inside = {path: found for path, found in inside.items() if found}
    files = files or [file for found in inside.values() for file in found]
    if not files:
        msg = f"{folder} must hold pictures ({', '.join(SUFFIXES)}): got none. Name the folder that they are in."
        raise ValueError(msg)
    arrays = [_read(file) for file in files]
    sizes = [array.shape[:2] for array in arrays]
    other = next((k for k, size in enumerate(sizes) if size != sizes[0]), None)
    if other is not None:
        (rows, columns), (rows_there, columns_there) = sizes[0], sizes[other]
        msg = f"{folder} must hold pictures of one size: got {columns} x {rows} in {files[0].name} and {columns_there} x {rows_there} in {files[other].name}. Resize them."
        raise ValueError(msg)
    if any(array.ndim == 3 for array in arrays):
        arrays = [np.stack([array] * 3, axis=2) if array.ndim == 2 else array for array in arrays]
    x = torch.from_numpy(np.stack(arrays))
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()  # (n, 3, H, W)
    labels = torch.tensor([k for k, found in enumerate(inside.values()) for _ in found]) if inside else None
    train, test, train_labels, test_labels = split(x, labels, share=share, seed=seed, name=str(folder))
    kind = "grey" if x.ndim == 3 else "colour"
    return DataSet(
        name=folder.resolve().name,
        description=(
            f"{len(x)} {kind} pictures of {x.shape[-1]} x {x.shape[-2]} pixels in {folder.resolve().name}, values from 0 to 1"
            f"{f', {len(inside)} classes' if inside else ''}; {len(test)} held out at random, seed {seed}"
        ),
        train=train,
        test=test,
        train_labels=train_labels,
        test_labels=test_labels,
        bounds=(0.0, 1.0),
    )


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read(path: Path) -> np.ndarray:
    """Values from 0 to 1, float32, (H, W) or (H, W, 3)."""
    image = require("PIL.Image", extra="train", why="read pictures")
    try:
        with image.open(path) as picture:
            if picture.mode == "I;16":
                return np.asarray(picture, dtype=np.float32) / 65535.0
            return np.asarray(picture.convert("L" if picture.mode in GREY else "RGB"), dtype=np.float32) / 255.0
    except (OSError, SyntaxError, image.DecompressionBombError) as error:
        msg = f"{path} must be a picture: it cannot be read as one. Remove it, or write it anew."
        raise ValueError(msg) from error
