"""Folders of trainings, read again: the model, its data, its curves."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from isotherm._optional import require
from isotherm.models import EVIA, AbstractModel, ChainsWarning, load_model
from isotherm.models.data import DataSet, load_data
from isotherm.posterior import EffectiveSizeWarning

CONFIGURATION, CURVES = "config.yaml", "metrics.jsonl"
DOUBTS = (EffectiveSizeWarning, ChainsWarning)


@dataclass(frozen=True, eq=False)
class Run:
    """One training.

    Attributes:
        folder: Where it is.
        name: What to call it.
        model: In evaluation mode.
        source: Its data, as `load_data` takes them.
        data: The same, read.
        curves: Lines of metrics.jsonl; none where there is no such file.
    """

    folder: Path
    name: str
    model: AbstractModel
    source: str
    data: DataSet
    curves: tuple[dict[str, float | None], ...]


@contextmanager
def doubts_told() -> Iterator[None]:
    """While the block runs, what warns of posteriors that rest on little is gathered; then a line for each is shown."""
    with warnings.catch_warnings(record=True) as caught:
        for kind in DOUBTS:
            warnings.simplefilter("always", kind)
        yield
    for text in dict.fromkeys(str(each.message) for each in caught if issubclass(each.category, DOUBTS)):
        Console(stderr=True, soft_wrap=True).print(f"[bold yellow]doubtful[/]: {escape(text)}", highlight=False)
    for each in caught:
        if not issubclass(each.category, DOUBTS):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def read_run(folder: Path, source: str | None = None) -> Run:
    """Read a training.

    Args:
        folder: That of a run, or of one of its checkpoints.
        source: Its data; as its configuration says when left out.

    Returns:
        The run.

    Raises:
        FileNotFoundError: There is no model, or nothing says which data.
        ValueError: A file is damaged, or the data are not like those of the model.
    """
    model = load_model(folder)
    home, asked = read_configuration(folder)
    source = source or asked.get("data")
    if source is None:
        msg = f"{folder} must hold {CONFIGURATION}, which names the data: there is none. Name them with --data."
        raise FileNotFoundError(msg)
    data = load_data(source, seed=asked.get("seed", 0))
    if data.shape != model.shape:
        msg = f"The data must be like those of the model, shape {model.shape}: got {data.shape} from {source!r}. Name the data that it was trained on with --data."
        raise ValueError(msg)
    if isinstance(model, EVIA):
        model.calibrate(data.train)  # a training alone does not solve for the potential at the model's points
    name = folder.resolve().name
    return Run(folder, name, model, source, data, _curves(home / CURVES))


def read_configuration(folder: Path) -> tuple[Path, dict[str, Any]]:
    """What was asked of a training.

    Args:
        folder: That of a run, or of one of its checkpoints.

    Returns:
        Folder of the run and its settings; none where it has no configuration, and then the folder that was given.

    Raises:
        ValueError: The file is damaged.
    """
    home = next((path for path in (folder, folder.absolute().parent.parent) if (path / CONFIGURATION).is_file()), None)
    if home is None:
        return folder, {}
    path, yaml = home / CONFIGURATION, require("yaml", extra="train", why="read the configuration of a training")
    try:
        asked = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"{path} must be YAML: it cannot be read. Write it anew with isotherm train --print-config."
        raise ValueError(msg) from error
    return home, asked if isinstance(asked, dict) else {}


def _curves(path: Path) -> tuple[dict[str, float | None], ...]:
    """Lines that are whole; a training that was killed may have left half of one."""
    found = list[dict[str, float | None]]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            numbers = json.loads(line)
        except ValueError:
            continue
        if isinstance(numbers, dict) and "step" in numbers:
            found.append(numbers)
    return tuple(found)
