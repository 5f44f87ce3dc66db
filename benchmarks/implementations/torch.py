"""What one writes without a library: inner products and torch.logsumexp, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.cases import STORED, Case

if TYPE_CHECKING:
    from benchmarks.inputs import Inputs

BLOCK_ENTRIES = 1 << 20  # 4 MiB in float32


def versions() -> dict[str, str]:
    """What is measured."""
    return {"torch": torch.__version__}


def prepare(case: Case, inputs: Inputs) -> Callable[[], tuple[Tensor, ...]]:
    """Bind the arguments of a softmin."""
    if case.d == STORED or case.operation != "softmin_cold":
        msg = f"only softmin on points is written here, not {case.operation} on {case.geometry}"
        raise NotImplementedError(msg)
    x, y = inputs.costs.source_points, inputs.costs.target_points
    assert x is not None, "this is our bug: a stored matrix came this far"
    assert y is not None, "this is our bug: a stored matrix came this far"
    step = max(1, BLOCK_ENTRIES // case.n)

    def call() -> tuple[Tensor, ...]:
        bias = (inputs.h - y.square().sum(1)) / inputs.epsilon
        out = x.square().sum(1)
        for rows in range(0, case.n, step):
            scores = torch.addmm(bias, x[rows : rows + step], y.T, alpha=2.0 / inputs.epsilon)  # (n, M)
            out[rows : rows + step] -= inputs.epsilon * scores.logsumexp(1)
        return (out,)

    return call
