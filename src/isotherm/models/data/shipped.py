"""Digits and iris, which come with scikit-learn: nothing is fetched."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from isotherm._optional import require
from isotherm.models.data.dataset import DataSet

HELD_OUT = {"digits": 599, "iris": 30}


def digits() -> DataSet:
    """1797 handwritten digits of 8 x 8 pixels, grey levels 0 to 16 divided by 16; 1198 to learn from, 599 held out.

    Stratified by class, scikit-learn's `train_test_split` with random_state=0: the same split for everybody.
    """
    found = require("sklearn.datasets", extra="train", why="read the digits").load_digits()
    return _split(
        "digits",
        "1797 handwritten digits, 8 x 8 pixels, grey levels from 0 to 1; split 1198 to 599, stratified",
        (found.images / 16.0).astype(np.float32),
        found.target,
        bounds=(0.0, 1.0),
    )


def iris() -> DataSet:
    """150 irises in three classes, four measures projected onto their three principal axes; 120 and 30.

    As in the experiment of [Genevay2018, section 4.1], which uses all 150: join `train` and `test` for that.
    """
    found = require("sklearn.datasets", extra="train", why="read the irises").load_iris()
    points = principal_axes(torch.from_numpy(found.data), 3).numpy().astype(np.float32)
    words = "150 irises in three classes, centimetres along three principal axes; split 120 to 30, stratified"
    return _split("iris", words, points, found.target, bounds=None)


SHIPPED = {"digits": digits, "iris": iris}


def principal_axes(x: Tensor, count: int) -> Tensor:
    """Coordinates along the first principal axes, each axis turned so that its largest entry is positive.

    Args:
        x: Points, shape (n, d), float64.
        count: How many axes.

    Returns:
        Centred coordinates, shape (n, count).

    Example:
        >>> principal_axes(torch.tensor([[0.0, 1.0], [4.0, 1.0]], dtype=torch.float64), 1).flatten().tolist()
        [-2.0, 2.0]
    """
    centred = x - x.mean(0)
    axes = torch.linalg.svd(centred, full_matrices=False).Vh[:count]  # (count, d)
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    return centred @ (axes * largest.sign()).T


def _split(name: str, words: str, x: np.ndarray, labels: np.ndarray, *, bounds: tuple[float, float] | None) -> DataSet:
    selection = require("sklearn.model_selection", extra="train", why="split the observations into train and test")
    parts = selection.train_test_split(x, labels, test_size=HELD_OUT[name], random_state=0, stratify=labels)
    train, test, train_labels, test_labels = (torch.from_numpy(np.ascontiguousarray(part)) for part in parts)
    return DataSet(
        name=name,
        description=words,
        train=train,
        test=test,
        train_labels=train_labels.long(),
        test_labels=test_labels.long(),
        bounds=bounds,
    )
