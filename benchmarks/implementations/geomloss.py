"""One softmin of GeomLoss' backend "online", by its own functions: a KeOps reduction that is compiled at first use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from typing import TYPE_CHECKING

import torch
from geomloss._legacy import sinkhorn_samples  # pyright: ignore[reportMissingImports]
from torch import Tensor

from benchmarks.cases import STORED, Case

if TYPE_CHECKING:
    from benchmarks.inputs import Inputs


def versions() -> dict[str, str]:
    """What is measured."""
    return {name: metadata.version(name) for name in ("geomloss", "pykeops", "torch")}


def prepare(case: Case, inputs: Inputs) -> Callable[[], tuple[Tensor, ...]]:
    """Bind the arguments of a softmin.

    GeomLoss pays |x - y|^2 / 2 and takes potentials divided by the temperature: with half our epsilon and twice its
    answer the two are the same.
    """
    if case.d == STORED or case.operation != "softmin_cold":
        msg = f"its online backend has softmin on points only, not {case.operation} on {case.geometry}"
        raise NotImplementedError(msg)
    points = (inputs.costs.source_points, inputs.costs.target_points)
    reduction = sinkhorn_samples.lse_genred(sinkhorn_samples.cost_formulas[2], case.d, dtype=case.dtype)
    scores = inputs.h / inputs.epsilon

    def call() -> tuple[Tensor, ...]:
        with torch.no_grad():
            out = sinkhorn_samples.softmin_online(0.5 * inputs.epsilon, points, scores, log_conv=reduction)
        return (2.0 * out.view(-1),)

    return call
