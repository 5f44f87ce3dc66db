"""Observations in two parts: those to learn from, and those to judge by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_finite


@dataclass(frozen=True, eq=False, kw_only=True)
class DataSet:
    """Observations of one law, split for good.

    Attributes:
        name: Short, as it was asked for.
        description: Where they come from, what their numbers mean, how they were split; one line.
        train: To learn from, shape (n, *shape), float32.
        test: Held out, shape (m, *shape), float32.
        train_labels: Class of each, shape (n,), int64; None where there are no classes. Models never see them.
        test_labels: Likewise, shape (m,).
        bounds: Least and greatest value that an entry can have, such as (0, 1) for pictures; None without such bounds.

    Raises:
        ValueError: A part is empty, holds NaN or infinity, or does not fit the others.

    Example:
        >>> data = DataSet(name="line", description="two points", train=torch.zeros(1, 1), test=torch.ones(1, 1))
        >>> data.shape, data.scale
        ((1,), (0.0, 1.0))
    """

    name: str
    description: str
    train: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    test_labels: Tensor | None = None
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name, part, labels in (
            ("train", self.train, self.train_labels),
            ("test", self.test, self.test_labels),
        ):
            if part.ndim < 2 or part.numel() == 0:
                msg = f"`{name}` must have shape (n, *shape) with n at least 1: got {tuple(part.shape)}. Give every observation its own row."
                raise ValueError(msg)
            check_finite(part, name)
            _check_labels(labels, part, f"{name}_labels")
        if self.train.shape[1:] != self.test.shape[1:]:
            msg = f"`test` must hold observations like those of `train`, shape {self.shape}: got {tuple(self.test.shape[1:])}. Reshape one of them."
            raise ValueError(msg)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one observation."""
        return tuple(self.train.shape[1:])

    @property
    def scale(self) -> tuple[float, float]:
        """On which values are drawn: the bounds; without them, the least and the greatest value that occur."""
        if self.bounds is not None:
            return self.bounds
        low, high = torch.cat([self.train.flatten(), self.test.flatten()]).aminmax()
        return float(low), float(high)

    def validation_split(self, *, share: float = 1.0 / 3.0, seed: int = 0) -> DataSet:
        """Data to choose settings by: the training data alone, a share of them held out in turn.

        What this data set holds out is in neither part, so that it stays unseen until the choice is made.

        Args:
            share: Of the training data, held out; of each class alike where there are labels.
            seed: Of the draw.

        Returns:
            A new data set, whose `train` and `test` together are the `train` of this one.

        Raises:
            ValueError: Fewer than two observations to learn from, or a share outside (0, 1).

        Example:
            >>> data = DataSet(name="line", description="", train=torch.arange(6.0)[:, None], test=torch.ones(2, 1))
            >>> data.validation_split()
            DataSet(line, validation: 4 to learn from, 2 held out, each 1)
        """
        train, test, train_labels, test_labels = split(
            self.train, self.train_labels, share=share, seed=seed, name=self.name, strata=self.train_labels
        )
        return DataSet(
            name=f"{self.name}, validation",
            description=f"{self.description}; {len(test)} of the {len(self.train)} to learn from held out in turn, seed {seed}",
            train=train,
            test=test,
            train_labels=train_labels,
            test_labels=test_labels,
            bounds=self.bounds,
        )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"DataSet({self.name}: {len(self.train)} to learn from, {len(self.test)} held out, each {shape})"


def split(
    x: Tensor, labels: Tensor | None, *, share: float, seed: int, name: str, strata: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Hold out a share of some observations, at random.

    Args:
        x: Observations, shape (n, *shape).
        labels: Of each, or None.
        share: Of those held out; at least one on each side.
        seed: Of the draw.
        name: What to call the source in messages.
        strata: A number for each observation, such as its class; the share is held out of each number's observations, to
            within one. Of all together when left out.

    Returns:
        train, test, train_labels, test_labels.

    Raises:
        ValueError: Fewer than two observations, or a share outside (0, 1).

    Example:
        >>> [len(part) for part in split(torch.zeros(10, 1), None, share=0.2, seed=0, name="zeros")[:2]]
        [8, 2]
    """
    if not 0.0 < share < 1.0:
        msg = f"`share` must lie between 0 and 1: got {share}. 0.2 holds out a fifth."
        raise ValueError(msg)
    if len(x) < 2:
        msg = f"{name} must hold at least two observations, to learn from one and judge by the other: got {len(x)}. Add some."
        raise ValueError(msg)
    _check_labels(labels, x, f"labels of {name}")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held = min(max(round(share * len(x)), 1), len(x) - 1)
    is_held = torch.arange(len(x)) < held
    if strata is not None:
        order = order[strata[order].argsort(stable=True)]
        counts = torch.arange(len(x) + 1) * held // len(x)  # held among the first, at even steps
        is_held = counts[1:] > counts[:-1]
    train, test = order[~is_held].sort().values, order[is_held].sort().values
    if labels is None:
        return x[train], x[test], None, None
    return x[train], x[test], labels[train], labels[test]


def _check_labels(labels: Tensor | None, x: Tensor, name: str) -> None:
    """One for each observation, or none at all."""
    if labels is not None and labels.shape != x.shape[:1]:
        msg = f"{name} must be one label per observation, shape ({len(x)},): got {tuple(labels.shape)}. Select both alike."
        raise ValueError(msg)
