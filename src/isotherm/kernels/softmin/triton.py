"""Softmin on the GPU: one pass over all pairs, the cost recomputed tile by tile."""

# ruff: noqa: PLR0913 - a kernel takes its pointers, sizes and strides one by one

from __future__ import annotations

import math

import torch
from torch import Tensor

from isotherm._optional import require
from isotherm.kernels.triton_blocks import add_compensated, base_costs, load_vector
from isotherm.kernels.triton_launch import DOT_PRECISIONS, Pairs, Tiles, default_tiles, kernel_costs, on_device

triton = require("triton", extra="triton", why="run kernels on a GPU")
tl = require("triton.language", extra="triton", why="run kernels on a GPU")


@triton.jit
def online_sums(
    x,
    y,
    h,
    rows,
    n,
    m,
    x_row,
    x_column,
    factor,
    offset_,
    slope,
    D: tl.constexpr,
    KIND: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Largest h_j - C_ij of each row and the sum of 2^((h_j - C_ij - largest) slope); running maximum."""
    dtype: tl.constexpr = x.dtype.element_ty
    top = tl.full((rows.shape[0],), float("-inf"), dtype)
    total = tl.zeros((rows.shape[0],), dtype)
    lost = tl.zeros((rows.shape[0],), dtype)
    for start in range(0, m, COLUMNS):
        columns = start + tl.arange(0, COLUMNS)
        potential = load_vector(h, columns, m, float("-inf")) - offset_
        base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
        scores = potential[None, :] - factor * base  # (rows, columns), units of cost
        higher = tl.maximum(top, tl.max(scores, 1))
        # A row that has met no mass yet keeps -inf: shift by zero there, -inf minus -inf is NaN.
        shift = tl.where(higher == float("-inf"), 0.0, higher)
        shrink = tl.exp2((top - shift) * slope)
        part = tl.sum(tl.exp2((scores - shift[:, None]) * slope), 1)
        total, lost = add_compensated(total * shrink, lost * shrink, part)
        top = higher
    return top, total


@triton.jit
def softmin_kernel(
    x,
    y,
    h,
    guess,
    out,
    x_starts,
    y_starts,
    n,
    m,
    x_row,
    x_column,
    scale: tl.float64,
    offset: tl.float64,
    inverse: tl.float64,
    D: tl.constexpr,
    KIND: tl.constexpr,
    HAS_GUESS: tl.constexpr,
    IS_RAGGED: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One tile of sources against all targets of its problem."""
    dtype: tl.constexpr = x.dtype.element_ty
    if IS_RAGGED:
        problem = tl.program_id(1)
        first_x = tl.load(x_starts + problem)
        first_y = tl.load(y_starts + problem)
        n = (tl.load(x_starts + problem + 1) - first_x).to(tl.int32)
        m = (tl.load(y_starts + problem + 1) - first_y).to(tl.int32)
        x += first_x * D
        y += first_y * D
        h += first_y
        out += first_x
        if HAS_GUESS:
            guess += first_x
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)

    top = tl.full((ROWS,), float("-inf"), dtype)
    total = tl.zeros((ROWS,), dtype)
    unsafe = 1
    if HAS_GUESS:
        shift = load_vector(guess, rows, n, 0.0)
        shift = tl.where(tl.abs(shift) < float("inf"), shift, 0.0)
        sums = tl.zeros((ROWS, COLUMNS), dtype)
        for start in range(0, m, COLUMNS):
            columns = start + tl.arange(0, COLUMNS)
            potential = load_vector(h, columns, m, float("-inf")) - constant
            base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
            scores = potential[None, :] - factor * base
            sums += tl.exp2((scores + shift[:, None]) * slope)
        total = tl.sum(sums, 1)
        top = -shift
        # Outside this range terms may have been flushed or have overflowed (NaN fails both): start again.
        is_safe = ((total > 1e-20) & (total < 1e30)) | (rows >= n)
        unsafe = tl.max(tl.where(is_safe, 0, 1), 0)
    if unsafe != 0:
        top, total = online_sums(
            x, y, h, rows, n, m, x_row, x_column, factor, constant, slope, D, KIND, COLUMNS, FEATURES, PRECISION
        )

    has_mass = total > 0.0
    result = -(top + tl.log2(tl.where(has_mass, total, 1.0)) / slope)
    tl.store(out + rows, tl.where(has_mass, result, float("inf")), mask=rows < n)


