"""`isotherm evaluate` and `isotherm compare`: what they write for each kind of model, and what they refuse."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest

from isotherm.cli import compare, evaluate
from isotherm.cli.compare import names_of
from isotherm.cli.runs import doubts_told
from isotherm.models import EVIA, VAE, SinkhornGenerator, load_data, load_model
from isotherm.models import evaluate as evaluate_model
from isotherm.models.training import Training
from isotherm.posterior import EffectiveSizeWarning

POINTS = load_data("2d:gaussian", count=100)


def trained(folder: Path, model, data=POINTS, source: str | Path = "points.npz") -> Path:
    """A run as `isotherm train` leaves it, two steps long."""
    Training(steps=2, batch_size=32, metrics_every=1).run(model, data.train, folder=folder)
    (folder / "config.yaml").write_text(f"model: any\ndata: {source}\nseed: 0\n")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Three runs on points, one on pictures."""
    folder = tmp_path_factory.mktemp("runs")
    np.savez(folder / "points.npz", train=POINTS.train, test=POINTS.test)
    generator = np.random.default_rng(0)
    np.save(folder / "pictures.npy", generator.integers(0, 256, (30, 4, 4), dtype=np.uint8))
    pictures = load_data(folder / "pictures.npy")
    for name, model in (
        ("vae", VAE((2,), 2, widths=(8,))),
        ("evia", EVIA((2,), 2, widths=(8,), candidates=16, points=64)),
        ("generator", SinkhornGenerator((2,), 2, widths=(8,))),
    ):
        trained(folder / name, model, source=folder / "points.npz")
    trained(folder / "pictures", VAE((4, 4), 2, widths=(8,)), pictures, source=folder / "pictures.npy")
    return folder


WORDS = ("--draws", "1", "--threads", "1")
WITHOUT = {
    "pictures": {"temperature.png"},
    "evia": set(),
    "generator": {"temperature.png", "reconstructions.png", "latent.png", "posteriors.png"},
}


@pytest.mark.parametrize("name", WITHOUT)
def test_evaluate_writes_what_the_model_has(run, runs, tmp_path, name) -> None:
    ran = run("evaluate", runs / name, *WORDS, "--output", tmp_path)
    assert ran.code == 0, ran.err
    written = {path.name for path in tmp_path.iterdir()}
    assert written == set(evaluate.FILES) - WITHOUT[name]
    assert all(file in ran.out for file in written)
    page = (tmp_path / "report.html").read_text()
    shown = [title for file, (title, _) in evaluate.FIGURES.items() if file not in WITHOUT[name]]
    assert page.count("<figure>") == len(shown)
    assert all(f"<h3>{title}</h3>" in page for title in shown)
    assert "<script" not in page
    numbers = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(numbers["measured"]["w2"]) == {"draws", "interval", "floor", "floor_is"}
    assert ("reconstruction" in numbers["measured"]) == (name != "generator")
    assert f"{numbers['measured']['w2']['floor']:.3g}" in page


def test_evaluate_goes_into_the_run_and_does_not_overwrite(run, runs, tmp_path) -> None:
    folder = shutil.copytree(runs / "generator", tmp_path / "run")
    assert run("evaluate", folder, *WORDS).code == 0
    before = (folder / "evaluation" / "evaluation.json").read_bytes()
    ran = run("evaluate", folder, *WORDS)
    assert ran.code == 2
    assert "--overwrite" in ran.err
    assert run("evaluate", folder, *WORDS, "--overwrite").code == 0
    assert (folder / "evaluation" / "evaluation.json").read_bytes() == before  # the same for the same seed


def test_what_warns_is_told_once_in_a_line(capsys) -> None:
    with doubts_told():
        for _ in range(3):
            warnings.warn("[few] candidates", EffectiveSizeWarning, stacklevel=1)
    assert capsys.readouterr().err == "doubtful: [few] candidates\n"
    with pytest.warns(RuntimeWarning, match="else"), doubts_told():
        warnings.warn("something else", RuntimeWarning, stacklevel=1)


def test_evaluate_a_checkpoint(run, runs, tmp_path) -> None:
    checkpoint = next((runs / "generator" / "checkpoints").iterdir())
    ran = run("evaluate", checkpoint, *WORDS, "--output", tmp_path)
    assert ran.code == 0, ran.err
    assert (tmp_path / "training.png").is_file()


def test_evaluate_refuses_what_is_no_run(refused, runs, tmp_path) -> None:
    assert "config.json" in refused("evaluate", tmp_path).err
    lost = shutil.copytree(runs / "vae", tmp_path / "lost")
    (lost / "config.yaml").unlink()
    assert "Name them with --data" in refused("evaluate", lost).err
    assert "got (3,) from 'iris'" in refused("evaluate", lost, "--data", "iris").err
    (lost / "config.yaml").write_text("data: [")
    assert "must be YAML" in refused("evaluate", lost).err
    assert "`--draws`" in refused("evaluate", runs / "vae", "--draws", "0", "--output", tmp_path / "o").err


def test_compare_sets_models_side_by_side(run, runs, tmp_path) -> None:
    ran = run("compare", runs / "vae", runs / "generator", *WORDS, "--output", tmp_path)
    assert ran.code == 0, ran.err
    assert {path.name for path in tmp_path.iterdir()} == set(compare.FILES)
    numbers = json.loads((tmp_path / "comparison.json").read_text())["models"]
    assert list(numbers) == ["vae", "generator"]
    measured = evaluate_model(load_model(runs / "vae"), POINTS, draws=1).to_json()["measured"]
    assert numbers["vae"]["measured"] == json.loads(json.dumps(measured))
    lines = [line for line in ran.out.splitlines() if line.startswith(("vae", "generator", "floor"))]
    assert len(lines) == 3
    assert "–" in lines[1]  # no reconstructions
    page = (tmp_path / "report.html").read_text()
    assert page.count("<figure>") == len(compare.FIGURES)


def test_compare_refuses_what_cannot_be_compared(refused, runs, tmp_path) -> None:
    output = ("--output", tmp_path / "o")
    assert "two different folders" in refused("compare", runs / "vae", *output).err
    assert "two different folders" in refused("compare", runs / "vae", runs / "vae", *output).err
    said = refused("compare", runs / "vae", runs / "pictures", *output).err
    assert "same held-out observations" in said


def test_names_tell_runs_apart() -> None:
    assert names_of([Path("/a/vae"), Path("/a/wae")]) == ["vae", "wae"]
    assert names_of([Path("/a/vae"), Path("/b/vae")]) == ["a/vae", "b/vae"]
