"""The same reductions in plain torch, blocked: `isotherm.kernels.use("reference")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from benchmarks.implementations import isotherm

if TYPE_CHECKING:
    from benchmarks.cases import Case
    from benchmarks.inputs import Inputs

versions = isotherm.versions


def prepare(case: Case, inputs: Inputs) -> Callable[[], tuple[Tensor, ...]]:
    """Bind the arguments of one reduction."""
    return isotherm.prepare(case, inputs, backend="reference")
