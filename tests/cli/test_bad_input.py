"""Every kind of bad input: exit code 2, one line that says what to do, nothing written."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def couple(refused, files: Path):
    """`isotherm couple x.npy TARGET OPTIONS`, which must be refused; returns the message."""

    def couple_with(target: str, *options: object, source: str = "x.npy") -> str:
        return refused("couple", files / source, files / target, "--output", files / "out", *options).err

    return couple_with


def test_missing_file_is_refused(couple) -> None:
    assert "missing.npy must be a file" in couple("missing.npy")


def test_folder_is_refused(couple, files: Path) -> None:
    (files / "folder.csv").mkdir()
    assert "got a folder" in couple("folder.csv")


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder in which the process is an ordinary user while the test runs, even if root runs the tests."""
    nobody = 65534
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("x.npy", "y.npy"):
            np.save(folder / file, np.eye(3))
        is_root = os.geteuid() == 0
        if is_root:
            for path in (folder, *folder.iterdir()):
                os.chown(path, nobody, nobody)
            os.setresuid(nobody, nobody, 0)
        try:
            yield folder
        finally:
            if is_root:
                os.setresuid(0, 0, 0)
            for path in folder.iterdir():
                path.chmod(0o700)


def test_unreadable_file_is_refused(run, own_folder: Path) -> None:
    (own_folder / "y.npy").chmod(0)
    ran = run("couple", own_folder / "x.npy", own_folder / "y.npy", "--output", own_folder / "out")
    assert ran.code == 2
    assert "must be readable" in ran.err


def test_unknown_suffix_is_refused(couple, files: Path) -> None:
    (files / "y.xlsx").touch()
    message = couple("y.xlsx")
    assert "'.xlsx'" in message
    assert ".parquet" in message


@pytest.mark.parametrize("name", ["bad.npy", "bad.npz", "bad.parquet", "bad.png", "bad.jpg"])
def test_damaged_file_is_refused(couple, files: Path, name: str) -> None:
    (files / name).write_bytes(bytes(range(200)))
    message = couple(name)
    assert name in message
    assert "again" in message


def test_truncated_picture_is_refused(couple, files: Path) -> None:
    whole = (files / "photo.png").read_bytes()
    (files / "half.png").write_bytes(whole[: len(whole) // 2])
    assert "not a readable picture" in couple("half.png", source="palette.jpg")


def test_ragged_text_is_refused(couple, files: Path) -> None:
    (files / "y.csv").write_text("left,up\n1,2\n3,4,5\n")
    assert "not a readable csv file" in couple("y.csv")


def test_objects_are_refused(couple, files: Path) -> None:
    np.save(files / "y.npy", np.array(["a", None], dtype=object), allow_pickle=True)
    assert "Python objects" in couple("y.npy")


def test_text_array_is_refused(couple, files: Path) -> None:
    np.save(files / "y.npy", np.array([["a", "b"]]))
    assert "real numbers" in couple("y.npy")


def test_complex_array_is_refused(couple, files: Path) -> None:
    np.save(files / "y.npy", np.ones((3, 2), dtype=complex))
    assert "complex128" in couple("y.npy")


def test_column_of_words_is_named(couple, files: Path) -> None:
    (files / "y.csv").write_text("left,up\n1,2\n3,high\n")
    message = couple("y.csv")
    assert "column 'up'" in message
    assert "'high' in row 2" in message
    assert "--columns" in message


def test_column_of_dates_is_named(couple, files: Path) -> None:
    frame = pl.DataFrame({"left": [1.0], "up": [1.0], "day": ["2020-01-01"]}).with_columns(pl.col("day").str.to_date())
    frame.write_parquet(files / "y.parquet")
    assert "column 'day' must hold numbers: got Date" in couple("y.parquet")


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf", ""])
def test_points_that_are_not_finite_are_refused(couple, files: Path, bad: str) -> None:
    (files / "y.csv").write_text(f"left,up\n1,2\n3,{bad}\n")
    assert "the first at row 2, column 'up'" in couple("y.csv")


def test_nan_in_an_array_is_refused(couple, files: Path) -> None:
    np.save(files / "y.npy", np.array([[0.0, 1.0], [np.nan, 1.0]]))
    assert "the first at index (1, 0)" in couple("y.npy")


def test_different_numbers_of_features_are_refused(couple, files: Path) -> None:
    np.save(files / "y.npy", np.ones((3, 5)))
    message = couple("y.npy")
    assert "got 2 in" in message
    assert "and 5 in" in message


def test_three_axes_are_refused(couple, files: Path) -> None:
    np.save(files / "y.npy", np.ones((3, 2, 2)))
    assert "(3, 2, 2)" in couple("y.npy")


@pytest.mark.parametrize("text", ["", "left,up\n"])
def test_empty_text_is_refused(couple, files: Path, text: str) -> None:
    (files / "y.csv").write_text(text)
    assert "at least one point" in couple("y.csv")


@pytest.mark.parametrize("shape", [(0, 2), (3, 0), (0,)])
def test_empty_array_is_refused(couple, files: Path, shape: tuple[int, ...]) -> None:
    np.save(files / "y.npy", np.ones(shape))
    assert "at least one point" in couple("y.npy")


def test_archive_without_points_is_refused(couple, files: Path) -> None:
    np.savez(files / "y.npz", one=np.ones((2, 2)), two=np.ones((2, 2)))
    assert "got 'one', 'two'" in couple("y.npz")


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([1.0, -1.0, 1.0, 1.0], "got -1 in row 2"),
        ([1.0, np.nan, 1.0, 1.0], "got nan in row 2"),
        ([0.0, 0.0, 0.0, 0.0], "all zeros"),
        ([1.0, 1.0], "one weight per point"),
    ],
)
def test_bad_weights_are_refused(couple, files: Path, weights: list[float], expected: str) -> None:
    np.savez(files / "y.npz", x=np.ones((4, 2)), weights=weights)
    assert expected in couple("y.npz")


