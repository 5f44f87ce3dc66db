"""`isotherm demo`, on few pixels."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from isotherm.cli.demo import FILES, TEMPERATURES, photographs

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_demo_writes_everything(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = photographs()
    assert [photo.shape for photo in whole.values()] == [(427, 640, 3)] * 2
    small = {name: np.ascontiguousarray(photo[::8, ::8]) for name, photo in whole.items()}
    monkeypatch.setattr("isotherm.cli.demo.photographs", lambda: small)
    output = tmp_path / "demo"
    ran = run("demo", "--output", output, "--samples", "40")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    assert all(str(output / name) in ran.out for name in FILES)
    summary = json.loads((output / "summary.json").read_text())
    entropies = [summary["solutions"][name]["normalised_entropy"] for name in TEMPERATURES]
    assert entropies == sorted(entropies)
    assert entropies[-1] > 0.99
    assert all(solution["status"]["is_converged"] for solution in summary["solutions"].values())
    page = (output / "report.html").read_text()
    assert "4,320 pixels" in page
    assert "40 of 80 x 54 pixels" in page
    for name in (name for name in FILES if name.endswith(".png")):
        with Image.open(output / name) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 1, name


def test_demo_does_not_overwrite(refused, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    assert "--overwrite" in refused("demo", "--output", tmp_path).err
