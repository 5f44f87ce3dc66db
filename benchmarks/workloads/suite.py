"""What a comparison consists of: tasks, libraries, and who judges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Tasks for libraries, in a package with the modules `libraries` and `worker`.

    Attributes:
        package: Its name.
        tasks: What makes each task, and the tolerances of the L1 marginal error at which it is timed.
        libraries: Names of the modules in its folder `libraries`.
        result: Name of the file of results.
        worst: Judges the answers to the tasks; has a method `record` for JSON.
    """

    package: str
    tasks: Mapping[str, tuple[Callable[[], list[Any]], tuple[float, ...]]]
    libraries: tuple[str, ...]
    result: str
    worst: Callable[[list[Any], list[Any]], Any]
