"""Derivative of the weighted plan cost by the sources as an operator of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels.compiled import bind_formula, by_columns, by_rows, extension, from_rows, handed, is_eager
from isotherm.kernels.ops.plan_curvature import plan_curvature
from isotherm.kernels.source import Formula, formula_from, no_gradients

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["plan_grad"]


def plan_grad(
    formula: Formula, p: Tensor, q: Tensor, left: Tensor | None, right: Tensor | None, *, epsilon: float
) -> Tensor:
    """Derivative of <P * W, C> by the sources with the plan P and the weights W held fixed.

        dx_i = sum_j P_ij W_ij dC_ij / dx_i,    W_ij = sum_k left_ik right_jk

    Time O(N M (D + K)); memory O((N + M) (D + K)). Differentiable once in every tensor.

    Args:
        formula: Costs between points, C_ij, shape (N, M).
        p: Weighted potential of the sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, shape (M,), units of cost; -inf marks no mass.
        left: Weights, shape (N, K), any sign; None, with `right`, for W = 1.
        right: Weights, shape (M, K).
        epsilon: Temperature > 0, units of cost.

    Returns:
        Shape (N, D), units of cost times mass per unit of length.
    """
    assert formula.y is not None, "this is our bug: a stored matrix has no points"
    if formula.x.is_cpu and is_eager(*formula.tensors, p, q, left, right):
        return _compute(formula, p, q, left, right, epsilon)
    return _operator(formula.x, formula.y, p, q, left, right, *formula.settings, epsilon)


def _compute(
    formula: Formula, p: Tensor, q: Tensor, left: Tensor | None, right: Tensor | None, epsilon: float
) -> Tensor:
    out = torch.empty(formula.x.shape, dtype=p.dtype)
    if left is not None and left.shape[1] == 0:
        return out.zero_()
    weights = None if left is None else by_rows(formula, left), None if right is None else by_columns(formula, right)
    given = by_rows(formula, p), by_columns(formula, q), *weights
    extension.plan_grad(bind_formula(formula), *given, epsilon, handed(out), None, torch.get_num_threads())
    return from_rows(formula, out)


@torch.library.custom_op(
    "isotherm::plan_grad",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor y, Tensor p, Tensor q, Tensor? left, Tensor? right, "
    "str kind, float scale, float offset, Tensor[] pattern, float epsilon) -> Tensor",
)
def _operator(x: Tensor, y: Tensor, p: Tensor, q: Tensor, left: Any, right: Any, *settings: Any) -> Tensor:
    return _compute(formula_from(x, y, *settings[:-1]), p, q, left, right, settings[-1])


@_operator.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return x.new_empty(x.shape)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    ctx.save_for_backward(*inputs[:6])
    ctx.settings = inputs[6:]


def _backward(ctx: Any, z: Tensor) -> tuple[Any, ...]:
    x, y, p, q, left, right = ctx.saved_tensors
    *settings, epsilon = ctx.settings
    is_weighted = left is not None
    if not is_weighted:
        left, right = torch.ones_like(p)[:, None], torch.ones_like(q)[:, None]
    found = plan_curvature(formula_from(x, y, *settings), p, q, left, right, z, epsilon=epsilon)
    return (*found[:4], *(found[4:] if is_weighted else (None, None)), *no_gradients(settings), None)


_operator.register_autograd(_backward, setup_context=_save)
