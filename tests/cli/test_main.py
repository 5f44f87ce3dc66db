"""The entry point: help, version, interrupts, and an install without the extra."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pytest

import isotherm
from isotherm.cli.outputs import staged

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(run, words: list[str]) -> None:
    ran = run(*words)
    assert ran.code == 0
    assert ran.err == ""
    for expected in ("couple", "sweep", "recolor", "train", "sample", "demo", "130"):
        assert expected in ran.out


@pytest.mark.parametrize("command", ["couple", "sweep", "recolor", "train", "sample", "demo"])
def test_help_of_a_command_has_examples(run, command: str) -> None:
    ran = run(command, "--help")
    assert ran.code == 0
    assert "Examples" in ran.out
    assert f"isotherm {command}" in ran.out.partition("Examples")[2]
    assert "--overwrite" in ran.out


def test_help_says_what_epsilon_means(run) -> None:
    words = " ".join(run("couple", "--help").out.replace("│", " ").split())
    assert "0.05 means 5 % of it" in words
    assert "[default: 0.05]" in words


def test_version(run) -> None:
    assert run("--version") == (0, f"isotherm {isotherm.__version__}\n", "")


def test_base_install_names_the_extra(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    ran = run("demo")
    assert ran.code == 2
    assert "pip install 'isotherm[cli]'" in ran.err
    assert ran.err.count("\n") == 1


def test_missing_demo_extra_is_named(run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    ran = run("demo", "--output", tmp_path / "demo")
    assert ran.code == 2
    assert "pip install 'isotherm[demo]'" in ran.err
    assert not (tmp_path / "demo").exists()


def test_a_defect_is_not_taken_for_bad_input(run, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("isotherm.cli.couple.pose", broken)
    with pytest.raises(RuntimeError):
        run("couple", files / "x.npy", files / "y.npy", "--output", files / "out")


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
def test_interrupt_leaves_nothing_behind(tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(2, 2000, 2))
    np.save(tmp_path / "x.npy", points[0])
    np.save(tmp_path / "y.npy", points[1])
    words = "'x.npy', 'y.npy', '--epsilon', '1e-5', '--tolerance', '1e-12', '--max-iterations', '1000000'"
    script = (
        "import sys, isotherm.cli; print('ready', flush=True); "
        f"sys.exit(isotherm.cli.main(['couple', {words}, '--output', 'out', '--threads', '1']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(3.0)  # into the solve; earlier is an interrupt too
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    assert err == "interrupted: nothing was left half-written.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.npy"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_interrupt_while_writing_leaves_nothing_behind(tmp_path: Path, stop: type[BaseException]) -> None:
    def write() -> None:
        with staged(tmp_path / "new" / "out") as folder:
            (folder / "half.txt").write_text("half")
            raise stop

    with pytest.raises(stop):
        write()
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_overwriting_keeps_the_old_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    def write() -> None:
        with staged(tmp_path) as folder:
            (folder / "a.txt").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_files_appear_together(tmp_path: Path) -> None:
    with staged(tmp_path / "out") as folder:
        (folder / "a.txt").write_text("a")
        (folder / "b.txt").write_text("b")
        assert [path.name for path in (tmp_path / "out").glob("*.txt")] == []
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.txt", "b.txt"]


def test_a_warning_is_one_line_without_a_place_in_the_code(run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(_: list[str]) -> int:
        warnings.warn("few candidates.", stacklevel=2)
        return 0

    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        monkeypatch.setattr("isotherm.cli.app.run", warn)
        assert run("couple").err == "warning: few candidates.\n"
    assert warnings.showwarning is before
