"""Checkpoints of a training: whole folders or none, the last few and the best."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isotherm.models.weights import write_weights

if TYPE_CHECKING:
    from isotherm.models.model import AbstractModel

FOLDER, STATE, FORMAT = "checkpoints", "state.pt", 1


class Checkpoints:
    """The folder of a run: checkpoints/00000500/ and so on, each with weights, settings and the state of training.

    A checkpoint is written beside its place and moved there when it is whole, so that a process that is killed leaves
    the last one as it was. The weights in the run's own folder are those of the last checkpoint.

    Args:
        folder: Of the run; made if missing.
        keep_last: How many to keep, besides the best.

    Example:
        >>> import tempfile
        >>> from isotherm.models import VAE, Training
        >>> folder = tempfile.mkdtemp()
        >>> training = Training(steps=6, checkpoint_every=2, keep_last=2)
        >>> training.run(VAE((2,), 1, widths=(8,)), torch.ones(16, 2), folder=folder, validate=lambda model: 0.0)
        >>> Checkpoints(folder, 2).steps()  # the first was the best: no later one was better
        [2, 4, 6]
    """

    def __init__(self, folder: str | Path, keep_last: int) -> None:
        self.run, self.keep_last = Path(folder), keep_last
        self.folder = self.run / FOLDER

    def steps(self) -> list[int]:
        """Steps at which there is one, in order."""
        return sorted(int(each.name) for each in self.folder.glob("[0-9]*")) if self.folder.is_dir() else []

    def path(self, step: int) -> Path:
        """Folder of the checkpoint of a step."""
        return self.folder / f"{step:08d}"

    def write(self, state: dict[str, Any], model: AbstractModel) -> None:
        """Write a checkpoint and drop those that are no longer kept.

        Args:
            state: Of the training; tensors, numbers and names in dictionaries and lists.
            model: With the weights that are to be used.
        """
        target = self.path(state["step"])
        part = target.with_name(f".{target.name}.part")
        for leftover in self.folder.glob(".*.part"):
            shutil.rmtree(leftover)
        part.mkdir(parents=True)
        write_weights(model, part)
        torch.save({"format": FORMAT, **state}, part / STATE)
        if target.exists():
            shutil.rmtree(target)
        part.rename(target)
        write_weights(model, self.run)
        self._drop(kept=[*self.steps()[-self.keep_last :], state["best"]["step"]])

    def read(self) -> dict[str, Any] | None:
        """State of the last checkpoint; None where there is none.

        Returns:
            What was given to `write`, on the CPU.

        Raises:
            ValueError: The file holds more than numbers and names, or is damaged, or is of another format.
        """
        steps = self.steps()
        return read_state(self.path(steps[-1])) if steps else None

    def _drop(self, kept: Sequence[int]) -> None:
        for step in set(self.steps()) - set(kept):
            shutil.rmtree(self.path(step))


def read_state(checkpoint: Path) -> dict[str, Any]:
    """State of training in one checkpoint; only numbers and names are read, nothing in it can run.

    Args:
        checkpoint: Its folder.

    Returns:
        What was given to `Checkpoints.write`.

    Raises:
        ValueError: The file holds more than numbers and names, or is damaged, or is of another format.
    """
    path = checkpoint / STATE
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0]
        msg = f"{path} must be a state that isotherm wrote: it was not read ({reason}). Remove {checkpoint} to go on from the checkpoint before it."
        raise ValueError(msg) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        msg = f"{path} must be of format {FORMAT}: it was written by another version of isotherm. Train anew, or install that version."
        raise ValueError(msg)
    return state
