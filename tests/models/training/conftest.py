"""The small model that remembers much, which scripts use as well as tests."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SCRIPT = Path(__file__).with_name("remembering.py")


@pytest.fixture(scope="session")
def remembering() -> SimpleNamespace:
    """What remembering.py defines, its path, and a command that runs it."""
    return SimpleNamespace(**runpy.run_path(str(SCRIPT)), command=[sys.executable, str(SCRIPT)])
