"""Softmin as an operator of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels.compiled import bind_formula, by_columns, by_rows, extension, from_rows, handed, is_eager
from isotherm.kernels.ops.plan_apply import plan_apply
from isotherm.kernels.ops.plan_grad import plan_grad
from isotherm.kernels.source import Formula, formula_from, no_gradients

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["softmin"]


def softmin(formula: Formula, h: Tensor, guess: Tensor | None, *, epsilon: float) -> Tensor:
    """-epsilon log sum_j exp((h_j - C_ij) / epsilon); see `isotherm.kernels.softmin`.

    Differentiable twice in every tensor, and any number of times in h. A row that reaches no target, +inf, has
    derivative zero. The derivative by a stored matrix is a matrix, (N, M).

    Args:
        formula: Costs C_ij, shape (N, M).
        h: Weighted potential of the targets, shape (M,), units of cost; -inf marks no mass.
        guess: About what will come out, shape (N,); never differentiated.
        epsilon: Temperature > 0, units of cost.

    Returns:
        Shape (N,), units of cost.
    """
    if formula.x.is_cpu and is_eager(*formula.tensors, h, guess):
        return _compute(formula, h, guess, epsilon)
    guess = None if guess is None else guess.detach()
    return _operator(formula.x, formula.y, h, guess, *formula.settings, epsilon)


def _compute(formula: Formula, h: Tensor, guess: Tensor | None, epsilon: float) -> Tensor:
    out = torch.empty(formula.shape[0], dtype=h.dtype)
    shift = None if guess is None else by_rows(formula, guess)
    given = by_columns(formula, h), shift
    extension.softmin(bind_formula(formula), *given, epsilon, handed(out), torch.get_num_threads())
    return from_rows(formula, out)


@torch.library.custom_op(
    "isotherm::softmin",
    mutates_args=(),
    device_types="cpu",
    schema="(Tensor x, Tensor? y, Tensor h, Tensor? guess, "
    "str kind, float scale, float offset, Tensor[] pattern, float epsilon) -> Tensor",
)
def _operator(x: Tensor, y: Tensor | None, h: Tensor, guess: Tensor | None, *settings: Any) -> Tensor:
    return _compute(formula_from(x, y, *settings[:-1]), h, guess, settings[-1])


@_operator.register_fake
def _(x: Tensor, y: Tensor | None, h: Tensor, *_: Any) -> Tensor:
    return h.new_empty(x.shape[0])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:3], output)
    ctx.settings = inputs[4:]


def _backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
    """df_i / dC_ij = P(j | i) = exp((f_i + h_j - C_ij) / epsilon), df_i / dh_j = -P(j | i)."""
    x, y, h, f = ctx.saved_tensors
    *settings, epsilon = ctx.settings
    formula = formula_from(x, y, *settings)
    by_x = by_y = by_h = None
    reaches = f < torch.inf
    p, grad = torch.where(reaches, f, -torch.inf), torch.where(reaches, grad, 0.0)
    if ctx.needs_input_grad[2]:
        by_h = -plan_apply(formula.transpose(), h, p, grad[:, None], epsilon=epsilon)[:, 0]
    if y is None and ctx.needs_input_grad[0]:
        law = (p[:, None] + h - formula.block(slice(None))).div(epsilon).exp()  # (N, M)
        by_x = law * (formula.scale * grad[:, None])
    elif ctx.needs_input_grad[0]:
        by_x = plan_grad(formula, p, h, None, None, epsilon=epsilon) * grad[:, None]
    if ctx.needs_input_grad[1]:
        one = torch.ones_like(h)[:, None]  # (M, 1)
        by_y = plan_grad(formula.transpose(), h, p, one, grad[:, None], epsilon=epsilon)
    return by_x, by_y, by_h, None, *no_gradients(settings), None


_operator.register_autograd(_backward, setup_context=_save)
