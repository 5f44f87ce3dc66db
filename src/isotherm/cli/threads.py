"""How many CPU threads torch uses while a command works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from isotherm._checks import check_count


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Use so many threads within the block, then as many as before.

    Args:
        count: At least 1; None leaves torch's choice, every core.

    Raises:
        ValueError: Less than one.
    """
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(check_count(count, "--threads"))
    try:
        yield
    finally:
        torch.set_num_threads(before)
