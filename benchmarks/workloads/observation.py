"""What a call takes besides time: memory at its peak, and the work of kernels that count it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from benchmarks.memory import peak_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType


def observed(library: ModuleType, call: Callable[[], Any]) -> dict[str, Any]:
    """Call once.

    Args:
        library: One with a context manager `count_work` counts pairs and exponentials.
        call: What is observed.

    Returns:
        Megabytes at the peak beyond those in use before, None where the system does not tell, and counts if there are any.
    """
    with getattr(library, "count_work", nullcontext)() as work:
        try:
            peak = peak_of(call)[1]
        except (OSError, AttributeError, KeyError):
            peak = None
            call()
    found: dict[str, Any] = {"peak_mb": peak}
    if work is not None:
        found |= {"pairs_met": work.pairs, "exponentials": work.exponentials}
    return found
