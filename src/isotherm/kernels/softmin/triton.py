"""Softmin on the GPU: one pass over all pairs, the cost recomputed tile by tile."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.kernels import ops
from isotherm.kernels.compiled import is_eager
from isotherm.kernels.triton_blocks import add_compensated, base_costs, load_vector
from isotherm.kernels.triton_import import tl, triton
from isotherm.kernels.triton_launch import (
    Tiles,
    as_formula,
    default_tiles,
    dot_precision,
    kernel_costs,
    on_device,
)

if TYPE_CHECKING:
    from isotherm.kernels.source import CostSource, Formula


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
    slopes,
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
    tile = tl.program_id(0)
    if IS_RAGGED:
        problem = tl.program_id(0)  # of which there may be more than a second axis holds
        tile = tl.program_id(1)
        first_x = tl.load(x_starts + problem)
        first_y = tl.load(y_starts + problem)
        n = (tl.load(x_starts + problem + 1) - first_x).to(tl.int32)
        m = (tl.load(y_starts + problem + 1) - first_y).to(tl.int32)
        x += first_x * D
        y += first_y * D
        h += first_y
        out += first_x
        inverse = tl.load(slopes + problem)
        if HAS_GUESS:
            guess += first_x
    rows = tile * ROWS + tl.arange(0, ROWS)
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)

    top = tl.full((ROWS,), float("-inf"), dtype)
    total = tl.zeros((ROWS,), dtype)
    unsafe = 1
    if HAS_GUESS:
        shift = load_vector(guess, rows, n, 0.0)
        shift = tl.where(tl.abs(shift) < float("inf"), shift, 0.0)
        # By differences each lane keeps its own sums; after products the tile's registers are needed for them.
        LANES: tl.constexpr = 1 if KIND == "dot" or (KIND == "sqeuclidean" and D > 8) else COLUMNS
        sums = tl.zeros((ROWS, LANES), dtype)
        for start in range(0, m, COLUMNS):
            columns = start + tl.arange(0, COLUMNS)
            potential = load_vector(h, columns, m, float("-inf")) - constant
            base = base_costs(x, y, rows, columns, n, m, x_row, x_column, D, KIND, FEATURES, PRECISION)
            scores = potential[None, :] - factor * base
            terms = tl.exp2((scores + shift[:, None]) * slope)
            sums += tl.sum(terms, 1, keep_dims=True) if LANES == 1 else terms
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


def softmin(costs: CostSource | Formula, h: Tensor, *, epsilon: float, guess: Tensor | None = None) -> Tensor:
    """Smoothed minimum of cost minus potential over the targets, on the GPU.

        f_i = -epsilon * log sum_j exp((h_j - C_ij) / epsilon)

    Definition and arguments: `isotherm.kernels.softmin`. Where a derivative or a trace is asked for it goes through the
    operator of `isotherm.kernels.ops`, otherwise straight to the launch.
    """
    formula = as_formula(costs)
    if is_eager(*formula.tensors, h, guess):
        return launch_softmin(formula, h, epsilon=epsilon, guess=guess)
    return ops.softmin(formula, h, guess, epsilon=epsilon)


def launch_softmin(
    formula: Formula,
    h: Tensor,
    *,
    epsilon: float,
    guess: Tensor | None = None,
    out: Tensor | None = None,
    precision: str = "float32",
    tiles: Tiles | None = None,
) -> Tensor:
    """Start the softmin kernel; outside every autograd graph.

    Time O(N M D), memory O(N). With `out` nothing is allocated and the host never waits: it can be captured in a
    CUDA graph.

    Args:
        formula: The costs, N x M.
        h: Weighted potential of the targets, g + epsilon log b, shape (M,), units of cost; -inf marks no mass.
        epsilon: Temperature > 0, units of cost.
        guess: Previous result, shape (N,): it shifts the exponents and no running maximum is kept. Any numbers do;
            rows it does not fit are summed again.
        out: Where to write, shape (N,), contiguous.
        precision: "float32", or "tf32" for faster and coarser inner products; float64 inputs ignore it.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        Shape (N,), units of cost; +inf where every h is -inf.
    """
    settings = {"x_starts": None, "y_starts": None, "slopes": None, "IS_RAGGED": False}
    settings |= {"inverse": math.log2(math.e) / epsilon, "PRECISION": dot_precision(precision)}
    return _launch(formula, (h, guess, out), (1, formula.x.shape[0]), settings, tiles)


def softmin_ragged(
    formula: Formula,
    h: Tensor,
    starts: tuple[Tensor, Tensor, int],
    *,
    epsilon: float | Tensor,
    guess: Tensor | None = None,
    out: Tensor | None = None,
    tiles: Tiles | None = None,
) -> Tensor:
    """Softmin of many independent problems in one launch.

    Problem k holds the sources starts[0][k] to starts[0][k + 1] of x and the same rows of the result, and the
    targets starts[1][k] to starts[1][k + 1] of y and h. Problems of at most `tiles.rows` sources take one program each.

    Args:
        formula: Points of all problems, one after the other; not a stored matrix.
        h: Weighted potentials of all targets, shape (M,).
        starts: First source of each problem and their number, shape (B + 1,), int64, on the device; the same of the
            targets; the largest number of sources of a problem (known on the host, so that the device is not asked).
        epsilon: Temperature > 0 of all problems, or of each, shape (B,), float64, on the device; units of cost.
        guess: Previous result, shape (N,).
        out: Where to write, shape (N,), contiguous.
        tiles: Tile sizes; None takes `default_tiles`.

    Returns:
        Shape (N,), units of cost.

    Raises:
        TypeError: The costs are a stored matrix.
    """
    if formula.y is None:
        msg = "Ragged batches need points: got a stored matrix. Call `softmin` for each problem."
        raise TypeError(msg)
    x_starts, y_starts, longest = starts
    count = x_starts.shape[0] - 1
    if not isinstance(epsilon, Tensor):
        epsilon = torch.full((count,), epsilon, dtype=torch.float64, device=h.device)
    settings = {"x_starts": x_starts, "y_starts": y_starts, "slopes": math.log2(math.e) / epsilon, "IS_RAGGED": True}
    settings |= {"inverse": 0.0, "PRECISION": dot_precision("float32")}
    return _launch(formula, (h, guess, out), (count, longest), settings, tiles)


def _launch(
    formula: Formula,
    vectors: tuple[Tensor, Tensor | None, Tensor | None],
    extent: tuple[int, int],
    settings: dict[str, object],
    tiles: Tiles | None,
) -> Tensor:
    """Start `softmin_kernel` on h, guess and out; extent is (problems, sources of the largest)."""
    h, guess, out = vectors
    out = h.new_empty(formula.x.shape[0]) if out is None else out
    tiles = default_tiles(formula) if tiles is None else tiles
    count = triton.cdiv(extent[1], tiles.rows)
    grid = (extent[0], count) if settings["IS_RAGGED"] else (count,)
    if all(grid):
        with on_device(h):
            softmin_kernel[grid](
                h=h.contiguous(),
                guess=None if guess is None else guess.contiguous(),
                out=out,
                offset=float(formula.offset),
                HAS_GUESS=guess is not None,
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                num_warps=tiles.warps,
                **settings,
                **kernel_costs(formula),
            )
    return out