def test_missing_weight_column_is_refused_with_the_nearest(couple) -> None:
    message = couple("weighted.csv", "--target-weights", "mas")
    assert "must have a column 'mas'" in message
    assert "Did you mean 'mass'?" in message


@pytest.mark.parametrize("name", ["y.npy", "y.npz", "palette.jpg"])
def test_weight_column_of_a_file_without_it_is_refused(couple, name: str) -> None:
    assert "'mass'" in couple(name, "--target-weights", "mass")


def test_weights_alone_are_refused(couple, files: Path) -> None:
    (files / "y.csv").write_text("mass\n1\n")
    assert "beside the weights" in couple("y.csv", "--target-weights", "mass")


def test_missing_feature_column_is_refused(couple) -> None:
    assert "must have a column 'down'" in couple("y.csv", "--columns", "left,down", source="x.csv")


@pytest.mark.parametrize("columns", ["", "left,left"])
def test_bad_list_of_columns_is_refused(couple, columns: str) -> None:
    assert "--columns" in couple("y.csv", "--columns", columns, source="x.csv")


def test_columns_of_a_file_without_names_are_refused(couple) -> None:
    assert "without columns" in couple("y.npy", "--columns", "left")


def test_unequal_masses_are_refused_with_the_way_out(couple) -> None:
    message = couple("weighted.csv", "--target-weights", "mass")
    assert "got 1 in x.npy and 6 in weighted.csv" in message
    assert "--normalise" in message
    assert "--rho-a" in message


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf"])
def test_bad_temperature_is_refused(couple, epsilon: str) -> None:
    assert f"--epsilon must be positive and finite: got {epsilon}" in couple("y.npy", f"--epsilon={epsilon}")


def test_temperature_that_is_no_number_is_refused(couple) -> None:
    assert "expected a number, got 'hot'" in couple("y.npy", "--epsilon", "hot")


@pytest.mark.parametrize("unit", ["abslute", "median"])
def test_unknown_unit_of_temperature_is_refused(couple, unit: str) -> None:
    message = couple("y.npy", "--epsilon-of", unit)
    assert "--epsilon-of" in message
    assert ("Did you mean 'absolute'?" in message) == (unit == "abslute")


def test_temperature_with_the_exact_solver_is_refused(couple) -> None:
    assert "--solver exact" in couple("y.npy", "--solver", "exact", "--epsilon", "0.1")


def test_share_of_a_cost_without_positive_mean_is_refused(couple) -> None:
    assert "--epsilon-of std, or absolute" in couple("y.npy", "--cost", "negative_dot")


def test_coincident_points_have_no_scale(couple, files: Path) -> None:
    np.save(files / "one.npy", np.ones((3, 2)))
    assert "--epsilon-of absolute" in couple("one.npy", "--epsilon-of", "std", source="one.npy")


