"""Costs given as a matrix."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm import kernels
from isotherm._arrays import ArrayLike, Namespace, namespace_of, to_tensor
from isotherm._checks import check_matrix
from isotherm.geometry.abstract import AbstractGeometry, AbstractPairwise, refuse_new_points

CACHED_ENTRIES = 1 << 22  # cost matrices of at most this many entries (16 MiB in float32) are kept between passes


@dataclass(frozen=True, eq=False, init=False, repr=False)
class CostMatrix(AbstractPairwise):
    """Costs known only as a matrix: graphs, edit distances, anything computed elsewhere.

    Args:
        matrix: C, shape (N, M), finite, in any unit; epsilon is in the same unit. NumPy or torch.

    Raises:
        ValueError: Wrong rank, empty, or not finite. To forbid a pair use `reference` with a zero there.

    Example:
        >>> CostMatrix([[0.0, 1.0], [1.0, 0.0]])
        CostMatrix(2 x 2, torch.float64, cpu)
    """

    matrix: Tensor
    _namespace: Namespace

    def __init__(self, matrix: ArrayLike) -> None:
        self._set(check_matrix(to_tensor(matrix, "cost matrix"), "cost matrix"), namespace_of(matrix))

    def _set(self, matrix: Tensor, namespace: Namespace) -> None:
        object.__setattr__(self, "matrix", matrix)
        object.__setattr__(self, "_namespace", namespace)

    def __repr__(self) -> str:
        return f"CostMatrix({self.shape[0]} x {self.shape[1]}, {self.dtype}, {self.device})"

    @property
    def namespace(self) -> Namespace:
        """Library of the arrays it was made from."""
        return self._namespace

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the matrix."""
        return self.matrix.dtype

    @property
    def device(self) -> torch.device:
        """Device of the matrix."""
        return self.matrix.device

    @property
    def source_points(self) -> None:
        """None: only costs are known."""

    @property
    def target_points(self) -> None:
        """None: only costs are known."""

    @property
    def coordinate_scale(self) -> float:
        """Largest |C_ij|: the matrix is given, its own rounding is all there is."""
        least, greatest = self.matrix.detach().aminmax()  # without a copy, which abs() would be
        return max(-float(least), float(greatest))

    def transpose(self) -> CostMatrix:
        """The transposed matrix, a view."""
        return stored_costs(self.matrix.T, self.namespace)

    def detach(self) -> CostMatrix:
        """The matrix outside every autograd graph."""
        return stored_costs(self.matrix.detach(), self.namespace)

    def double(self) -> CostMatrix:
        """The matrix in float64."""
        return stored_costs(self.matrix.double(), self.namespace)

    def for_iteration(self) -> CostMatrix:
        """Itself, with rows next to each other in memory unless that copy would be large."""
        if self.matrix.is_contiguous() or self.matrix.numel() > CACHED_ENTRIES:
            return self
        return stored_costs(self.matrix.contiguous(), self.namespace)

    def block(self, rows: slice | Tensor) -> Tensor:
        """Rows of the matrix, shape (n, M)."""
        return self.matrix[rows]

    def formula(self) -> kernels.Formula:
        """The stored matrix."""
        return kernels.Formula("stored", self.matrix)

    def plan_cost(self, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
        """See `isotherm.kernels.plan_cost`."""
        return kernels.plan_cost(self, p, q, epsilon=epsilon)

    def product_cost(self, a: Tensor, b: Tensor) -> Tensor:
        """sum_ij a_i C_ij b_j; see `isotherm.kernels.product_sum`."""
        return kernels.product_sum(self, a, b)

    def product_square_deviation(self, a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
        """sum_ij a_i (C_ij - centre)^2 b_j; see `isotherm.kernels.product_sum`."""
        return kernels.product_sum(self, a, b, centre=centre)

    def extend(self, x_new: Tensor) -> AbstractGeometry:
        """Not possible: a matrix holds no cost for points outside it."""
        raise refuse_new_points(self)


def stored_costs(matrix: Tensor, namespace: Namespace) -> CostMatrix:
    """A `CostMatrix` around computed costs, without the checks of public input."""
    geometry = object.__new__(CostMatrix)
    geometry._set(matrix, namespace)
    return geometry
