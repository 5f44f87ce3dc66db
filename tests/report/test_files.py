"""Outputs are refused before any work, and written whole."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from isotherm.report import check_outputs, save_figure, write_json
from isotherm.report.figures import convergence_figure

if TYPE_CHECKING:
    from pathlib import Path

    from isotherm import Solution


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
