"""Solves that ask for their sweeps instead of making them, so that many can be served at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import torch

from isotherm._status import Outcome
from isotherm.kernels import Sweeps, Swept, sinkhorn_sweeps

if TYPE_CHECKING:
    from isotherm.solution import Solution

Work = Generator[Sweeps, Swept, "Solution"]


def perform(work: Work) -> Solution:
    """The solution of a solve, its sweeps made as it asks for them."""
    return perform_all([work])[0]


@torch.no_grad()
def perform_all(works: Sequence[Work]) -> list[Solution]:
    """The solutions of many solves, the sweeps of all that are not finished made in one call.

    An interrupt of one ends all: each comes back with what it has reached.

    Args:
        works: The solves, not yet begun.

    Returns:
        Their solutions, in the same order.
    """
    round_ = _Round(works)
    try:
        for k in range(len(works)):
            round_.go_on(k, None)
        while round_.asked:
            served = list(round_.asked)
            for k, swept in zip(served, sinkhorn_sweeps([round_.asked[k] for k in served]), strict=True):
                round_.go_on(k, swept)
    except KeyboardInterrupt:
        round_.interrupt()
    return [round_.solutions[k] for k in range(len(works))]


class _Round:
    """Who asks for what, and who has finished."""

    def __init__(self, works: Sequence[Work]) -> None:
        self.works = works
        self.asked: dict[int, Sweeps] = {}
        self.solutions: dict[int, Solution] = {}

    def go_on(self, k: int, swept: Swept | None) -> None:
        """Hand a solve what it asked for; keep what it asks next, or its solution."""
        try:
            self.asked[k] = next(self.works[k]) if swept is None else self.works[k].send(swept)
        except StopIteration as end:
            self.asked.pop(k, None)
            self.solutions[k] = end.value
            if end.value.status.outcome is Outcome.INTERRUPTED:
                raise KeyboardInterrupt from None

    def interrupt(self) -> None:
        """End every solve that is not finished."""
        for k, work in enumerate(self.works):
            if k in self.solutions:
                continue
            try:
                if k not in self.asked:
                    next(work)  # one that has not begun has nothing to return yet
                work.throw(KeyboardInterrupt)
            except StopIteration as end:
                self.solutions[k] = end.value
