"""The order in which the data come: every row once before any comes again, and a place to go on from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Order:
    """Rows of the data, shuffled anew in every epoch; what is left over at the end of one is not used.

    Args:
        size: Rows in all.
        batch_size: Rows at a time; all of them where there are fewer.
        generator: The shuffles are drawn from it.

    Example:
        >>> order = Order(4, 2, torch.Generator().manual_seed(0))
        >>> sorted([*order.take().tolist(), *order.take().tolist()])
        [0, 1, 2, 3]
    """

    def __init__(self, size: int, batch_size: int, generator: torch.Generator) -> None:
        self.size, self.batch_size, self.generator = size, min(batch_size, size), generator
        self._shuffle()

    def take(self) -> Tensor:
        """The next rows, shape (batch_size,)."""
        if self._place + self.batch_size > self.size:
            self._shuffle()
        self._place += self.batch_size
        return self._rows[self._place - self.batch_size : self._place]

    def state_dict(self) -> dict[str, Any]:
        """How many rows there are, what this epoch was drawn from, and how far it has come."""
        return {"size": self.size, "epoch": self._before, "place": self._place}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where `state_dict` was taken.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: It was taken with another number of rows.
        """
        if state["size"] != self.size:
            msg = f"Training goes on with the data it began with: got {self.size} rows, it began with {state['size']}. Give the same data, or train anew."
            raise ValueError(msg)
        self.generator.set_state(state["epoch"].cpu())
        self._shuffle()
        self._place = int(state["place"])

    def _shuffle(self) -> None:
        self._before = self.generator.get_state()
        self._rows, self._place = torch.randperm(self.size, generator=self.generator), 0
