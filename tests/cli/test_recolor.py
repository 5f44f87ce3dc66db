"""`isotherm recolor`: the whole photograph, whatever was sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

import isotherm

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", ["out.png", "out.jpg"])
def test_whole_photograph_is_recoloured(run, files: Path, name: str) -> None:
    words = ("--samples", "30", "--output", files / name)
    ran = run("recolor", files / "photo.png", files / "palette.jpg", *words)
    assert ran.code == 0, ran.err
    assert str(files / name) in ran.out
    with Image.open(files / name) as picture:
        assert picture.size == (7, 9)
        comment = picture.info.get("Comment") or picture.info["comment"].decode()
        recoloured = np.asarray(picture.convert("RGB"))
    assert "converged" in comment
    assert "5 % of the mean cost" in comment
    with Image.open(files / "palette.jpg") as picture:
        palette = np.asarray(picture).reshape(-1, 3).astype(int)
    if name.endswith(".png"):  # a mean of target colours lies within their range
        assert (recoloured >= palette.min(0)).all()
        assert (recoloured <= palette.max(0)).all()


def test_it_is_the_map_of_the_library(run, files: Path) -> None:
    words = ("--epsilon", "0.2", "--tolerance", "1e-9", "--output", files / "out.png")
    assert run("recolor", files / "photo.png", files / "palette.jpg", *words).code == 0
    x, y, found = (
        np.asarray(Image.open(files / name).convert("RGB")) for name in ("photo.png", "palette.jpg", "out.png")
    )
    solution = isotherm.solve(
        x.reshape(-1, 3) / 255, y.reshape(-1, 3) / 255, epsilon=isotherm.Relative(0.2), tolerance=1e-9
    )
    np.testing.assert_array_equal(found.reshape(-1, 3), np.rint(solution.coupling.barycentric_map() * 255))


def test_failure_to_converge_is_marked_in_the_picture(run, files: Path) -> None:
    words = ("--epsilon", "0.001", "--solver", "log", "--max-iterations", "1", "--output", files / "out.png")
    ran = run("recolor", files / "photo.png", files / "palette.jpg", *words)
    assert ran.code == 3
    with Image.open(files / "out.png") as picture:
        assert "max_iterations" in picture.info["Comment"]


def test_existing_picture_needs_overwrite(run, refused, files: Path) -> None:
    words = ("recolor", files / "photo.png", files / "palette.jpg", "--output", files / "photo.png")
    assert "--overwrite" in refused(*words).err
    assert run(*words, "--overwrite").code == 0


def test_rotated_photograph_comes_out_upright(run, files: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    Image.new("RGB", (8, 4), (9, 9, 9)).save(files / "turned.jpg", exif=exif)
    words = ("--output", files / "out.png", "--epsilon-of", "absolute")
    assert run("recolor", files / "turned.jpg", files / "palette.jpg", *words).code == 0
    with Image.open(files / "out.png") as picture:
        assert picture.size == (4, 8)
