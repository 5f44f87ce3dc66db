"""Files to clouds: what the couple command cannot show from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from PIL import Image

from isotherm.cli.read import Selection, read_cloud, read_pair, seeded

if TYPE_CHECKING:
    from pathlib import Path


def cloud(path: Path, **selection):
    return read_cloud(path, Selection(**selection), generator=seeded(0))


def test_text_without_header_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("0,1\n2,3\n4,5\n")
    read = cloud(tmp_path / "x.csv")
    np.testing.assert_array_equal(read.points, [[0, 1], [2, 3], [4, 5]])
    assert read.features is None
    read = cloud(tmp_path / "x.csv", weights="column_2")
    np.testing.assert_array_equal(read.weights, [1, 3, 5])


def test_spaces_integers_and_booleans_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n 1, 2.5\n3 ,1e2\n")
    np.testing.assert_array_equal(cloud(tmp_path / "x.csv").points, [[1, 2.5], [3, 100]])
    pl.DataFrame({"a": [True, False], "b": [1, 2]}).write_parquet(tmp_path / "x.parquet")
    np.testing.assert_array_equal(cloud(tmp_path / "x.parquet").points, [[1, 1], [0, 2]])


def test_late_words_in_a_long_column_are_found(tmp_path: Path) -> None:
    rows = ["1,2"] * 5000 + ["1,x"]
    (tmp_path / "x.csv").write_text("a,b\n" + "\n".join(rows))
    with pytest.raises(ValueError, match="column 'b' must hold numbers: got 'x' in row 5001"):
        cloud(tmp_path / "x.csv")


def test_columns_select_and_order_features(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("name,a,b,c\nn,1,2,3\n")
    read = cloud(tmp_path / "x.csv", columns=("c", "a"))
    np.testing.assert_array_equal(read.points, [[3, 1]])
    assert read.features == ("c", "a")


def test_a_vector_is_points_on_a_line(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4))
    assert cloud(tmp_path / "x.npy").points.shape == (4, 1)


def test_features_go_together_by_name(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "y.csv").write_text("b,a\n20,10\n")
    x, y = read_pair((tmp_path / "x.csv", tmp_path / "y.csv"), (Selection(), Selection()), generator=seeded(0))
    np.testing.assert_array_equal(y.points, [[10, 20]])
    assert x.features == y.features == ("a", "b")
    assert "order of the source file" in y.description


def test_other_names_go_by_position_and_say_so(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    (tmp_path / "y.csv").write_text("b,c\n20,10\n")
    _, y = read_pair((tmp_path / "x.csv", tmp_path / "y.csv"), (Selection(), Selection()), generator=seeded(0))
    np.testing.assert_array_equal(y.points, [[20, 10]])
    assert "by position" in y.description


def test_mixed_precision_meets_at_the_finer_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.ones((2, 2), dtype=np.float32))
    np.save(tmp_path / "y.npy", np.ones((2, 2), dtype=np.int64))
    x, y = read_pair((tmp_path / "x.npy", tmp_path / "y.npy"), (Selection(), Selection()), generator=seeded(0))
    assert x.points.dtype == y.points.dtype == np.float64


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK"])
def test_every_kind_of_8_bit_picture_is_colours(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode).save(path)
    np.testing.assert_allclose(cloud(path).points, np.ones((6, 3)), atol=0.01)


def test_deep_picture_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 2), 40_000, dtype=np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="8 bits per channel"):
        cloud(tmp_path / "x.png")


def test_sample_without_mass_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((1000, 2)), weights=np.eye(1000)[0])
    with pytest.raises(ValueError, match="have weight 0"):
        cloud(tmp_path / "x.npz", samples=1)


def test_large_sample_is_everything_in_order(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6.0))
    np.testing.assert_array_equal(cloud(tmp_path / "x.npy", samples=6).rows, np.arange(6))
