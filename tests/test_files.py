"""Files appear whole or not at all."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from isotherm._files import atomic, write_text

if TYPE_CHECKING:
    from pathlib import Path


def _write_and_fail(path: Path, error: type[BaseException]) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise error


def test_atomic_writes_and_leaves_nothing_else(tmp_path: Path) -> None:
    with atomic(tmp_path / "new" / "answer.txt") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.suffix == ".txt"
        temporary.write_text("42")
        assert not (tmp_path / "new" / "answer.txt").exists()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["answer.txt"]
    assert (tmp_path / "new" / "answer.txt").read_text() == "42"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_failure_keeps_the_old_file_only(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "answer.txt"
    path.write_text("old")
    with pytest.raises(error):
        _write_and_fail(path, error)
    assert [file.name for file in tmp_path.iterdir()] == ["answer.txt"]
    assert path.read_text() == "old"


def test_atomic_permissions_are_the_usual_ones(tmp_path: Path) -> None:
    usual, made = tmp_path / "usual", tmp_path / "made"
    usual.touch()
    with atomic(made) as temporary:
        temporary.write_text("x")
    assert stat.S_IMODE(made.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)
    made.chmod(0o600)
    with atomic(made) as temporary:
        temporary.write_text("y")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_atomic_follows_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic(tmp_path / "link") as temporary:
        temporary.write_text("42")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "42"


def test_write_text_replaces_the_whole_file(tmp_path: Path) -> None:
    for text in ("a longer text\n", "ε\n"):
        write_text(tmp_path / "answer.txt", text)
    assert (tmp_path / "answer.txt").read_bytes() == b"\xce\xb5\n"
