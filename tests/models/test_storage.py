"""Models go into folders and come back; nothing that could run is ever opened."""

from __future__ import annotations

import json
import pickle
import stat
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from isotherm.models import MODELS, VAE, AbstractModel, load_model, save_model
from isotherm.models.weights import is_pickle

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small model."""
    save_model(VAE((2, 3), 1, widths=(5,), gamma=0.25, seed=3), tmp_path / "model")
    return tmp_path / "model"


def test_catalogue_has_final_models_under_command_line_names() -> None:
    assert MODELS["vae"] is VAE
    assert all(issubclass(kind, AbstractModel) for kind in MODELS.values())
    assert len(set(MODELS.values())) == len(MODELS)
    assert all(name == name.lower() for name in MODELS)


def test_model_comes_back_with_settings_and_weights(folder: Path) -> None:
    model, again = VAE((2, 3), 1, widths=(5,), gamma=0.25, seed=3), load_model(folder)
    assert type(again) is VAE
    assert again.settings() == model.settings()
    assert not again.training
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert stat.S_IMODE((folder / "model.safetensors").stat().st_mode) == stat.S_IMODE(
        (folder / "config.json").stat().st_mode
    )


def test_config_says_what_made_it(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert list(config) == ["model", "settings", "isotherm", "torch", "hash"]
    assert config["settings"] == {"shape": [2, 3], "latent": 1, "widths": [5], "lam": 1.0, "gamma": 0.25, "seed": 3}
    save_model(VAE((2, 3), 1, widths=(5,), gamma=0.26, seed=3), folder)
    assert json.loads((folder / "config.json").read_text())["hash"] != config["hash"]


def test_own_networks_are_passed_again(tmp_path: Path) -> None:
    def decoder() -> nn.Module:
        return nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 2))

    model = VAE((2,), 1, widths=(5,), decoder=decoder())
    save_model(model, tmp_path)
    again = load_model(tmp_path, decoder=decoder())
    z = torch.randn(3, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.decode(z), model.decode(z))
    with pytest.raises(ValueError, match=r"Pass the networks .* decoder="):
        load_model(tmp_path)
    with pytest.raises(ValueError, match="by the names its constructor has"):
        load_model(tmp_path, decodr=decoder())


def test_shared_weights_are_kept_once(tmp_path: Path) -> None:
    shared = nn.Linear(2, 2)
    save_model(VAE((2,), 1, encoder=shared, decoder=nn.Sequential(nn.Linear(1, 2), shared)), tmp_path)
    other = nn.Linear(2, 2)
    load_model(tmp_path, encoder=other, decoder=nn.Sequential(nn.Linear(1, 2), other))
    assert torch.equal(other.weight, shared.weight)


class Trap:
    """Runs when a pickle that holds it is opened."""

    def __reduce__(self) -> tuple:
        return (pytest.fail, ("a pickle was opened",))


def test_pickles_are_refused_unopened(folder: Path) -> None:
    weights = folder / "model.safetensors"
    for write in (
        lambda: weights.write_bytes(pickle.dumps(Trap())),
        lambda: torch.save({"weight": Trap()}, weights),
    ):
        write()
        with pytest.raises(ValueError, match="It was not opened: opening a pickle runs whatever is in it"):
            load_model(folder)
        with pytest.raises(ValueError, match=r"got the file .*looks like a pickle"):
            load_model(weights)
    weights.rename(folder / "model.pt")
    with pytest.raises(FileNotFoundError, match=r"model\.pt is no substitute: opening a pickle"):
        load_model(folder)


def test_damaged_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"found no .*config\.json"):
        load_model(tmp_path / "elsewhere")
    good = json.loads((folder / "config.json").read_text())

    def refused(config: object, message: str) -> None:
        (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        with pytest.raises(ValueError, match=message):
            load_model(folder)

    refused("{", "not a file that isotherm wrote")
    refused({"model": "VAE"}, "not a file that isotherm wrote")
    refused({**good, "model": "VEA"}, "`model` must be one of .*'VAE'.*: got 'VEA'")
    refused({**good, "settings": {**good["settings"], "gamma": 0.5}}, "must belong together")
    refused({**good, "settings": {**good["settings"], "gama": 0.5}}, "must be those of VAE")
    (folder / "config.json").write_text(json.dumps(good))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(ValueError, match="must be safetensors"):
        load_model(folder)


def test_weights_whose_header_is_as_long_as_a_pickle_begins_are_read(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    for first in (0x80, 0x50):
        path.write_bytes(bytes([first, 0x06]) + bytes(6) + b"{")
        assert not is_pickle(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    assert is_pickle(path)
