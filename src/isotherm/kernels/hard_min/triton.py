"""Hard minimum (c-transform) on the GPU: one pass over all pairs, the cost recomputed tile by tile."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from isotherm.kernels.triton_blocks import base_costs, load_vector
from isotherm.kernels.triton_import import tl, triton
from isotherm.kernels.triton_launch import Tiles, as_formula, default_tiles, dot_precision, kernel_costs, on_device

if TYPE_CHECKING:
    from isotherm.kernels.source import CostSource, Formula


@triton.jit
def hard_min_kernel(
    x,
    y,
    h,
    out,
    n,
    m,
    x_row,
    x_column,
    scale: tl.float64,
    offset: tl.float64,
    D: tl.constexpr,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of sources against all targets."""
    dtype: tl.constexpr = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)

    top = tl.full((ROWS,), float("-inf"), dtype)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        potential = load_vector(h, columns, m, float("-inf"))
        base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
        top = tl.maximum(top, tl.max(potential[None, :] - (factor * base + constant), 1))

    tl.store(out + rows, -top, mask=rows < n)


def hard_min(
    costs: CostSource | Formula,
    h: Tensor,
    *,
    out: Tensor | None = None,
    precision: str = "float32",
    tiles: Tiles | None = None,
) -> Tensor:
    """Minimum over the targets of cost minus potential, on the GPU.

        f_i = min_j C_ij - h_j

    Time O(N M D), memory O(N); with `out` nothing is allocated.

    Args:
        costs: The costs, N x M.
        h: Potential of the targets, shape (M,), units of cost; -inf removes a target.
        out: Where to write, shape (N,).
        precision: "float32", or "tf32" for faster and coarser inner products, whose result bounds nothing.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        Shape (N,), units of cost; +inf where no target is left.
    """
    formula = as_formula(costs)
    n = formula.x.shape[0]
    out = h.new_empty(n) if out is None else out
    tiles = default_tiles(formula) if tiles is None else tiles
    if n:
        with on_device(h):
            hard_min_kernel[(triton.cdiv(n, tiles.rows),)](
                h=h.contiguous(),
                out=out,
                offset=float(formula.offset),
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                PRECISION=dot_precision(precision),
                num_warps=tiles.warps,
                **kernel_costs(formula),
            )
    return out
