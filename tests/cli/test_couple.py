"""`isotherm couple`: what it writes is the solution, whatever the format of the input."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse

import isotherm
from isotherm.cli.couple import FILES

if TYPE_CHECKING:
    from pathlib import Path


def couple(run, files: Path, source: str, target: str, *options: object, code: int = 0) -> Path:
    output = files / "out"
    ran = run("couple", files / source, files / target, "--output", output, *options)
    assert ran.code == code, ran.err
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    assert all(str(output / name) in ran.out for name in FILES)
    return output


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out where a test is about numbers: they take most of the time."""
    monkeypatch.setattr("isotherm.cli.couple.figures_of", lambda solution: [])


def test_outputs_agree_with_the_library(run, files: Path) -> None:
    output = couple(run, files, "x.npy", "y.npy", "--epsilon", "0.1", "--tolerance", "1e-10", "--threshold", "0")
    x, y = np.load(files / "x.npy"), np.load(files / "y.npy")
    expected = isotherm.solve(x, y, epsilon=isotherm.Relative(0.1), tolerance=1e-10)
    plan = expected.coupling.to_dense()

    solution = np.load(output / "solution.npz")
    np.testing.assert_allclose(solution["f"], expected.f, rtol=1e-8)
    np.testing.assert_allclose(solution["g"], expected.g, rtol=1e-8)
    np.testing.assert_allclose(solution["epsilon"], expected.epsilon)
    np.testing.assert_allclose(solution["barycentric_map"], expected.coupling.barycentric_map(), rtol=1e-8)
    assert solution["is_converged"]
    cost = ((solution["x"][:, None] - solution["y"]) ** 2).sum(-1)
    exponent = (solution["f"][:, None] + solution["g"] - cost) / solution["epsilon"]
    np.testing.assert_allclose(solution["a"][:, None] * solution["b"] * np.exp(exponent), plan, rtol=1e-8)

    np.testing.assert_allclose(scipy.sparse.load_npz(output / "coupling.npz").toarray(), plan, rtol=1e-8)

    with (output / "matches.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == x.shape[0] * min(5, y.shape[0])
    for row in rows:
        i, j = int(row["source"]), int(row["target"])
        assert float(row["mass"]) == pytest.approx(plan[i, j], rel=1e-6)
        assert float(row["probability"]) == pytest.approx(plan[i, j] / plan[i].sum(), rel=1e-6)
    assert [int(row["target"]) for row in rows[:4]] == list(np.argsort(-plan[0]))

    summary = json.loads((output / "summary.json").read_text())
    assert summary["solution"]["status"]["is_converged"]
    assert summary["solution"]["value"] == pytest.approx(float(expected.value))
    assert "5 points, 2 features" in summary["inputs"]["source"]
    assert "10 % of the mean cost" in summary["inputs"]["epsilon"]

    page = (output / "report.html").read_text()
    assert "x.npy coupled with y.npy" in page
    assert page.count("data:image/") == 4
    assert str(files) not in page


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("source", ["x.npy", "x.npz", "x.csv", "x.tsv", "x.parquet"])
def test_every_format_gives_the_same(run, files: Path, source: str) -> None:
    output = couple(run, files, source, "y.csv", "--tolerance", "1e-10")
    expected = isotherm.solve(np.load(files / "x.npy"), np.load(files / "y.npy"), tolerance=1e-10)
    assert np.load(output / "solution.npz")["value"] == pytest.approx(float(expected.value), rel=1e-9)


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("target", ["weighted.csv", "weighted.parquet", "y.npz"])
def test_weights_and_names_of_columns_are_used(run, files: Path, target: str) -> None:
    options = ["--tolerance", "1e-10"] + ([] if target == "y.npz" else ["--target-weights", "mass", "--normalise"])
    output = couple(run, files, "x.csv", target, *options)
    weights = np.array([1.0, 2.0, 0.0, 3.0]) / 6.0
    x, y = np.load(files / "x.npy"), np.load(files / "y.npy")
    expected = isotherm.solve(x, y, b=weights, tolerance=1e-10)
    solution = np.load(output / "solution.npz")
    assert solution["value"] == pytest.approx(float(expected.value), rel=1e-9)
    np.testing.assert_allclose(solution["b"], weights)
    with (output / "matches.csv").open(newline="") as file:
        assert "2" not in {row["target"] for row in csv.DictReader(file)}  # no mass, no match


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--epsilon", "0.3", "--epsilon-of", "absolute"], {"epsilon": 0.3}),
        (["--epsilon", "0.3", "--epsilon-of", "std"], {"epsilon": isotherm.Relative(0.3, of="std")}),
        (["--cost", "euclidean"], {"cost": "euclidean"}),
        (["--rho-a", "0.5", "--rho-b", "2"], {"rho_a": 0.5, "rho_b": 2.0}),
        (["--solver", "scaling", "--epsilon", "0.5"], {"epsilon": isotherm.Relative(0.5)}),
        (["--solver", "annealed"], {}),
        (["--solver", "log"], {}),
    ],
)
def test_options_are_those_of_solve(run, files: Path, options: list[str], settings: dict) -> None:
    output = couple(run, files, "x.npy", "y.npy", "--tolerance", "1e-9", *options)
    expected = isotherm.solve(np.load(files / "x.npy"), np.load(files / "y.npy"), tolerance=1e-9, **settings)
    solution = np.load(output / "solution.npz")
    assert solution["epsilon"] == pytest.approx(expected.epsilon)
    assert solution["value"] == pytest.approx(float(expected.value), rel=1e-7)


