"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


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


def write_text(path: str | Path, text: str) -> None:
    """Write text as UTF-8, atomically.

    Args:
        path: The file.
        text: All of it.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