def softmin(
    pairs: Pairs,
    h: Tensor,
    *,
    epsilon: float,
    guess: Tensor | None = None,
    out: Tensor | None = None,
    precision: str = "float32",
    tiles: Tiles | None = None,
) -> Tensor:
    """Smoothed minimum of cost minus potential over the targets, on the GPU.

        f_i = -epsilon * log sum_j exp((h_j - C_ij) / epsilon)

    Time O(N M D), memory O(N). With `out` nothing is allocated and the host never waits: it can be captured in a
    CUDA graph.

    Args:
        pairs: The costs, N x M.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0, units of cost.
        guess: Previous result, shape (N,): it shifts the exponents and no running maximum is kept. Any numbers do;
            rows it does not fit are summed again.
        out: Where to write, shape (N,).
        precision: "float32", or "tf32" for faster and coarser inner products; float64 inputs ignore it.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        Shape (N,), units of cost; +inf where every h is -inf.
    """
    n = pairs.shape[0]
    out = h.new_empty(n) if out is None else out
    tiles = default_tiles(pairs) if tiles is None else tiles
    if n:
        with on_device(h):
            softmin_kernel[(triton.cdiv(n, tiles.rows),)](
                h=h.contiguous(),
                guess=guess,
                out=out,
                x_starts=None,
                y_starts=None,
                offset=float(pairs.offset),
                HAS_GUESS=guess is not None,
                IS_RAGGED=False,
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                PRECISION=DOT_PRECISIONS[precision],
                num_warps=tiles.warps,
                **kernel_costs(pairs, epsilon),
            )
    return out


def softmin_ragged(
    pairs: Pairs,
    h: Tensor,
    starts: tuple[Tensor, Tensor, int],
    *,
    epsilon: float,
    guess: Tensor | None = None,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Softmin of many independent problems in one launch.

    Problem k holds the sources starts[0][k] to starts[0][k + 1] of x and the same rows of the result, and the
    targets starts[1][k] to starts[1][k + 1] of y and h. Problems of at most `tiles.rows` sources take one program each.

    Args:
        pairs: Points of all problems, one after the other; not a stored matrix.
        h: Weighted potentials of all targets, shape (M,).
        starts: First source of each problem and their number, shape (B + 1,), int64, on the device; the same of the
            targets; the largest number of sources of a problem (known on the host, so that the device is not asked).
        epsilon: Temperature > 0, units of cost.
        guess: Previous result, shape (N,).
        out: Where to write, shape (N,).
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        Shape (N,), units of cost.

    Raises:
        ValueError: The costs are a stored matrix.
    """
    if pairs.y is None:
        msg = "Ragged batches need points: got a stored matrix. Call `softmin` for each problem."
        raise ValueError(msg)
    x_starts, y_starts, longest = starts
    out = h.new_empty(pairs.shape[0]) if out is None else out
    tiles = default_tiles(pairs) if tiles is None else tiles
    grid = (triton.cdiv(longest, tiles.rows), x_starts.shape[0] - 1)
    if all(grid):
        with on_device(h):
            softmin_kernel[grid](
                h=h.contiguous(),
                guess=guess,
                out=out,
                x_starts=x_starts,
                y_starts=y_starts,
                offset=float(pairs.offset),
                HAS_GUESS=guess is not None,
                IS_RAGGED=True,
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                PRECISION=DOT_PRECISIONS["float32"],
                num_warps=tiles.warps,
                **kernel_costs(pairs, epsilon),
            )
    return out
