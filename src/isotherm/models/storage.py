"""Models in folders: weights as safetensors, settings as JSON, nothing that could run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from isotherm._checks import check_choice
from isotherm.models.catalogue import MODELS
from isotherm.models.weights import read_config, read_weights, write_weights

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel


def save_model(model: AbstractModel, folder: str | Path) -> None:
    """Keep a model: `model.safetensors` and `config.json` in a folder, each written whole or not at all.

    Args:
        model: Any model. Networks that were passed to it are kept as weights alone.
        folder: Made if missing; files of that name are replaced.

    Raises:
        ImportError: safetensors is not installed; the message says how to get it.

    Example:
        >>> import tempfile
        >>> from isotherm.models import VAE
        >>> folder = tempfile.mkdtemp()
        >>> save_model(VAE((2,), 1, widths=(8,), gamma=0.5), folder)
        >>> load_model(folder).gamma
        0.5
    """
    write_weights(model, Path(folder))


def load_model(folder: str | Path, **modules: nn.Module) -> AbstractModel:
    """Make a model anew from its folder: that of `save_model`, of a run, or of one of its checkpoints.

    Args:
        folder: With `model.safetensors` and `config.json`.
        **modules: Networks that were passed to the constructor, under the same names; their weights are filled in.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: There is no model.
        ValueError: A file is damaged, or a pickle, or of another model.
    """
    folder = Path(folder)
    config = read_config(folder)
    classes = {kind.__name__: kind for kind in MODELS.values()}
    kind: Any = classes[check_choice(config["model"], "model", classes)]
    try:
        model = kind(**config["settings"], **modules)
    except TypeError as error:
        msg = f"The settings in {folder} must be those of {kind.__name__}: {error}. Pass networks by the names its constructor has, and models of another version to that version."
        raise ValueError(msg) from error
    read_weights(model, folder)
    return model.eval()
