"""Outputs: refused before any work where they could not be written, and written whole."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isotherm._files import atomic, write_text
from isotherm.report.style import figure_style

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.figure import Figure

PIXELS_PER_INCH = 200


def check_outputs(paths: Iterable[str | Path], *, overwrite: bool) -> None:
    """Refuse outputs that could not be written, before any work is done; creates nothing.

    Args:
        paths: Files that will be written. Missing folders are fine, `atomic` makes them.
        overwrite: Whether existing files may be replaced.

    Raises:
        FileExistsError: Some of the files exist and may not be replaced; all of them are named.
        IsADirectoryError: An output is an existing folder.
        NotADirectoryError: Part of the folder's path is a file.
        PermissionError: The folder, or the first existing one above it, does not allow writing.
    """
    outputs = [Path(path) for path in paths]
    for output in outputs:
        if output.is_dir():
            msg = f"An output must be a file: got the folder {output}. Add a file name."
            raise IsADirectoryError(msg)
        folder = next((parent for parent in output.absolute().parents if parent.exists()), Path("/"))
        if not folder.is_dir():
            msg = f"{output} must lie in a folder: {folder} is a file. Choose another folder."
            raise NotADirectoryError(msg)
        if not os.access(folder, os.W_OK | os.X_OK):
            msg = f"{output} cannot be written: the folder {folder} does not allow it. Choose another folder, or change its permissions."
            raise PermissionError(msg)
    existing = [str(output) for output in outputs if output.exists()]
    if existing and not overwrite:
        listed = ", ".join(existing)
        msg = f"Outputs must not exist yet: found {listed}. Choose another folder, or allow overwriting (--overwrite)."
        raise FileExistsError(msg)


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, atomically.

    Args:
        path: The file.
        data: Dictionaries, lists, strings and numbers.

    Raises:
        ValueError: A number is NaN or infinite: JSON has no word for them; see `summarise`.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure, atomically and without a time stamp: the same figure gives the same bytes.

    Args:
        path: The file; its suffix is the format (.png, .svg, .pdf).
        figure: What to draw; PNG at 200 pixels per inch.
    """
    suffix = Path(path).suffix.lower()
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix)
    with atomic(path) as temporary, figure_style():
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # laying out a second time moves things a little
        figure.savefig(temporary, dpi=PIXELS_PER_INCH, metadata=metadata)
