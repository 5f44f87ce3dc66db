"""Run another package's tests with its names pointing at ours: a pytest plugin."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from isotherm._optional import require


@dataclass(frozen=True, kw_only=True)
class Facade:
    """What stands in for what, and which tests know better.

    Attributes:
        names: Objects to set, by module and by name there. A module that took a name from another one is listed too.
        deviations: Part of a test's id, and why it fails on ours: it is expected to.
        left_out: Part of a test's id, and what it needs that is not provided: it is not run.

    Example:
        >>> Facade(names={"math": {"sqrt": abs}}).left_out
        {}
    """

    names: Mapping[str, Mapping[str, Any]]
    deviations: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    _originals: dict[tuple[str, str], Any] = field(default_factory=dict, init=False, repr=False)

    def run(self, arguments: Sequence[str]) -> int:
        """Run pytest on ours.

        Args:
            arguments: Paths of tests, and any words for pytest.

        Returns:
            Exit status of pytest.

        Raises:
            ImportError: Whose tests they are is not installed.
        """
        pytest = require("pytest", extra="test", why="run tests")
        for module in self.names:
            _load(module)
        return int(pytest.main(list(arguments), plugins=[self]))

    def pytest_configure(self) -> None:
        """Point the names at ours, before any test module takes them."""
        for module, names in self.names.items():
            loaded = _load(module)
            for name, ours in names.items():
                self._originals[module, name] = getattr(loaded, name)
                setattr(loaded, name, ours)

    def pytest_unconfigure(self) -> None:
        """Point them back."""
        for (module, name), original in self._originals.items():
            setattr(_load(module), name, original)
        self._originals.clear()

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Leave out what is not provided, and expect what is listed to fail.

        Args:
            config: Told what is left out.
            items: The tests, changed in place.
        """
        pytest = require("pytest", extra="test", why="run tests")
        dropped = [item for item in items if _match(self.left_out, item.nodeid)]
        if dropped:
            config.hook.pytest_deselected(items=dropped)
            items[:] = [item for item in items if item not in dropped]
        for item in items:
            reason = _match(self.deviations, item.nodeid)
            if reason is not None:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


def _load(module: str) -> Any:
    """A module of the package whose tests are run."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        msg = f"The package `{package}` is needed to run its tests, and `{module}` was not found. Install it first."
        raise ImportError(msg) from error


def _match(table: Mapping[str, str], identity: str) -> str | None:
    """The reason under which a test is listed, if it is."""
    return next((reason for part, reason in table.items() if part in identity), None)
