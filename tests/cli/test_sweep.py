"""`isotherm sweep`: the temperature path, hot to cold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

import isotherm
from isotherm.cli.sweep import FILES, temperatures_asked

if TYPE_CHECKING:
    from pathlib import Path


def test_sweep_writes_the_path(run, files: Path) -> None:
    output = files / "out"
    words = ("--epsilons", "0.1,0,1", "--tolerance", "1e-8", "--output", output)
    ran = run("sweep", files / "x.npy", files / "y.npy", *words)
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    path = np.load(output / "path.npz")
    x, y = np.load(files / "x.npy"), np.load(files / "y.npy")
    hot = isotherm.solve(x, y, epsilon=isotherm.Relative(1.0), tolerance=1e-8)
    assert path["epsilons"] == pytest.approx([hot.epsilon, 0.1 * hot.epsilon, 0.0])
    assert path["f"].shape == (3, 5)
    np.testing.assert_allclose(path["f"][0], hot.f, atol=1e-7)
    assert list(path["transport_cost"]) == sorted(path["transport_cost"], reverse=True)
    assert path["is_converged"].all()
    summary = json.loads((output / "summary.json").read_text())
    assert [solution["epsilon"]["absolute"] for solution in summary["solutions"]] == pytest.approx(path["epsilons"])
    assert (output / "dial.png").read_bytes().startswith(b"\x89PNG")


def test_sweep_that_fails_at_one_temperature_says_so(run, files: Path) -> None:
    words = ("--epsilons", "100,0.0001", "--max-iterations", "2", "--solver", "log", "--output", files / "out")
    ran = run("sweep", files / "x.npy", files / "y.npy", *words)
    assert ran.code == 3
    assert ran.err.count("not converged at epsilon") == 1
    assert "Not converged at 1 of 2 temperatures" in (files / "out" / "report.html").read_text()


def test_unbalanced_sweep_at_absolute_temperatures(run, files: Path) -> None:
    words = ("--epsilons", "2,1", "--epsilon-of", "absolute", "--rho-b", "1", "--output", files / "out")
    ran = run("sweep", files / "x.npy", files / "y.npy", *words)
    assert ran.code == 0, ran.err
    assert list(np.load(files / "out" / "path.npz")["epsilons"]) == [2.0, 1.0]


def test_repeated_temperatures_count_once() -> None:
    assert [level.number for level in temperatures_asked("1, 0.1,1,", "mean")] == [1.0, 0.1]
