"""The entry point: exit codes, and one clear line instead of a traceback."""

from __future__ import annotations

import importlib
import sys
import traceback
import warnings
from collections.abc import Sequence

from isotherm._optional import require

OK, BAD_INPUT, NOT_CONVERGED, INTERRUPTED = 0, 2, 3, 130

# What the package raises for input it cannot use; their messages say what was expected, what came and what to do.
EXPLAINED = (ValueError, TypeError, IndexError, OSError, ImportError, MemoryError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process when left out.

    Returns:
        Exit code: 0 for success, 2 for bad input, 3 for a solve that did not converge (its outputs are written), 130
        for an interrupt.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with warnings.catch_warnings():  # which puts `showwarning` back
        warnings.showwarning = _show_warning
        return _run(words)


def _run(words: list[str]) -> int:
    """Run, with every expected error as one line."""
    is_debug = "--debug" in words
    try:
        for module in ("typer", "rich", "polars", "matplotlib", "jinja2", "PIL", "scipy"):
            require(module, extra="cli", why="run the command `isotherm`")
        app = importlib.import_module("isotherm.cli.app")  # imports typer, which a base install lacks
        return app.run([word for word in words if word != "--debug"])
    except KeyboardInterrupt:
        print("interrupted: nothing was left half-written.", file=sys.stderr)  # noqa: T201 - rich may be absent
        return INTERRUPTED
    except EXPLAINED as error:
        if is_debug:
            traceback.print_exc()
        print(f"error: {_one_line(error)}", file=sys.stderr)  # noqa: T201 - rich may be absent
        return BAD_INPUT


def _show_warning(message: Warning | str, *_: object) -> None:
    """One line without the place in the code, which is no concern of who runs a command."""
    print(f"warning: {message}", file=sys.stderr)  # noqa: T201 - rich may be absent


def _one_line(error: Exception) -> str:
    """The message without line breaks; an operating system's error names its file."""
    if isinstance(error, OSError) and error.strerror:
        named = f"{error.filename}: " if error.filename else ""
        return f"{named}{error.strerror}. Check the path and its permissions."
    return " ".join(str(error).split()) or type(error).__name__
