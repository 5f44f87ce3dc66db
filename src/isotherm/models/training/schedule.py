"""How the learning rate goes from step to step: a function of the step alone, so that nothing needs to be kept."""

from __future__ import annotations

import math

SCHEDULES = ("constant", "cosine")


def rate_factor(step: int, *, steps: int, schedule: str, warm_up: int) -> float:
    """What the learning rate is multiplied by.

        min(1, (step + 1) / warm_up) * (1 or (1 + cos(pi s)) / 2),    s = (step - warm_up) / (steps - warm_up)

    Args:
        step: Steps that are done, from 0.
        steps: Of the whole training.
        schedule: "constant" or "cosine".
        warm_up: Steps in which the rate rises from zero.

    Returns:
        A number in [0, 1].

    Example:
        >>> [rate_factor(k, steps=5, schedule="cosine", warm_up=1) for k in (0, 1, 3)]
        [1.0, 1.0, 0.5]
    """
    if step < warm_up:
        return (step + 1) / warm_up
    if schedule == "constant":
        return 1.0
    return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / (steps - warm_up)))