@pytest.mark.parametrize("options", [["--solver", "exact"], ["--solver", "exact", "--epsilon", "0"]])
def test_exact_transport_is_written_and_drawn(run, files: Path, options: list[str]) -> None:
    output = couple(run, files, "x.npy", "y.npy", *options)
    expected = isotherm.solve(np.load(files / "x.npy"), np.load(files / "y.npy"), solver="exact")
    assert np.load(output / "solution.npz")["transport_cost"] == pytest.approx(float(expected.transport_cost))
    assert scipy.sparse.load_npz(output / "coupling.npz").nnz <= 8


@pytest.mark.usefixtures("light")
def test_precision_is_that_of_the_files_unless_asked(run, files: Path) -> None:
    np.save(files / "x.npy", np.load(files / "x.npy").astype(np.float32))
    np.save(files / "y.npy", np.load(files / "y.npy").astype(np.float16))
    assert np.load(couple(run, files, "x.npy", "y.npy") / "solution.npz")["f"].dtype == np.float32
    output = couple(run, files, "x.npy", "y.npy", "--dtype", "float64", "--overwrite")
    assert np.load(output / "solution.npz")["f"].dtype == np.float64


@pytest.mark.usefixtures("light")
def test_pictures_are_clouds_of_colours(run, files: Path) -> None:
    output = couple(run, files, "photo.png", "palette.jpg", "--samples", "20", "--seed", "3")
    solution = np.load(output / "solution.npz")
    assert solution["x"].shape == (20, 3)
    assert solution["x"].min() >= 0
    assert solution["x"].max() <= 1
    assert len(set(solution["source_rows"])) == 20
    page = (output / "report.html").read_text()
    assert "picture of 7 x 9 pixels" in page
    assert "20 drawn at random" in page


@pytest.mark.usefixtures("light")
def test_samples_follow_the_seed_and_name_their_rows(run, files: Path) -> None:
    options = ["--samples", "3", "--overwrite", "--top-k", "1"]
    rows = []
    for seed in (1, 1, 2):
        output = couple(run, files, "x.npy", "y.npy", *options, "--seed", str(seed))
        solution = np.load(output / "solution.npz")
        np.testing.assert_array_equal(solution["x"], np.load(files / "x.npy")[solution["source_rows"]])
        rows.append([*solution["source_rows"], *solution["target_rows"]])
        with (output / "matches.csv").open(newline="") as file:
            assert {int(row["source"]) for row in csv.DictReader(file)} == set(solution["source_rows"])
    assert rows[0] == rows[1] != rows[2]


def test_failure_to_converge_is_said_everywhere(run, files: Path) -> None:
    words = ("--epsilon", "0.001", "--solver", "log", "--max-iterations", "1", "--output", files / "out")
    ran = run("couple", files / "x.npy", files / "y.npy", *words)
    assert ran.code == 3
    assert "NOT CONVERGED" in ran.out
    assert "not converged" in ran.err
    assert "--max-iterations" in ran.err
    assert not json.loads((files / "out" / "summary.json").read_text())["solution"]["status"]["is_converged"]
    assert not np.load(files / "out" / "solution.npz")["is_converged"]
    assert "Not converged" in (files / "out" / "report.html").read_text()


@pytest.mark.usefixtures("light")
def test_overwriting_replaces_every_file_and_touches_no_other(run, files: Path) -> None:
    output = files / "out"
    output.mkdir()
    for name in (*FILES, "notes.txt"):
        (output / name).write_text("old")
    ran = run("couple", files / "x.npy", files / "y.npy", "--output", output, "--overwrite")
    assert ran.code == 0
    assert (output / "notes.txt").read_text() == "old"
    assert all((output / name).read_bytes() != b"old" for name in FILES)
    assert len(list(output.iterdir())) == len(FILES) + 1


@pytest.mark.parametrize("options", [["--epsilon", "1000"], ["--rho-a", "1e-6", "--rho-b", "1e-6"]])
def test_a_solve_of_one_step_is_drawn(run, files: Path, options: list[str]) -> None:
    np.save(files / "x.npy", np.ones((1, 2)))
    couple(run, files, "x.npy", "y.npy", *options)
