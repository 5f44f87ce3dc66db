"""What every result begins with, and how it is written."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.run import RESULTS, commit, processor_name

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = ("isotherm", "torch", "numpy", "scikit-learn", "pot")


def heading(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Machine, versions, date."""
    return {
        "schema": 1,
        "kind": kind,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "machine": {"processor": processor_name(), "cores": os.cpu_count()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "settings": settings,
        "rows": [],
    }


def write(result: dict[str, Any], path: Path | None, name: str) -> Path:
    """As indented JSON."""
    path = path or RESULTS / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return path
