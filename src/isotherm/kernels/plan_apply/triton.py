"""Products with the entropic plan on the GPU: P V, row sums and the cost paid by rows, the plan made tile by tile."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.kernels import ops
from isotherm.kernels.compiled import is_eager
from isotherm.kernels.triton_blocks import add_compensated, base_costs, load_tile, load_vector
from isotherm.kernels.triton_import import tl, triton
from isotherm.kernels.triton_launch import (
    Tiles,
    as_formula,
    default_tiles,
    dot_precision,
    feature_tile,
    kernel_costs,
    on_device,
    product_tiles,
)

if TYPE_CHECKING:
    from isotherm.kernels.source import CostSource, Formula


@triton.jit
def plan_rows_kernel(
    x,
    y,
    p,
    q,
    values,
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
    TERM: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Sums over the targets of P_ij ("mass"), P_ij C_ij ("cost") or P_ij v_j ("value"), one tile of sources."""
    dtype: tl.constexpr = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)
    source = load_vector(p, rows, n, float("-inf")) - constant

    total = tl.zeros((ROWS,), dtype)
    lost = tl.zeros((ROWS,), dtype)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        target = load_vector(q, columns, m, float("-inf"))
        base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
        scores = (source[:, None] + target[None, :]) - factor * base
        terms = tl.exp2(scores * slope)  # the plan, (rows, columns)
        if TERM == "cost":
            # A forbidden pair has infinite cost and no mass: it pays nothing.
            terms *= tl.where(terms > 0.0, factor * base + constant, 0.0)
        if TERM == "value":
            value = load_vector(values, columns, m, 0.0)
            terms = terms * tl.where(target == float("-inf"), 0.0, value)[None, :]
        total, lost = add_compensated(total, lost, tl.sum(terms, 1))

    tl.store(out + rows, total, mask=rows < n)


@triton.jit
def plan_apply_kernel(
    x,
    y,
    p,
    q,
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
    """One tile of sources and one of the columns of V against all targets."""
    dtype: tl.constexpr = x.dtype.element_ty
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    entries = tl.program_id(1) * VALUES + tl.arange(0, VALUES)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)
    source = load_vector(p, rows, n, float("-inf")) - constant

    total = tl.zeros((ROWS, VALUES), dtype)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        target = load_vector(q, columns, m, float("-inf"))
        value = load_tile(values, columns, entries, m, k, k, 1)
        base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
        scores = (source[:, None] + target[None, :]) - factor * base
        plan = tl.exp2(scores * slope)
        value = tl.where((target == float("-inf"))[:, None], 0.0, value)
        total = tl.dot(plan, value, total, input_precision=PRECISION, out_dtype=dtype)

    offsets = rows.to(tl.int64)[:, None] * k + entries[None, :]
    tl.store(out + offsets, total, mask=(rows[:, None] < n) & (entries[None, :] < k))


def plan_apply(costs: CostSource | Formula, p: Tensor, q: Tensor, values: Tensor, *, epsilon: float) -> Tensor:
    """Product of the entropic plan with some vectors, on the GPU.

    Definition and arguments: `isotherm.kernels.plan_apply`. Where a derivative or a trace is asked for it goes through
    the operator of `isotherm.kernels.ops`, otherwise straight to the launch.
    """
    formula = as_formula(costs)
    if is_eager(*formula.tensors, p, q, values):
        return launch_plan_apply(formula, p, q, values, epsilon=epsilon)
    return ops.plan_apply(formula, p, q, values, epsilon=epsilon)


