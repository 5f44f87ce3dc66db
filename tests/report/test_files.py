"""Files appear whole or not at all."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from isotherm.report import atomic, check_outputs, save_figure, write_json
from isotherm.report.figures import convergence_figure

if TYPE_CHECKING:
    from pathlib import Path

    from isotherm import Solution


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


def test_check_outputs_accepts_new_files_and_creates_nothing(tmp_path: Path) -> None:
    check_outputs([tmp_path / "deep" / "er" / "a.json", tmp_path / "b.json"], overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_check_outputs_refuses_existing_files_by_name(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for path in paths[:2]:
        path.touch()
    with pytest.raises(FileExistsError, match=r"a\.json, .*b\.json.*--overwrite"):
        check_outputs(paths, overwrite=False)
    check_outputs(paths, overwrite=True)


def test_check_outputs_refuses_folders_and_paths_through_files(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IsADirectoryError, match="Add a file name"):
        check_outputs([tmp_path], overwrite=True)
    with pytest.raises(NotADirectoryError, match="is a file"):
        check_outputs([tmp_path / "file" / "a.json"], overwrite=True)


def test_check_outputs_refuses_unwritable_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # a superuser may write everywhere
    with pytest.raises(PermissionError, match="change its permissions"):
        check_outputs([tmp_path / "a.json"], overwrite=False)


def test_write_json_refuses_nan_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_save_figure_is_reproducible(tmp_path: Path, solution: Solution, suffix: str, start: bytes) -> None:
    figure = convergence_figure([solution])
    written = []
    for name in ("first", "second"):
        save_figure(tmp_path / f"{name}{suffix}", figure)
        written.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert written[0].startswith(start)
    assert written[0] == written[1]
