"""Whether a model has learnt the law or its examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from isotherm.models.metrics.neighbours import nearest_distances

LEVEL = 0.01  # share of held-out observations that lie as near to the training data as what counts as a copy


@dataclass(frozen=True, kw_only=True)
class Memorisation:
    """How near generated observations come to the training data.

    Attributes:
        ratio: Median distance of the generated to the nearest training observation, over the same of those held out. 1 as
            if new, towards 0 for copies. Below 1 also where samples are smooth and lie between the data: see precision.
        copies: Share of the generated that lie nearer than 99 % of those held out do; 0.01 is as if new.
    """

    ratio: float
    copies: float


def memorisation(generated: Any, train: Any, test: Any) -> Memorisation:
    """Compare distances to the training data: of generated observations, and of others that were held out.

        ratio = median_j min_i |y_j - x_i| / median_l min_i |t_l - x_i|

    Args:
        generated: y, shape (m, *shape).
        train: x, what the model was trained on, shape (n, *shape).
        test: t, of the same law and unseen, shape (l, *shape).

    Returns:
        Ratio and share of copies, without unit.

    Raises:
        ValueError: More than half of those held out are copies of training observations themselves.

    Example:
        >>> memorisation([[0.0], [1.0], [1.0]], train=[[0.0], [1.0]], test=[[0.4], [0.7]])
        Memorisation(ratio=0.0, copies=1.0)

    References:
        [Meehan2020]
    """
    ours, theirs = nearest_distances(generated, train), nearest_distances(test, train)
    scale = float(theirs.median())
    if scale == 0.0:
        msg = "Held-out observations must be new: got copies of training observations, more than half. Split anew after removing copies."
        raise ValueError(msg)
    near = theirs.quantile(LEVEL, interpolation="lower")
    return Memorisation(ratio=float(ours.median()) / scale, copies=float((ours < near).double().mean()))
