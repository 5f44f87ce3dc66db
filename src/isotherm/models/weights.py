"""Weights and settings of a model in two files that nothing can hide in: numbers as safetensors, settings as JSON."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from isotherm._files import atomic, write_text
from isotherm._optional import require

if TYPE_CHECKING:
    from pathlib import Path

    from isotherm.models.model import AbstractModel

WEIGHTS, CONFIG = "model.safetensors", "config.json"
PLAIN = (bool, int, float, str, type(None))
PICKLES = (b"\x80", b"PK")  # how files of pickle and of torch.save begin
NO_PICKLE = "opening a pickle runs whatever is in it, so isotherm reads weights from safetensors only. Write it anew with isotherm.models.save_model, from where you trust it."


def write_weights(model: AbstractModel, folder: Path) -> None:
    """Write both files, each atomically, the settings first.

    Args:
        model: Any model.
        folder: Made if missing.
    """
    safetensors = require("safetensors.torch", extra="train", why="keep the weights of a model")
    config = describe(model)
    write_text(folder / CONFIG, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    with atomic(folder / WEIGHTS) as temporary:
        mode = temporary.stat().st_mode  # safetensors puts a file of its own there, for the owner alone
        safetensors.save_model(model, str(temporary), metadata={"hash": config["hash"]})
        temporary.chmod(mode & 0o777)


def describe(model: AbstractModel) -> dict[str, Any]:
    """Class, plain settings, and versions; the hash is that of class and settings."""
    settings = {name: value for name, value in model.settings().items() if is_plain(value)}
    asked = {"model": type(model).__name__, "settings": settings}
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    return {**asked, "isotherm": version("isotherm"), "torch": version("torch"), "hash": digest}


def is_plain(value: Any) -> bool:
    """Whether JSON can hold it: numbers, names, and lists of them."""
    return all(map(is_plain, value)) if isinstance(value, (list, tuple)) else isinstance(value, PLAIN)


def read_config(folder: Path) -> dict[str, Any]:
    """What `write_weights` said about the model.

    Args:
        folder: Where it wrote.

    Returns:
        "model", "settings", "isotherm", "torch", "hash".

    Raises:
        FileNotFoundError: There is no such file, or no such folder.
        ValueError: It says something else.
    """
    path = folder / CONFIG
    if folder.is_file():
        reason = f" {folder.name} looks like a pickle: {NO_PICKLE}" if is_pickle(folder) else ""
        msg = f"A model is read from its folder: got the file {folder}.{reason or ' Pass the folder it lies in.'}"
        raise ValueError(msg)
    if not path.is_file():
        msg = f"A folder with a model must hold {CONFIG} and {WEIGHTS}: found no {path}. Check the path; training writes the files at its first checkpoint."
        raise FileNotFoundError(msg)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config["model"], str) and isinstance(config["settings"], dict):
            return config
    except (ValueError, KeyError, TypeError):
        pass
    msg = f"{path} must say class and settings of a model: it is not a file that isotherm wrote, or was changed. Restore it from a checkpoint."
    raise ValueError(msg)


def read_weights(model: AbstractModel, folder: Path) -> None:
    """Fill a model with weights.

    Args:
        model: Of the class and the settings that config.json says; changed in place.
        folder: Where `write_weights` wrote.

    Raises:
        FileNotFoundError: There are none.
        ValueError: They are those of another model, or no safetensors.
    """
    path = folder / WEIGHTS
    safetensors = require("safetensors", extra="train", why="read the weights of a model")
    load = require("safetensors.torch", extra="train", why="read the weights of a model").load_model
    if not path.is_file():
        pickles = [each.name for each in sorted(folder.glob("*")) if each.is_file() and is_pickle(each)]
        reason = f" {pickles[0]} is no substitute: {NO_PICKLE}" if pickles else " Check the path."
        msg = f"Weights must be in {path}: there is no such file.{reason}"
        raise FileNotFoundError(msg)
    if is_pickle(path):
        msg = f"{path} must be safetensors: it is a pickle. It was not opened: {NO_PICKLE}"
        raise ValueError(msg)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            digest = (file.metadata() or {}).get("hash")
    except safetensors.SafetensorError as error:
        msg = f"{path} must be safetensors: {error}. Restore it from a checkpoint."
        raise ValueError(msg) from error
    if digest != describe(model)["hash"]:
        msg = f"{path} and {CONFIG} must belong together: the weights were written with other settings. Restore both from one checkpoint."
        raise ValueError(msg)
    try:
        load(model, str(path))
    except RuntimeError as error:
        msg = f"{path} does not fit {type(model).__name__}: {error}. Pass the networks that the model was made with by name, for instance load_model(folder, decoder=...)."
        raise ValueError(msg) from error


def is_pickle(path: Path) -> bool:
    """Whether a file begins like a pickle or like a file of torch.save; nothing is opened that could run.

    Safetensors begin with the length of their header, eight bytes that may be anything, and then its brace.
    """
    with path.open("rb") as file:
        start = file.read(9)
    return start.startswith(PICKLES) and start[8:] != b"{"
