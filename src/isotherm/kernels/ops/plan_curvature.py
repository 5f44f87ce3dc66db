"""Derivative of the weighted plan gradient along a direction: what second derivatives by points are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch

from isotherm.kernels.source import Formula, formula_from, row_blocks

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["plan_curvature"]


def plan_curvature(
    formula: Formula, p: Tensor, q: Tensor, left: Tensor, right: Tensor, z: Tensor, *, epsilon: float
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradient of <z, plan_grad> by everything that enters it.

        L = sum_ij P_ij W_ij A_ij,    A_ij = z_i . dC_ij / dx_i,    W_ij = sum_k left_ik right_jk

    In plain torch, a block of rows at a time. Time O(N M (D + K)); memory O((N + M) (D + K)) beside one block.
    Pairs at distance zero have no curvature under |x - y|, never NaN. Not differentiable: a third derivative raises.

    Args:
        formula: Costs between points, C_ij, shape (N, M).
        p: Weighted potential of the sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, shape (M,), units of cost; -inf marks no mass.
        left: Weights, shape (N, K).
        right: Weights, shape (M, K).
        z: Direction, shape (N, D).
        epsilon: Temperature > 0, units of cost.

    Returns:
        dL by x (N, D), y (M, D), p (N,), q (M,), left (N, K) and right (M, K).
    """
    assert formula.y is not None, "this is our bug: a stored matrix has no points"
    return _operator(formula.x, formula.y, p, q, left, right, z, *formula.settings, epsilon)


@torch.library.custom_op(
    "isotherm::plan_curvature",
    mutates_args=(),
    schema="(Tensor x, Tensor y, Tensor p, Tensor q, Tensor left, Tensor right, Tensor z, "
    "str kind, float scale, float offset, Tensor[] pattern, float epsilon) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _operator(
    x: Tensor, y: Tensor, p: Tensor, q: Tensor, left: Tensor, right: Tensor, z: Tensor, *settings: Any
) -> Any:
    formula, epsilon = formula_from(x, y, *settings[:-1]), settings[-1]
    scale = formula.scale
    given = (x, y, p, q, left, right)
    by_x, by_y, by_p, by_q, by_left, by_right = (torch.zeros(t.shape, dtype=t.dtype, device=t.device) for t in given)
    for rows in row_blocks(formula):
        plan = ((p[rows, None] + q - formula.block(rows)) / epsilon).exp()  # (n, M)
        weighted = plan * (left[rows] @ right.T)
        slope, bend, a = _pair_terms(formula, rows, z)
        by_left[rows] = (plan * a) @ right
        by_right += (plan * a).T @ left[rows]
        tilt = weighted * a / epsilon  # (n, M)
        by_p[rows] = tilt.sum(1)
        by_q += tilt.sum(0)
        if formula.kind == "dot":
            by_x[rows] = -scale * (tilt @ y)
            by_y += scale * (weighted.T @ z[rows] - tilt.T @ x[rows])
            continue
        along, across = -(tilt * slope + weighted * bend), weighted * slope  # (n, M)
        by_x[rows] = z[rows] * across.sum(1)[:, None]
        by_y -= across.T @ z[rows]
        for d in range(x.shape[1]):
            terms = along * (x[rows, d, None] - y[:, d])
            by_x[rows, d] += terms.sum(1)
            by_y[:, d] -= terms.sum(0)
    return by_x, by_y, by_p, by_q, by_left, by_right


def _pair_terms(formula: Formula, rows: slice, z: Tensor) -> tuple[Tensor | float, Tensor | float, Tensor]:
    """Slope and bend, dC = slope (x - y) and d(dC . z) = slope z - bend (x - y), and A_ij = z_i . dC_ij, (n, M)."""
    x, y = formula.tensors
    if formula.kind == "dot":
        return 0.0, 0.0, formula.scale * (z[rows] @ y.T)
    a = torch.zeros(x[rows].shape[0], y.shape[0], dtype=x.dtype, device=x.device)
    for d in range(x.shape[1]):
        a += z[rows, d, None] * (x[rows, d, None] - y[:, d])
    if formula.kind == "sqeuclidean":
        return 2.0 * formula.scale, 0.0, 2.0 * formula.scale * a
    lengths = torch.cdist(x[rows], y, compute_mode="donot_use_mm_for_euclid_dist")
    inverse = torch.where(lengths > 0, 1.0 / lengths, 0.0)
    slope = formula.scale * inverse
    return slope, slope * a * inverse.square(), slope * a


@_operator.register_fake
def _(x: Tensor, y: Tensor, p: Tensor, q: Tensor, left: Tensor, right: Tensor, *_: Any) -> Any:
    return tuple(t.new_empty(t.shape) for t in (x, y, p, q, left, right))


def _backward(*_: Any) -> NoReturn:
    msg = (
        "The fused kernels know derivatives by the points up to the second: a third was asked for. "
        'Run the forward pass inside `with isotherm.kernels.use("reference")`, which autograd follows to any order.'
    )
    raise RuntimeError(msg)


_operator.register_autograd(_backward)
