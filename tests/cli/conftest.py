"""What the tests of the command line share: a way to run it, and two small data sets in every format."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl
import pytest
from PIL import Image

from isotherm.cli import main

if TYPE_CHECKING:
    from pathlib import Path


class Ran(NamedTuple):
    """What one command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `isotherm WORDS` in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run_words(*words: object) -> Ran:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Ran(code, *capsys.readouterr())

    return run_words


@pytest.fixture
def refused(run: Run, tmp_path: Path) -> Run:
    """Run a command that must refuse its input: exit code 2, one line, nothing written."""

    def run_words(*words: object) -> Ran:
        before = sorted(tmp_path.rglob("*"))
        ran = run(*words)
        assert ran.code == 2, ran
        assert ran.out == ""
        assert ran.err.startswith("error: ")
        assert ran.err.count("\n") == 1
        assert "Traceback" not in ran.err
        assert sorted(tmp_path.rglob("*")) == before
        return ran

    return run_words


X = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.25]])
Y = np.array([[0.1, 0.2], [1.2, 0.1], [0.3, 0.9], [0.6, 0.6]])
WEIGHTS = np.array([1.0, 2.0, 0.0, 3.0])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with x and y in every format; y carries weights where the format can."""
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    np.savez(tmp_path / "x.npz", X)
    np.savez(tmp_path / "y.npz", points=Y, weights=WEIGHTS / WEIGHTS.sum())
    table = pl.DataFrame(X, schema=["left", "up"])
    table.write_csv(tmp_path / "x.csv")
    table.write_csv(tmp_path / "x.tsv", separator="\t")
    table.write_parquet(tmp_path / "x.parquet")
    table = pl.DataFrame(Y, schema=["left", "up"])
    table.write_csv(tmp_path / "y.csv")
    table = table.with_columns(pl.Series("mass", WEIGHTS)).select("up", "mass", "left")
    table.write_csv(tmp_path / "weighted.csv")
    table.write_parquet(tmp_path / "weighted.parquet")
    generator = np.random.default_rng(0)
    for name, shape in (("photo.png", (9, 7, 3)), ("palette.jpg", (6, 8, 3))):
        Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8)).save(tmp_path / name)
    return tmp_path
