"""`isotherm demo evia`, on few steps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from isotherm.cli import demo_evia

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_demo_evia_writes_everything(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = demo_evia.masked_digits
    monkeypatch.setattr(demo_evia, "masked_digits", lambda seed: tuple(part.first(120) for part in whole(seed=seed)))
    monkeypatch.setattr(demo_evia, "STEPS", 20)
    monkeypatch.setattr(demo_evia, "DRAWS", 30)
    monkeypatch.setattr(demo_evia, "CANDIDATES", 500)
    monkeypatch.setattr(demo_evia, "JUDGED_BY_HEAT", 10)
    ran = run("demo", "evia", "--output", tmp_path / "demo")
    assert ran.code == 0, ran.err
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == sorted(demo_evia.FILES)
    assert all(name in ran.out for name in demo_evia.FILES)
    judged = json.loads((tmp_path / "demo" / "summary.json").read_text())["judgement"]
    assert judged["noise"] == 0.05
    assert 0.5 < judged["coverage"]["0.9"] <= 1.0
    assert judged["error_missing"] < judged["error_zero"]
    page = (tmp_path / "demo" / "report.html").read_text()
    assert "120 digits that were not trained on" in page
    for name in (name for name in demo_evia.FILES if name.endswith(".png")):
        with Image.open(tmp_path / "demo" / name) as picture:
            assert np.asarray(picture.convert("RGB")).std() > 1, name


def test_demos_that_there_are_not_are_refused(refused, tmp_path: Path) -> None:
    assert "photographs" in refused("demo", "photograph", "--output", tmp_path / "demo").err
    (tmp_path / "report.html").write_text("mine")
    assert "--overwrite" in refused("demo", "evia", "--output", tmp_path).err
