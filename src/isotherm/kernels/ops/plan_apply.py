"""Products with the entropic plan as an operator of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels.compiled import bind_formula, by_columns, by_rows, extension, from_rows, handed, is_eager
from isotherm.kernels.ops.plan_grad import plan_grad
from isotherm.kernels.source import Formula, formula_from, no_gradients

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["plan_apply"]


def plan_apply(formula: Formula, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """P V with P_ij = exp((p_i + q_j - C_ij) / epsilon); see `isotherm.kernels.plan_apply`.

    Differentiable twice in every tensor, and any number of times in p, q and values. The derivative by points takes
    one more pass for each cloud that asks for it; the derivative by a stored matrix is a matrix, (N, M).

    Args:
        formula: Costs C_ij, shape (N, M).
        p: Weighted potential of the sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, shape (M,), units of cost; -inf marks no mass.
        values: V, shape (M, K).
        epsilon: Temperature > 0, units of cost.

    Returns:
        Shape (N, K).
    """
    if formula.x.is_cpu and is_eager(*formula.tensors, p, q, values):
        return _compute(formula, p, q, values, epsilon)
    return _operator(formula.x, formula.y, p, q, values, *formula.settings, epsilon)


def _compute(formula: Formula, p: Tensor, q: Tensor, values: Tensor, epsilon: float) -> Tensor:
    out = torch.empty(formula.shape[0], values.shape[1], dtype=values.dtype)
    given = by_rows(formula, p), by_columns(formula, q), by_columns(formula, values)
    extension.plan_apply(bind_formula(formula), *given, epsilon, handed(out), torch.get_num_threads())
    return from_rows(formula, out)


@torch.library.custom_op(
    "isotherm::plan_apply",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor? y, Tensor p, Tensor q, Tensor values, "
    "str kind, float scale, float offset, Tensor[] pattern, float epsilon) -> Tensor",
)
def _operator(x: Tensor, y: Tensor | None, p: Tensor, q: Tensor, values: Tensor, *settings: Any) -> Tensor:
    return _compute(formula_from(x, y, *settings[:-1]), p, q, values, settings[-1])


@_operator.register_fake
def _(x: Tensor, y: Tensor | None, p: Tensor, q: Tensor, values: Tensor, *_: Any) -> Tensor:
    return values.new_empty(p.shape[0], values.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5], output)
    ctx.settings = inputs[5:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    """With T = P' grad: dV = T, dp_i = grad_i . out_i / epsilon, dq_j = V_j . T_j / epsilon, dC = -P * (grad V') / epsilon."""
    x, y, p, q, values, out = ctx.saved_tensors
    *settings, epsilon = ctx.settings
    by_x = by_y = by_p = by_q = by_values = None
    formula = formula_from(x, y, *settings)
    needs_x, needs_y, needs_p, needs_q, needs_values = ctx.needs_input_grad[:5]
    if needs_p:
        by_p = (grad * out).sum(1) / epsilon
    if needs_q or needs_values:
        by_values = plan_apply(formula.transpose(), q, p, grad, epsilon=epsilon)  # (M, K)
        kept = torch.where((q > -torch.inf)[:, None], values, 0.0)
        by_q = (kept * by_values).sum(1) / epsilon
    if y is None and needs_x:
        by_x = (
            (p[:, None] + q - formula.block(slice(None))).div(epsilon).exp()
            * (grad @ values.T)
            * (-formula.scale / epsilon)
        )
    elif needs_x:
        by_x = plan_grad(formula, p, q, grad, values, epsilon=epsilon) / -epsilon
    if needs_y:
        by_y = plan_grad(formula.transpose(), q, p, values, grad, epsilon=epsilon) / -epsilon
    return by_x, by_y, by_p, by_q, by_values, *no_gradients(settings), None


_operator.register_autograd(_backward, setup_context=_save)
