"""Twenty steps are ten steps, a kill, and ten steps: bit by bit, in every part of the state."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor

from isotherm.models import MODELS, VAE, Training
from isotherm.models.training import read_state

if TYPE_CHECKING:
    from pathlib import Path


def lines(folder: Path) -> list[dict[str, Any]]:
    """Metrics without the clock."""
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in text.splitlines()]


def assert_same(one: Any, other: Any, where: str = "") -> None:
    """Nested states are equal in every bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            if key != "seconds":
                assert_same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        for k, (left, right) in enumerate(zip(one, other, strict=True)):
            assert_same(left, right, f"{where}/{k}")
    elif isinstance(one, Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def stopped(remembering, folder: Path, at: int, **settings: Any) -> None:
    """A training that an error ends in one of its steps."""

    def fail(step: int, _: object) -> None:
        if step == at:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        remembering.train(folder, callbacks=[fail], **settings)


@pytest.fixture(scope="module")
def whole(remembering, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of twenty steps that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    remembering.train(folder)
    return folder


def test_killed_training_resumes_bit_by_bit(remembering, whole: Path, tmp_path: Path) -> None:
    killed = subprocess.run([*remembering.command, tmp_path, "13"], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert [line["step"] for line in lines(tmp_path)] == list(range(1, 14))  # it was past its checkpoint
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000010"]
    model = remembering.train(tmp_path, resume=True)
    assert lines(tmp_path) == lines(whole)
    assert_same(*(read_state(folder / "checkpoints" / "00000020") for folder in (tmp_path, whole)))
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert_same(model.state_dict(), remembering.train(None).state_dict())  # and nothing kept: the same again


@pytest.mark.parametrize(
    "forgotten", ["order", "average", "optimiser", "processes", "model"], ids=lambda name: f"without {name}"
)
def test_every_part_of_the_state_matters(remembering, whole: Path, tmp_path: Path, forgotten: str) -> None:
    stopped(remembering, tmp_path, 11)
    path = tmp_path / "checkpoints" / "00000010" / "state.pt"
    ten, fresh = torch.load(path, weights_only=True), tmp_path / "fresh"
    stopped(remembering, fresh, 2, checkpoint_every=1)
    torch.save({**ten, forgotten: read_state(fresh / "checkpoints" / "00000001")[forgotten]}, path)
    remembering.train(tmp_path, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() != (whole / "model.safetensors").read_bytes()
    torch.save(ten, path)
    shutil.rmtree(tmp_path / "checkpoints" / "00000020")
    remembering.train(tmp_path, resume=True)
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_goes_on_bit_by_bit(name: str, tmp_path: Path) -> None:
    x = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    training = Training(steps=8, batch_size=16, checkpoint_every=4, ema=0.9)

    def fail(step: int, _: object) -> None:
        if step == 6:
            raise RuntimeError

    def make() -> Any:
        return MODELS[name](shape=(4,), latent=2, seed=1)

    whole, first, second = make(), make(), make()
    training.run(whole, x)
    with pytest.raises(RuntimeError):
        training.run(first, x, folder=tmp_path, callbacks=[fail])
    training.run(second, x, folder=tmp_path, resume=True)
    assert_same(second.state_dict(), whole.state_dict())


def test_resume_goes_on_within_an_epoch(remembering, tmp_path: Path) -> None:
    stopped(remembering, tmp_path, 11)
    resumed, whole = remembering.train(tmp_path, resume=True), remembering.train(None)
    assert [rows.tolist() for rows in resumed.seen] == [rows.tolist() for rows in whole.seen[10:]]
    epochs = [torch.cat(whole.seen[k : k + 4]).tolist() for k in (0, 4, 8)]
    assert all(len(set(rows)) == 20 for rows in epochs)
    assert epochs[0] != epochs[1]


def test_interrupt_keeps_the_step_under_way(remembering, whole: Path, tmp_path: Path) -> None:
    def interrupt(step: int, _: object) -> None:
        if step == 7:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="kept at step 8"):  # noted after step 7, looked at in the next one
        remembering.train(tmp_path, callbacks=[interrupt])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    remembering.train(tmp_path, resume=True)
    assert_same(lines(tmp_path), lines(whole))
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_second_interrupt_does_not_wait(remembering, tmp_path: Path) -> None:
    def twice(_: int, __: object) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Training(steps=5).run(remembering.Remembering(), remembering.observations(), folder=tmp_path, callbacks=[twice])
    assert not (tmp_path / "checkpoints").exists()


def test_folder_with_checkpoints_is_not_taken_for_a_new_training(remembering, whole: Path) -> None:
    before = (whole / "metrics.jsonl").read_bytes()
    with pytest.raises(FileExistsError, match="Resume that training"):
        remembering.train(whole)
    assert (whole / "metrics.jsonl").read_bytes() == before


def test_resume_without_a_checkpoint_begins(remembering, whole: Path, tmp_path: Path) -> None:
    remembering.train(tmp_path, resume=True)
    assert lines(tmp_path) == lines(whole)


def test_checkpoint_that_was_not_finished_is_no_checkpoint(remembering, whole: Path, tmp_path: Path) -> None:
    stopped(remembering, tmp_path, 11)
    half = tmp_path / "checkpoints" / ".00000015.part"
    half.mkdir()
    (half / "state.pt").write_bytes(b"half")
    remembering.train(tmp_path, resume=True)
    assert not half.exists()
    assert (tmp_path / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


def test_resume_refuses_other_data_and_other_models(whole: Path) -> None:
    training = Training(steps=30)
    with pytest.raises(ValueError, match="got 7 rows, it began with 23"):
        training.run(VAE((3,), 2), torch.zeros(7, 3), folder=whole, resume=True)
    with pytest.raises(ValueError, match="Make it with the same settings"):
        training.run(VAE((3,), 2), torch.zeros(23, 3), folder=whole, resume=True)


def test_state_that_could_run_something_is_refused(whole: Path, tmp_path: Path, remembering) -> None:
    stopped(remembering, tmp_path, 2, checkpoint_every=1)
    path = tmp_path / "checkpoints" / "00000001" / "state.pt"
    torch.save({"format": 1, "run": print}, path)
    with pytest.raises(ValueError, match="it was not read"):
        remembering.train(tmp_path, resume=True)
    path.write_bytes((whole / "checkpoints" / "00000020" / "state.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"Remove .*00000001"):
        remembering.train(tmp_path, resume=True)
