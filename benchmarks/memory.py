"""Resident memory of this process at its peak."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_of(call: Callable[[], T]) -> tuple[T, float]:
    """What a call returns, and the memory that it takes beyond what is in use before, in units of 1e6 bytes.

    Raises:
        OSError, AttributeError, KeyError: The system does not tell.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, or the call would fill it unseen
    CLEAR.write_text("5", encoding="ascii")  # forget the peak so far
    before = memory("VmRSS")
    answer = call()
    return answer, memory("VmHWM") - before


def memory(key: str) -> float:
    """A line of the process status, in units of 1e6 bytes."""
    lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
    return int(lines[key].split()[0]) * 1024 / 1e6
