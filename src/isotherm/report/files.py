"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isotherm.report.style import figure_style

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes the file when the block ends, and vanishes if it fails.

    A reader sees the old file or the new one, never half of one. The temporary name keeps the suffix, because many
    writers choose their format by it. Permissions are those of the file replaced, else the usual ones.

    Args:
        path: The file to write; missing folders are made. A symbolic link is followed.

    Yields:
        The path to write to.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with atomic(folder / "answer.txt") as temporary:
        ...     _ = temporary.write_text("42")
        >>> [file.name for file in folder.iterdir()]
        ['answer.txt']
    """
    target = Path(path).resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
    try:
        temporary.touch(mode=0o666, exist_ok=False)  # less the umask
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o777)
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: str | Path, data: Any) -> None:
    """Write data as indented JSON, atomically.

    Args:
        path: The file.
        data: Dictionaries, lists, strings and numbers.

    Raises:
        ValueError: A number is NaN or infinite: JSON has no word for them; see `summarise`.
    """
    text = json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False)
    with atomic(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


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