@pytest.mark.parametrize(
    ("option", "name", "nearest"), [("--cost", "euclidan", "euclidean"), ("--solver", "anealed", "annealed")]
)
def test_unknown_name_is_refused_with_the_nearest(couple, option: str, name: str, nearest: str) -> None:
    message = couple("y.npy", option, name)
    assert repr(name) in message
    assert f"Did you mean {nearest!r}?" in message


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--rho-a", "0"),
        ("--rho-b", "nan"),
        ("--tolerance", "-1"),
        ("--max-iterations", "0"),
        ("--samples", "0"),
        ("--seed", "-1"),
        ("--threads", "0"),
        ("--top-k", "0"),
        ("--threshold", "2"),
        ("--dtype", "float16"),
    ],
)
def test_setting_out_of_range_is_refused(couple, option: str, value: str) -> None:
    message = couple("y.npy", f"{option}={value}")
    assert option in message
    assert value.removesuffix(".0") in message


@pytest.mark.parametrize("option", ["--tolerance=1e-3", "--max-iterations=10"])
def test_setting_that_the_solver_does_not_have_is_refused(couple, option: str) -> None:
    assert "does not iterate" in couple("y.npy", "--solver", "exact", option)


def test_existing_output_is_refused(couple, files: Path) -> None:
    (files / "out").mkdir()
    (files / "out" / "report.html").write_text("mine")
    message = couple("y.npy")
    assert "report.html" in message
    assert "--overwrite" in message
    assert (files / "out" / "report.html").read_text() == "mine"


def test_output_below_a_file_is_refused(refused, files: Path) -> None:
    message = refused("couple", files / "x.npy", files / "y.npy", "--output", files / "x.csv" / "out").err
    assert "is a file" in message


def test_unwritable_output_is_refused(run, own_folder: Path) -> None:
    locked = own_folder / "locked"
    locked.mkdir(mode=0o500)
    ran = run("couple", own_folder / "x.npy", own_folder / "y.npy", "--output", locked / "out")
    assert ran.code == 2
    assert "does not allow it" in ran.err
    assert not list(locked.iterdir())


@pytest.mark.parametrize("epsilons", ["", "1,hot", "-1", "nan", "1,inf"])
def test_bad_temperatures_of_a_sweep_are_refused(refused, files: Path, epsilons: str) -> None:
    words = ("sweep", files / "x.npy", files / "y.npy", f"--epsilons={epsilons}", "--output", files / "out")
    assert "--epsilons must be numbers" in refused(*words).err


def test_exact_sweep_is_refused(refused, files: Path) -> None:
    words = ("sweep", files / "x.npy", files / "y.npy", "--solver", "exact", "--output", files / "out")
    assert "has one temperature" in refused(*words).err


def test_unbalanced_sweep_to_zero_is_refused(refused, files: Path) -> None:
    words = ("sweep", files / "x.npy", files / "y.npy", "--epsilons=1,0", "--rho-a=1", "--output", files / "out")
    assert "Leave out the 0" in refused(*words).err


def test_recolouring_with_a_table_is_refused(refused, files: Path) -> None:
    words = ("recolor", files / "photo.png", files / "x.csv", "--output", files / "out.png")
    assert "must be a picture" in refused(*words).err


def test_recolouring_to_a_folder_is_refused(refused, files: Path) -> None:
    words = ("recolor", files / "photo.png", files / "palette.jpg", "--output", files / "out")
    assert "--output must end in .png or .jpg" in refused(*words).err


def test_exact_recolouring_is_refused(refused, files: Path) -> None:
    words = ("recolor", files / "photo.png", files / "palette.jpg", "--solver=exact", "--output", files / "out.png")
    assert "--solver exact" in refused(*words).err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["coupel"], "Did you mean 'couple'"),
        (["couple"], "Missing argument 'SOURCE'. Try 'isotherm couple --help'."),
        (["couple", "x.npy", "y.npy", "--epsilom", "1"], "--epsilom"),
    ],
)
def test_misspelt_command_line_is_refused(refused, words: list[str], expected: str) -> None:
    assert expected in refused(*words).err


def test_debug_shows_the_traceback(run, files: Path) -> None:
    ran = run("couple", files / "missing.npy", files / "y.npy", "--debug")
    assert ran.code == 2
    assert "Traceback" in ran.err
    assert ran.err.rstrip().splitlines()[-1].startswith("error: ")
