"""Softmin of many problems in plain torch: one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.softmin import reference as softmin_reference

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.batched_softmin.batch import Batch


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def batched_softmin(batch: Batch, h: Tensor, *, epsilon: tuple[float, ...], guess: Tensor | None = None) -> Tensor:
    """Softmin of each problem; see `isotherm.kernels.batched_softmin`."""
    del guess  # the maximum of each row is found anyway
    found = [
        softmin_reference.softmin(problem, h[columns], epsilon=one)
        for problem, (_, columns), one in zip(batch.problems(), batch.slices(), epsilon, strict=True)
    ]
    return torch.cat(found) if found else h.new_empty(0)
