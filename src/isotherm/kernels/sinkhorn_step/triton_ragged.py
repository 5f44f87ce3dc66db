"""Many small transport problems on the GPU: each is iterated by one program, all in one launch."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.softmin.triton import online_sums
from isotherm.kernels.triton_blocks import load_vector
from isotherm.kernels.triton_import import tl, triton
from isotherm.kernels.triton_launch import Tiles, default_tiles, dot_precision, kernel_costs, on_device

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import Formula


@triton.jit
def half_step(
    x,
    y,
    log_a,
    f,
    p,
    q,
    n,
    m,
    factor,
    constant,
    slope,
    damping,
    D: tl.constexpr,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """f and p = f + log_a from q, all rows of one problem; returns the L1 error of the row marginal before."""
    dtype: tl.constexpr = x.dtype.element_ty
    error = tl.zeros((ROWS,), dtype)
    for start in range(0, n, ROWS):
        rows = start + tl.arange(0, ROWS)
        weight = load_vector(log_a, rows, n, float("-inf"))
        before = load_vector(f, rows, n, 0.0)
        top, total = online_sums(
            x, y, q, rows, n, m, D, 1, factor, constant, slope, D, KIND, COLUMNS, FEATURES, PRECISION
        )
        has_mass = total > 0.0
        raw = -(top + tl.log2(tl.where(has_mass, total, 1.0)) / slope)
        after = tl.where(has_mass, damping * raw, float("inf"))
        # The row's mass was a_i exp((f_i - damping * softmin_i) / (damping * epsilon)); without damping, its marginal.
        drift = tl.where(has_mass & (rows < n), (before - after) * slope, 0.0)
        error += tl.exp2(weight * slope) * tl.abs(tl.exp2(drift) - 1.0)
        tl.store(f + rows, after, mask=rows < n)
        tl.store(p + rows, tl.where(weight == float("-inf"), weight, after + weight), mask=rows < n)
    return tl.sum(error, 0)


@triton.jit
def sinkhorn_ragged_kernel(
    x,
    y,
    log_a,
    log_b,
    f,
    g,
    p,
    q,
    error,
    x_starts,
    y_starts,
    n,
    m,
    x_row,
    x_column,
    steps,
    scale: tl.float64,
    offset: tl.float64,
    inverse: tl.float64,
    damping_a: tl.float64,
    damping_b: tl.float64,
    D: tl.constexpr,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """All iterations of one problem."""
    dtype: tl.constexpr = x.dtype.element_ty
    problem = tl.program_id(0)
    first_x = tl.load(x_starts + problem)
    first_y = tl.load(y_starts + problem)
    n = (tl.load(x_starts + problem + 1) - first_x).to(tl.int32)
    m = (tl.load(y_starts + problem + 1) - first_y).to(tl.int32)
    x += first_x * D
    y += first_y * D
    log_a += first_x
    log_b += first_y
    f += first_x
    g += first_y
    p += first_x
    q += first_y
    factor = tl.full((), scale, dtype)
    constant = tl.full((), offset, dtype)
    slope = tl.full((), inverse, dtype)
    by_row = tl.full((), damping_a, dtype)
    by_column = tl.full((), damping_b, dtype)

    last = tl.zeros((), dtype)
    for _ in range(steps):
        last = half_step(
            x, y, log_a, f, p, q, n, m, factor, constant, slope, by_row, D, KIND, ROWS, COLUMNS, FEATURES, PRECISION
        )
        tl.debug_barrier()  # p is read by threads that did not write it
        half_step(
            y, x, log_b, g, q, p, m, n, factor, constant, slope, by_column, D, KIND, ROWS, COLUMNS, FEATURES, PRECISION
        )
        tl.debug_barrier()

    tl.store(error + problem, last)


def sinkhorn_ragged(
    formula: Formula,
    weights: tuple[Tensor, Tensor],
    potentials: tuple[Tensor, Tensor],
    starts: tuple[Tensor, Tensor],
    *,
    epsilon: float,
    steps: int,
    dampings: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Iterate many independent problems, each in one program, and overwrite their potentials.

    Problem k holds the sources starts[0][k] to starts[0][k + 1] of x and the targets starts[1][k] to starts[1][k + 1]
    of y. One launch and O(steps N_k M_k D) time a problem; meant for up to a few hundred points on either side, and
    as many problems as fill the GPU. The host never waits.

    Args:
        formula: Points of all problems, one after the other; not a stored matrix.
        weights: epsilon log a, shape (N,), and epsilon log b, shape (M,), units of cost; -inf marks no mass.
        potentials: f, shape (N,), and g, shape (M,), contiguous, units of cost: where to start, then the result.
        starts: First source of each problem and their number, shape (B + 1,), int64; the same of the targets.
        epsilon: Temperature > 0, units of cost.
        steps: Iterations, each of which updates f, then g.
        dampings: 1 / (1 + epsilon / rho) of either side; 1 where the marginal is a constraint.

    Returns:
        Shape (B,): the L1 error of the source marginal that the last iteration found, before it updated f. It is the
        marginal's where dampings[0] is 1; else the distance from the fixed point in the same units, of mass.

    Raises:
        TypeError: The costs are a stored matrix.
    """
    if formula.y is None:
        msg = "Ragged batches need points: got a stored matrix. Solve the problems one by one."
        raise TypeError(msg)
    (log_a, log_b), (f, g), (x_starts, y_starts) = weights, potentials, starts
    tiles: Tiles = default_tiles(formula)
    error = f.new_zeros(x_starts.shape[0] - 1)
    p, q = f + log_a, g + log_b
    if error.numel():
        with on_device(f):
            sinkhorn_ragged_kernel[(error.shape[0],)](
                log_a=log_a.contiguous(),
                log_b=log_b.contiguous(),
                f=f,
                g=g,
                p=p,
                q=q,
                error=error,
                x_starts=x_starts,
                y_starts=y_starts,
                steps=steps,
                offset=float(formula.offset),
                damping_a=float(dampings[0]),
                damping_b=float(dampings[1]),
                ROWS=tiles.rows,
                COLUMNS=tiles.columns,
                FEATURES=tiles.features,
                PRECISION=dot_precision("float32"),
                num_warps=tiles.warps,
                **kernel_costs(formula, epsilon),
            )
    return error
