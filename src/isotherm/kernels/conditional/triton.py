"""Conditional means on the GPU: softmax-weighted averages, the weights made tile by tile and never stored."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from isotherm.kernels.compiled import is_eager
from isotherm.kernels.conditional.cpu import conditional_mean as compose
from isotherm.kernels.triton_blocks import base_costs, load_tile, load_vector
from isotherm.kernels.triton_import import tl, triton
from isotherm.kernels.triton_launch import (
    Tiles,
    as_formula,
    dot_precision,
    feature_tile,
    kernel_costs,
    on_device,
    product_tiles,
)

if TYPE_CHECKING:
    from isotherm.kernels.source import CostSource, Formula


@triton.jit
def conditional_mean_kernel(
    x,
    y,
    h,
    values,
    out,
    n,
    m,
    k,
    x_row,
    x_column,
    scale: tl.float64,
    offset: tl.float64,
    inverse: tl.float64,
    D: tl.constexpr,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    VALUES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of sources and one of the columns of V against all targets; running maximum."""
    dtype: tl.constexpr = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    entries = tl.program_id(1) * VALUES + tl.arange(0, VALUES)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)

    top = tl.full((ROWS,), float("-inf"), dtype)
    mass = tl.zeros((ROWS,), dtype)
    total = tl.zeros((ROWS, VALUES), dtype)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        potential = load_vector(h, columns, m, float("-inf"))
        value = load_tile(values, columns, entries, m, k, k, 1)
        base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
        scores = (potential - constant)[None, :] - factor * base
        higher = tl.maximum(top, tl.max(scores, 1))
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        shrink = tl.exp2((top - shift) * slope)
        weights = tl.exp2((scores - shift[:, None]) * slope)
        value = tl.where((potential == float("-inf"))[:, None], 0.0, value)
        mass = mass * shrink + tl.sum(weights, 1)
        total = tl.dot(weights, value, total * shrink[:, None], input_precision=PRECISION, out_dtype=dtype)
        top = higher

    offsets = rows.to(tl.int64)[:, None] * k + entries[None, :]
    tl.store(out + offsets, total / mass[:, None], mask=(rows[:, None] < n) & (entries[None, :] < k))


def conditional_mean(costs: CostSource, h: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Mean of some values of the targets under P(j | i), on the GPU: the barycentric map.

    Definition and arguments: `isotherm.kernels.conditional_mean`. Where a derivative or a trace is asked for, a softmin
    and a product with the plan that it normalises: both are operators.
    """
    formula = as_formula(costs)
    if is_eager(*formula.tensors, h, values):
        return launch_conditional_mean(formula, h, values, epsilon=epsilon)
    return compose(costs, h, values, epsilon=epsilon)


def launch_conditional_mean(
    formula: Formula,
    h: Tensor,
    values: Tensor,
    *,
    epsilon: float,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Start the kernel of the barycentric map; outside every autograd graph.

        T_ik = sum_j P(j | i) V_jk,   P(j | i) proportional to exp((h_j - C_ij) / epsilon)

    Time O(N M (D + K)), costs being recomputed for every 64 columns of V; memory O(N K); with `out` nothing is
    allocated.

    Args:
        formula: The costs, N x M.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        values: V, shape (M, K); rows without mass are not read.
        epsilon: Temperature > 0, units of cost.
        out: Where to write, shape (N, K), contiguous.
        tiles: Tile sizes; None takes `product_tiles`.

    Returns:
        T, shape (N, K); NaN where no target has mass.
    """
    n, k = formula.x.shape[0], values.shape[1]
    out = values.new_empty(n, k) if out is None else out
    tiles = product_tiles(formula) if tiles is None else tiles
    width = feature_tile(k, 64)
    if n and k:
        with on_device(h):
            conditional_mean_kernel[(triton.cdiv(n, tiles.rows), triton.cdiv(k, width))](
                h=h.contiguous(),
                values=values.contiguous(),
                out=out,
                k=k,
                offset=float(formula.offset),
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                VALUES=width,
                PRECISION=dot_precision("float32"),
                num_warps=tiles.warps,
                **kernel_costs(formula, epsilon),
            )
    return out
