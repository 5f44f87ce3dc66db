"""Gradients of costs under the entropic plan on the GPU, the plan made tile by tile."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.kernels import ops
from isotherm.kernels.compiled import is_eager
from isotherm.kernels.triton_blocks import base_costs, load_coordinate, load_tile, load_vector
from isotherm.kernels.triton_import import tl, triton
from isotherm.kernels.triton_launch import (
    Tiles,
    as_formula,
    dot_precision,
    feature_tile,
    kernel_costs,
    on_device,
    product_tiles,
    sizes,
    takes_products,
)

if TYPE_CHECKING:
    from isotherm.kernels.source import CostSource, Formula


@triton.jit
def plan_grad_kernel(
    x,
    y,
    p,
    q,
    left,
    right,
    out,
    n,
    m,
    x_row,
    x_column,
    scale: tl.float64,
    offset: tl.float64,
    inverse: tl.float64,
    D: tl.constexpr,
    KIND: tl.constexpr,
    BY_DIFFERENCES: tl.constexpr,
    WEIGHTS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    COORDINATES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of sources and one of their coordinates against all targets."""
    dtype: tl.constexpr = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    first = tl.program_id(1) * COORDINATES
    coordinates = tl.arange(0, COORDINATES)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)
    source = load_vector(p, rows, n, float("-inf")) - constant

    total = tl.zeros((ROWS, COORDINATES), dtype)
    mass = tl.zeros((ROWS,), dtype)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        target = load_vector(q, columns, m, float("-inf"))
        base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
        scores = (source[:, None] + target[None, :]) - factor * base
        plan = tl.exp2(scores * slope)
        if WEIGHTS == 1:
            weight = load_vector(left, rows, n, 0.0)[:, None] * load_vector(right, columns, m, 0.0)[None, :]
            plan = tl.where(plan > 0.0, plan * weight, 0.0)
        elif WEIGHTS > 1:
            weight = base_costs(left, right, rows, columns, n, m, 0, 0, WEIGHTS, "dot", FEATURES, PRECISION)
            plan = tl.where(plan > 0.0, plan * weight, 0.0)
        if KIND == "euclidean":
            # |x - y| has no derivative where points coincide; zero is the one of least norm among its subgradients.
            plan = tl.where(base > 0.0, plan / tl.where(base > 0.0, base, 1.0), 0.0)
        if BY_DIFFERENCES:
            for d in tl.static_range(COORDINATES):
                own = load_coordinate(x, rows, n, first + d, D)
                others = load_coordinate(y, columns, m, first + d, D)
                part = tl.sum(plan * (own[:, None] - others[None, :]), 1)
                total += tl.where(coordinates[None, :] == d, part[:, None], 0.0)
        else:
            y_tile = load_tile(y, columns, first + coordinates, m, D, D, 1)
            total = tl.dot(plan, y_tile, total, input_precision=PRECISION, out_dtype=dtype)
            mass += tl.sum(plan, 1)

    if KIND == "sqeuclidean":
        factor *= 2.0
        if not BY_DIFFERENCES:
            total = mass[:, None] * load_tile(x, rows, first + coordinates, n, D, D, 1) - total
    offsets = rows.to(tl.int64)[:, None] * D + (first + coordinates)[None, :]
    tl.store(out + offsets, factor * total, mask=(rows[:, None] < n) & ((first + coordinates)[None, :] < D))


def plan_grad(costs: CostSource | Formula, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Derivative of <P, C> by both clouds on the GPU, the plan P held fixed.

    Definition and arguments: `isotherm.kernels.plan_grad`. Two launches, one for each cloud. Where a derivative or a
    trace is asked for they go through the operator of `isotherm.kernels.ops`.
    """
    formula = as_formula(costs)
    if is_eager(*formula.tensors, p, q):
        return source_grad(formula, p, q, epsilon=epsilon), source_grad(formula.transpose(), q, p, epsilon=epsilon)
    by_x = ops.plan_grad(formula, p, q, None, None, epsilon=epsilon)
    return by_x, ops.plan_grad(formula.transpose(), q, p, None, None, epsilon=epsilon)


def source_grad(
    formula: Formula,
    p: Tensor,
    q: Tensor,
    weights: tuple[Tensor, Tensor] | None = None,
    *,
    epsilon: float,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Derivative of <P * W, C> by the sources, the plan P and the weights W held fixed; outside every autograd graph.

        G_i = sum_j exp((p_i + q_j - C_ij) / epsilon) W_ij dC_ij / dx_i,    W_ij = sum_k left_ik right_jk

    Points that coincide add nothing. Squared distances up to 8 dimensions and distances in any go by differences,
    8 coordinates at a time, each time with the costs recomputed; the rest by products, 64 at a time.

    Args:
        formula: Costs between points, N x M.
        p: Weighted potential of the sources, f + epsilon log a, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        weights: left, shape (N, K), and right, shape (M, K); None stands for W = 1.
        epsilon: Temperature > 0, units of cost.
        out: Where to write, shape (N, D), contiguous; then nothing is allocated.
        tiles: Tile sizes; None takes `product_tiles`.

    Returns:
        G, shape (N, D), units of cost times mass per unit of length.

    Raises:
        TypeError: The costs are a stored matrix.
    """
    if formula.y is None:
        msg = "`plan_grad` needs a cost between points: got a stored matrix. Its derivative is the plan itself."
        raise TypeError(msg)
    n, _, size = sizes(formula)
    by_differences = formula.kind == "euclidean" or not takes_products(formula)
    out = torch.empty_like(formula.x, memory_format=torch.contiguous_format) if out is None else out
    tiles = product_tiles(formula) if tiles is None else tiles
    width = min(8, 1 << max(0, size - 1).bit_length()) if by_differences else feature_tile(size, 64)
    left, right = (None, None) if weights is None else (side.contiguous() for side in weights)
    if left is not None and left.shape[1] == 0:
        return out.zero_()
    if n and size:
        with on_device(p):
            plan_grad_kernel[(triton.cdiv(n, tiles.rows), triton.cdiv(size, width))](
                p=p.contiguous(),
                q=q.contiguous(),
                left=left,
                right=right,
                out=out,
                offset=float(formula.offset),
                BY_DIFFERENCES=by_differences,
                WEIGHTS=0 if left is None else left.shape[1],
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                COORDINATES=width,
                PRECISION=dot_precision("float32"),
                num_warps=tiles.warps,
                **kernel_costs(formula, epsilon),
            )
    return out
