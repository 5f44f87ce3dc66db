"""Softmin of many problems in the compiled extension: one call, each problem by one thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels import ops
from isotherm.kernels.compiled import bind_formula, extension, handed, is_eager, plain
from isotherm.kernels.compiled import why_no_operator as why_not

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.batched_softmin.batch import Batch

__all__ = ["batched_softmin", "why_not"]


def batched_softmin(batch: Batch, h: Tensor, *, epsilon: tuple[float, ...], guess: Tensor | None = None) -> Tensor:
    """See `isotherm.kernels.batched_softmin`."""
    if not is_eager(*batch.formula.tensors, h, guess):
        return _by_problem(batch, h, epsilon, guess)
    out = torch.empty(batch.formula.shape[0], dtype=h.dtype)
    shift = None if guess is None else plain(guess)
    starts = batch.source_starts, batch.target_starts
    bound = bind_formula(batch.formula)
    extension.batched_softmin(bound, *starts, plain(h), shift, epsilon, handed(out), torch.get_num_threads())
    return out


def _by_problem(batch: Batch, h: Tensor, epsilon: tuple[float, ...], guess: Tensor | None) -> Tensor:
    """One operator for each problem, which autograd and torch.compile can follow."""
    found = [
        ops.softmin(problem, h[columns], None if guess is None else guess[rows], epsilon=one)
        for problem, (rows, columns), one in zip(batch.problems(), batch.slices(), epsilon, strict=True)
    ]
    return torch.cat(found) if found else h.new_empty(0)
