"""`isotherm train` and `isotherm sample`: what they write, how they go on, and what they refuse."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from isotherm.models import load_model

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ("--data", "2d:moons", "widths=8", "latent=2", "batch_size=32", "--threads", "1")


def steps(folder: Path) -> list[int]:
    """Steps that have a line of metrics."""
    return [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def bad(refused, tmp_path: Path):
    """`isotherm train WORDS`, which must be refused; returns the message."""
    return lambda *words: refused("train", *words, "--output", tmp_path / "run").err


def test_train_writes_a_run_that_loads(run, tmp_path: Path) -> None:
    ran = run("train", "vae", *SMALL, "steps=20", "ema=0.9", "--output", tmp_path)
    assert (ran.code, ran.err) == (0, "")  # no bar where no terminal is
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.yaml", "config.json", "model.safetensors", "metrics.jsonl", "checkpoints"}
    assert all(name in ran.out for name in names)
    assert steps(tmp_path) == [10, 20]
    model = load_model(tmp_path)
    assert model.settings()["widths"] == (8,)
    assert load_model(tmp_path / "checkpoints" / "00000020").settings() == model.settings()
    again = run("train", "vae", *SMALL, "steps=20", "--output", tmp_path)
    assert (again.code, "Go on with it (--resume)" in again.err) == (2, True)
    assert run("train", "vae", *SMALL, "steps=10", "--output", tmp_path, "--overwrite").code == 0
    assert steps(tmp_path) == [10]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000010"]


def test_printed_configuration_makes_the_same_run(run, tmp_path: Path) -> None:
    words = ("vae", *SMALL, "steps=12", "seed=4", "learning_rate=1e-2")
    printed = run("train", *words, "--print-config")
    asked = yaml.safe_load(printed.out)
    assert list(asked) == ["model", "data", "seed", "settings", "training"]
    assert asked["settings"] == {"latent": 2, "widths": [8], "lam": 1.0, "gamma": 0.1}
    assert asked["training"]["learning_rate"] == 0.01
    assert asked["training"]["steps"] == 12
    (tmp_path / "asked.yaml").write_text(printed.out)
    assert run("train", *words, "--output", tmp_path / "a").code == 0
    assert run("train", "--config", tmp_path / "asked.yaml", "--threads", "1", "--output", tmp_path / "b").code == 0
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert (tmp_path / "a" / "config.yaml").read_text() == printed.out


def test_words_come_before_the_file(run, tmp_path: Path) -> None:
    (tmp_path / "asked.yaml").write_text("model: vae\ndata: iris\ntraining: {steps: 7}\n")
    words = ("train", "--config", tmp_path / "asked.yaml", "training.steps=9", "settings.latent=3", "clip=none")
    asked = yaml.safe_load(run(*words, "--data", "digits", "--print-config").out)
    assert (asked["data"], asked["training"]["steps"], asked["settings"]["latent"]) == ("digits", 9, 3)
    assert asked["training"]["clip"] is None


def test_schema_says_what_is_allowed(run) -> None:
    schema = json.loads(run("train", "vae", "--print-schema").out)
    assert schema["$defs"]["VAESettings"]["properties"]["gamma"] == {"default": 0.1, "title": "Gamma", "type": "number"}
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "A training needs a model"),
        (["vea", "--data", "iris"], "Did you mean 'vae'?"),
        (["vae"], "A training needs data: got none"),
        (["vae", "wae", "--data", "iris"], "One model at a time: got vae and wae"),
        (["vae", "--data", "iris", "latnt=3"], "`latnt` is no setting of vae or of its training. Did you mean latent"),
        (["vae", "--data", "iris", "settings.stepps=3"], "`settings.stepps` is no setting"),
        (["vae", "--data", "iris", "encoder=3"], "`encoder` is no setting"),
        (["vae", "--data", "iris", "steps=ten"], "`training.steps` is not right"),
        (["vae", "--data", "iris", "steps=2.5"], "`training.steps` is not right"),
        (["vae", "--data", "iris", "latent=true"], "a number is expected; got True"),
        (["vae", "--data", "iris", "widths=a,b"], "`settings.widths` is not right"),
        (["vae", "--data", "iris", "gamma=-1"], "`gamma` must be positive"),
        (["vae", "--data", "iris", "schedule=cosin"], "Did you mean 'cosine'?"),
        (["vae", "--data", "irs"], "Did you mean 'iris'?"),
        (["vae", "--data", "iris", "--threads", "0"], "`--threads` must be at least 1"),
        (["--config", "missing.yaml"], "missing.yaml must be a file"),
        (["--resume"], "config.yaml must be a file"),
        (["--resume", "--config", "a.yaml"], "got --config as well"),
    ],
)
def test_wrong_words_are_refused(bad, words: list[str], message: str) -> None:
    assert message in bad(*words)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [", "must be YAML"),
        ("- vae", "must hold keys and values: got list"),
        ("model: vae\ndata: iris\nsteps: 3", "`steps` stands in another place: write it under training"),
        ("model: vae\ndata: iris\ntraining: 3", "`training` must be a block of keys and values: got 3"),
        ("model: vae\ndata: iris\ntraining: {step: 3}", "Did you mean steps"),
    ],
)
def test_wrong_files_are_refused(bad, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "asked.yaml").write_text(text)
    assert message in bad("--config", tmp_path / "asked.yaml")


def test_missing_extra_is_named(bad, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert "pip install 'isotherm[train]'" in bad("vae", "--data", "iris")


def test_training_that_leaves_the_numbers_is_marked(run, tmp_path: Path) -> None:
    ran = run("train", "vae", *SMALL, "learning_rate=1e30", "steps=50", "--output", tmp_path)
    assert ran.code == 3
    assert ran.err.startswith("not finite: ")
    assert ran.err.count("\n") == 1
    assert "gamma = 0.1" in ran.err


def test_resume_takes_more_steps_and_nothing_else(run, refused, tmp_path: Path) -> None:
    words, folder = ("train", "vae", *SMALL, "metrics_every=5"), tmp_path / "run"
    assert run(*words, "steps=30", "--output", tmp_path / "whole").code == 0
    assert run(*words, "steps=10", "--output", folder).code == 0
    for word in ("latent=3", "seed=1", "settings.gamma=2"):
        assert "A resumed training keeps its" in refused("train", "--resume", word, "--output", folder).err
    assert "keeps its data" in refused("train", "--resume", "--data", "iris", "--output", folder).err
    done = run("train", "--resume", "--output", folder)
    assert (done.code, done.err) == (
        0,
        f"{folder} is at step 10 already. For more, give a larger steps=NUMBER.\n",
    )
    assert run("train", "--resume", "steps=30", "--threads", "1", "--output", folder).code == 0
    assert steps(folder) == [5, 10, 15, 20, 25, 30]
    assert (folder / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_interrupt_keeps_the_run_and_says_how_to_go_on(run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "vae", *SMALL, "steps=1000000", "metrics_every=1", "--output", str(folder)]
    script = f"import sys, isotherm.cli; sys.exit(isotherm.cli.main({words!r}))"
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(600):
            time.sleep(0.1)
            if (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text().splitlines()) > 20:
                break
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, err
    kept = int(next((folder / "checkpoints").iterdir()).name)
    assert steps(folder) == list(range(1, kept + 1))
    assert f"kept at step {kept} in {folder}. Go on with: isotherm train --resume --output {folder}" in err
    more = kept + 7
    assert run("train", "--resume", f"steps={more}", "--threads", "1", "--output", folder).code == 0
    assert steps(folder) == list(range(1, more + 1))


@pytest.fixture
def trained(run, tmp_path: Path) -> Path:
    """A run on pictures of 8 by 8 pixels, with a mean of weights."""
    words = ("vae", "--data", "digits", "widths=8", "steps=10", "ema=0.99", "learning_rate=0.1", "--threads", "1")
    assert run("train", *words, "--output", tmp_path / "run").code == 0
    return tmp_path / "run"


def test_samples_are_those_of_the_model(run, trained: Path, tmp_path: Path) -> None:
    found = {}
    for name, words in {"mean": [], "again": [], "last": ["--raw"], "other": ["--seed", "1"]}.items():
        assert run("sample", trained, "-n", 5, *words, "--output", tmp_path / f"{name}.npy").code == 0
        found[name] = np.load(tmp_path / f"{name}.npy")
    expected = load_model(trained).sample(5, generator=torch.Generator().manual_seed(0)).numpy()
    assert found["mean"].shape == (5, 8, 8)
    np.testing.assert_array_equal(found["mean"], expected)
    np.testing.assert_array_equal(found["mean"], found["again"])
    assert not np.array_equal(found["mean"], found["last"])
    assert not np.array_equal(found["mean"], found["other"])


def test_samples_as_a_picture(run, trained: Path, tmp_path: Path) -> None:
    assert run("sample", trained, "--count", 5, "--output", tmp_path / "s.png").code == 0
    assert run("sample", trained, "--count", 5, "--output", tmp_path / "s.npy").code == 0
    with Image.open(tmp_path / "s.png") as picture:
        pixels = np.asarray(picture)
    times = pixels.shape[1] // (3 * 8 + 2)  # five tiles: two rows of three
    assert pixels.shape == (times * (2 * 8 + 1), times * (3 * 8 + 2), 3)
    small = pixels[::times, ::times, 0]
    samples = np.load(tmp_path / "s.npy")
    np.testing.assert_array_equal(small[9:17, 0:8], np.round(255 * samples[3].clip(0, 1)))
    assert (small[9:17, 18:26] == 128).all()  # no sixth one


def test_sample_refuses_what_it_cannot_do(run, refused, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npy"
    assert "must be at least 1" in refused("sample", trained, "-n", 0, "--output", out).err
    assert "suffix of --output" in refused("sample", trained, "--output", tmp_path / "x.gif").err
    assert "found no" in refused("sample", tmp_path / "nothing", "--output", out).err
    state = trained / "checkpoints" / "00000010"
    (state / "state.pt").unlink()
    assert "found no state.pt" in refused("sample", state, "--raw", "--output", out).err
    out.touch()
    assert "must not exist yet" in refused("sample", trained, "--output", out).err
    assert run("train", "vae", *SMALL, "steps=2", "--output", tmp_path / "plane").code == 0
    assert "A .png shows pictures" in refused("sample", tmp_path / "plane", "--output", tmp_path / "x.png").err