def launch_plan_apply(
    formula: Formula,
    p: Tensor,
    q: Tensor,
    values: Tensor,
    *,
    epsilon: float,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Start the kernel of the product with the plan; outside every autograd graph.

        (P V)_ik = sum_j exp((p_i + q_j - C_ij) / epsilon) V_jk

    Time O(N M (D + K)), costs being recomputed for every 64 columns of V; memory O(N K); with `out` nothing is
    allocated. For P' V pass `the transposed formula`, q, p.

    Args:
        formula: The costs, N x M.
        p: Weighted potential of the sources, f + epsilon log a, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        values: V, shape (M, K); rows without mass are not read.
        epsilon: Temperature > 0, units of cost.
        out: Where to write, shape (N, K), contiguous.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        P V, shape (N, K); zero where a source has no mass.
    """
    n, k = formula.x.shape[0], values.shape[1]
    out = values.new_empty(n, k) if out is None else out
    if k == 1:
        plan_rows(formula, p, q, values[:, 0], epsilon=epsilon, out=out[:, 0], tiles=tiles)
        return out
    tiles = product_tiles(formula) if tiles is None else tiles
    width = feature_tile(k, 64)
    if n and k:
        with on_device(p):
            plan_apply_kernel[(triton.cdiv(n, tiles.rows), triton.cdiv(k, width))](
                p=p.contiguous(),
                q=q.contiguous(),
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


def plan_rows(
    costs: CostSource | Formula,
    p: Tensor,
    q: Tensor,
    values: Tensor | None = None,
    *,
    epsilon: float,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Product of the entropic plan with one vector; its row sums where no vector is given.

    Time O(N M D), memory O(N); with `out` nothing is allocated.

    Args:
        costs: The costs, N x M.
        p: Weighted potential of the sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, shape (M,), units of cost; -inf marks no mass.
        values: v, shape (M,); None stands for ones.
        epsilon: Temperature > 0, units of cost.
        out: Where to write, shape (N,), contiguous.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        P v, shape (N,).
    """
    vector = None if values is None else values.contiguous()
    term = "mass" if values is None else "value"
    return _launch_rows(as_formula(costs), (p, q, vector), term, epsilon, out, tiles)


def plan_cost(
    costs: CostSource | Formula,
    p: Tensor,
    q: Tensor,
    *,
    epsilon: float,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Cost paid by each source under the entropic plan, sum_j P_ij C_ij, on the GPU.

    Time O(N M D), memory O(N); with `out` nothing is allocated.

    Args:
        costs: The costs, N x M; +inf forbids a pair, which then pays nothing.
        p: Weighted potential of the sources, shape (N,), units of cost; -inf marks no mass.
        q: Weighted potential of the targets, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0, units of cost.
        out: Where to write, shape (N,), contiguous.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        Shape (N,), mass times cost; the sum over i is <C, P>.
    """
    return _launch_rows(as_formula(costs), (p, q, None), "cost", epsilon, out, tiles)


def plan_marginals(costs: CostSource, p: Tensor, q: Tensor, *, epsilon: float) -> tuple[Tensor, Tensor]:
    """Row sums and column sums of the entropic plan on the GPU, a pass for each; see `isotherm.kernels.plan_marginals`."""
    formula = as_formula(costs)
    rows = plan_apply(formula, p, q, torch.ones_like(q)[:, None], epsilon=epsilon)
    columns = plan_apply(formula.transpose(), q, p, torch.ones_like(p)[:, None], epsilon=epsilon)
    return rows[:, 0], columns[:, 0]


def _launch_rows(
    formula: Formula,
    vectors: tuple[Tensor, Tensor, Tensor | None],
    term: str,
    epsilon: float,
    out: Tensor | None,
    tiles: Tiles | None,
) -> Tensor:
    """Start `plan_rows_kernel`."""
    p, q, values = vectors
    n = formula.x.shape[0]
    out = p.new_empty(n) if out is None else out
    tiles = default_tiles(formula) if tiles is None else tiles
    if n:
        with on_device(p):
            plan_rows_kernel[(triton.cdiv(n, tiles.rows),)](
                p=p.contiguous(),
                q=q.contiguous(),
                values=values,
                out=out,
                offset=float(formula.offset),
                TERM=term,
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                PRECISION=dot_precision("float32"),
                num_warps=tiles.warps,
                **kernel_costs(formula, epsilon),
            )
    return out
