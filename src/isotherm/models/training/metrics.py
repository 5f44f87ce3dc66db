"""Numbers of a training as they come: lines of JSON in a file, curves in TensorBoard."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from torch import Tensor

from isotherm._files import write_text
from isotherm._optional import require

if TYPE_CHECKING:
    from pathlib import Path


class Metrics:
    """A file with one line of JSON per logged step, written as they come.

    Args:
        path: The file.
        step: Lines after this step are dropped: those of an earlier run that went further than its last checkpoint.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                is_kept = json.loads(line)["step"] <= step
            except ValueError:  # a run that was killed may have left half a line
                is_kept = False
            if is_kept:
                kept.append(line + "\n")
        write_text(path, "".join(kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, numbers: dict[str, Any]) -> None:
        """Add a line; what is not finite becomes null, for which JSON has a word.

        Args:
            numbers: By name, step and seconds first.
        """
        plain = {name: as_number(value) for name, value in numbers.items()}
        self._file.write(json.dumps(plain) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TensorBoard:
    """A callback that writes curves for TensorBoard; needs `isotherm[tensorboard]`.

    Args:
        folder: Where its files go.
        every: Steps between two points of a curve.
    """

    def __init__(self, folder: str | Path, *, every: int = 10) -> None:
        require("tensorboard", extra="tensorboard", why="write curves for TensorBoard")
        writer = require("torch.utils.tensorboard", extra="tensorboard", why="write curves for TensorBoard")
        self._writer, self.every = writer.SummaryWriter(str(folder)), every

    def __call__(self, step: int, numbers: dict[str, Tensor]) -> None:
        """Add a point to each curve."""
        if step % self.every == 0:
            for name, value in numbers.items():
                self._writer.add_scalar(name, float(value), step)

    def close(self) -> None:
        """Write what is left and close the files."""
        self._writer.close()


def as_number(value: Any) -> Any:
    """A tensor with one entry as a number of Python; None for what is not finite."""
    number = value.item() if isinstance(value, Tensor) else value
    return None if isinstance(number, float) and not math.isfinite(number) else number
