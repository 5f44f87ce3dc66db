"""Device side shared by all Triton kernels: loads with their masks, base costs of a tile, a compensated sum."""

# ruff: noqa: PLR0913, PLR0917 - a kernel takes its pointers, sizes and strides one by one
# Triton is imported by name, so that its types are not known here:
# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from isotherm.kernels.triton_import import tl, triton


@triton.jit
def load_vector(pointer, index, size, other):
    """Entries of a vector, `other` past its end."""
    return tl.load(pointer + index, mask=index < size, other=other)


@triton.jit
def load_tile(pointer, rows, columns, n, m, row_stride, column_stride):
    """Entries of a matrix, zero past its ends; offsets in 64 bits."""
    offsets = rows.to(tl.int64)[:, None] * row_stride + columns.to(tl.int64)[None, :] * column_stride
    return tl.load(pointer + offsets, mask=(rows[:, None] < n) & (columns[None, :] < m), other=0.0)


@triton.jit
def load_coordinate(points, index, size, d, D: tl.constexpr):
    """Coordinate d of some points, zero past their end and past D."""
    return tl.load(points + index.to(tl.int64) * D + d, mask=(index < size) & (d < D), other=0.0)


@triton.jit
def squared_differences(x, y, rows, columns, n, m, D: tl.constexpr):
    """|x_i - y_j|^2 by differences, one coordinate after the other: exact where points are close."""
    shift = load_coordinate(x, rows, n, 0, D)[:, None] - load_coordinate(y, columns, m, 0, D)[None, :]
    total = shift * shift
    if D <= 8:
        for d in tl.static_range(1, D):
            shift = load_coordinate(x, rows, n, d, D)[:, None] - load_coordinate(y, columns, m, d, D)[None, :]
            total += shift * shift
    else:
        for d in range(1, D):
            shift = load_coordinate(x, rows, n, d, D)[:, None] - load_coordinate(y, columns, m, d, D)[None, :]
            total += shift * shift
    return total


@triton.jit
def base_costs(
    x,
    y,
    rows,
    columns,
    n,
    m,
    x_row,
    x_column,
    D: tl.constexpr,
    KIND: tl.constexpr,
    FEATURES: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A tile of base costs, (rows, columns): |x - y|^2, |x - y|, x.y or entries of the stored matrix x."""
    if KIND == "stored":
        base = load_tile(x, rows, columns, n, m, x_row, x_column)
    elif KIND == "euclidean":
        base = root(squared_differences(x, y, rows, columns, n, m, D))
    elif KIND == "sqeuclidean" and D <= 8:
        base = squared_differences(x, y, rows, columns, n, m, D)
    else:
        dtype: tl.constexpr = x.dtype.element_ty
        base = tl.zeros((rows.shape[0], columns.shape[0]), dtype)
        x_norms = tl.zeros((rows.shape[0],), dtype)
        y_norms = tl.zeros((columns.shape[0],), dtype)
        for start in range(0, D, FEATURES):
            features = start + tl.arange(0, FEATURES)
            x_tile = load_tile(x, rows, features, n, D, D, 1)
            y_tile = load_tile(y, columns, features, m, D, D, 1)
            base = tl.dot(x_tile, tl.trans(y_tile), base, input_precision=PRECISION, out_dtype=dtype)
            if KIND == "sqeuclidean":
                x_norms += tl.sum(x_tile * x_tile, 1)
                y_norms += tl.sum(y_tile * y_tile, 1)
        if KIND == "sqeuclidean":
            base = tl.maximum(x_norms[:, None] + y_norms[None, :] - 2.0 * base, 0.0)
    return base


@triton.jit
def root(squares):
    """Square root, rounded to nearest; tl.sqrt is an approximation in float32."""
    return tl.sqrt_rn(squares) if squares.dtype == tl.float32 else tl.sqrt(squares)


@triton.jit
def add_compensated(total, lost, term):
    """One step of Kahan's sum: the new total and what its rounding lost."""
    corrected = term - lost
    grown = total + corrected
    return grown, (grown - total) - corrected
