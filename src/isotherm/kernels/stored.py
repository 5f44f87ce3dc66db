"""All costs at once, for those that are worth keeping: a matrix product into memory that is cheap to touch first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from isotherm.kernels.compiled import extension, handed, is_eager, is_transformed
from isotherm.kernels.pairs import MAX_DIFFERENCE_DIMENSION
from isotherm.kernels.source import formula_of

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource, Formula


def all_costs(costs: CostSource) -> Tensor:
    """Every cost in one matrix.

    Time O(N M D), as a matrix product where inner products make the costs; memory O(N M).

    Args:
        costs: N x M of them.

    Returns:
        Shape (N, M), dtype of the costs, differentiable as a block of them is.

    Example:
        >>> import torch
        >>> from isotherm.kernels import Formula
        >>> all_costs(Formula("dot", torch.ones(1, 2), torch.eye(2), scale=-1.0))
        tensor([[-1., -1.]])
    """
    formula = formula_of(costs)
    if formula is None or formula.y is None or not is_eager(*formula.tensors) or is_transformed(*formula.tensors):
        return costs.block(slice(None))
    has_norms = formula.kind == "sqeuclidean" and formula.x.shape[1] > MAX_DIFFERENCE_DIMENSION
    if formula.pattern is not None or formula.device.type != "cpu" or not (has_norms or formula.kind == "dot"):
        return costs.block(slice(None))
    left, right = _with_norms(formula) if has_norms else _with_offset(formula)
    out = torch.empty(formula.shape, dtype=formula.dtype)
    if extension is not None:
        extension.prefer_huge_pages(handed(out))
    torch.mm(left, right.T, out=out)
    if has_norms:  # rounding must not make a squared distance negative
        bound = {"min": formula.offset} if formula.scale > 0 else {"max": formula.offset}
        out.clamp_(**bound)
    return out


def _with_norms(formula: Formula) -> tuple[Tensor, Tensor]:
    """Points with norms beside their coordinates, so that their inner products are scale |x - y|^2 + offset."""
    x, y, scale = formula.x, formula.y, formula.scale
    assert y is not None, "this is our bug: a stored matrix has no points"
    x_norms, y_norms = ((p * p).sum(1, keepdim=True) for p in (x, y))
    left = torch.cat([x * (-2.0 * scale), x_norms * scale + formula.offset, torch.full_like(x_norms, scale)], dim=1)
    return left, torch.cat([y, torch.ones_like(y_norms), y_norms], dim=1)


def _with_offset(formula: Formula) -> tuple[Tensor, Tensor]:
    """Points whose inner products are scale x . y + offset."""
    x, y = formula.x, formula.y
    assert y is not None, "this is our bug: a stored matrix has no points"
    left = x if formula.scale == 1.0 else x * formula.scale
    if formula.offset == 0.0:
        return left, y
    offsets, ones = torch.full_like(x[:, :1], formula.offset), torch.ones_like(y[:, :1])
    return torch.cat([left, offsets], dim=1), torch.cat([y, ones], dim=1)
