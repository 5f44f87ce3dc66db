"""Runs the Python of README.md and docs/*.md as tests: what the pages show is what the package does.

Each page is one test with one namespace, read from top to bottom. A fenced `python` block with `>>>` is compared
with the output it prints; one without is executed. A block whose fence follows the line `<!-- not run -->` is
only shown.
"""

from __future__ import annotations

import doctest
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FENCE = re.compile(r"(?P<skip><!-- not run -->\n\s*)?^```python[^\n]*\n(?P<code>.*?)^```", re.MULTILINE | re.DOTALL)
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


class Page(pytest.File):
    """One Markdown file."""

    def collect(self) -> Iterator[Snippets]:
        """Yield one test if the page has Python on it."""
        text = self.path.read_text(encoding="utf-8")
        blocks = [
            (text.count("\n", 0, match.start("code")), match["code"])
            for match in FENCE.finditer(text)
            if not match["skip"]
        ]
        if blocks:
            yield Snippets.from_parent(self, name="snippets", blocks=blocks)


class Snippets(pytest.Item):
    """Every block of one page, in order, in one namespace and an empty working directory."""

    def __init__(self, *, blocks: list[tuple[int, str]], **kwargs) -> None:
        super().__init__(**kwargs)
        self.blocks = blocks  # (lines before the block, its text)

    def runtest(self) -> None:
        """Run the page; stop at the first block that does not do what it shows."""
        directory = self.config._tmp_path_factory.mktemp(self.path.stem)  # no public way from an Item
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(directory)
            patch.setenv("MPLBACKEND", "Agg")
            names: dict[str, object] = {"__name__": "__main__"}
            for line, code in self.blocks:
                if ">>>" in code:
                    self.compare(code, line, names)
                else:
                    source = "\n" * line + code  # so that a traceback shows the line of the page
                    exec(compile(source, self.path, "exec"), names)

    def compare(self, code: str, line: int, names: dict[str, object]) -> None:
        """Run a block of `>>>` lines and compare what they print."""
        test = doctest.DocTestParser().get_doctest(code, names, str(self.path.name), str(self.path), line)
        runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
        report: list[str] = []
        runner.run(test, out=report.append, clear_globs=False)
        names.update(test.globs)
        if report:
            raise AssertionError("".join(report))

    def repr_failure(self, excinfo: pytest.ExceptionInfo, style: str | None = None) -> str:
        """Show doctest's own report for a difference, the traceback otherwise."""
        if excinfo.errisinstance(AssertionError) and "Failed example" in str(excinfo.value):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style or "short"))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Name the page in the report."""
        return self.path, 0, f"{self.path.name}: snippets"


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Page | None:
    """Collect README.md and the pages of docs/."""
    if file_path.suffix == ".md" and (file_path.name == "README.md" or file_path.parent.name == "docs"):
        return Page.from_parent(parent, path=file_path)
    return None
