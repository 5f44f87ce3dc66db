"""Conjugate gradients, for systems with the curvature of the dual."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


class Solved(NamedTuple):
    """The best solution met, the norm of its residual as it is, recomputed, and the products with the matrix."""

    solution: Tensor
    residual: float
    iterations: int

    def meets(self, floor: float) -> bool:
        """Whether the residual is at the floor; rounding parts what is true from what the recursion says."""
        return self.residual <= 2.0 * floor


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], wanted: Tensor, scaling: Tensor, *, floor: float, max_iterations: int
) -> Solved:
    """Solve a symmetric, positive semi-definite system, its right side within the range.

    Args:
        apply: The product with the matrix.
        wanted: Right side, shape (N,).
        scaling: About the inverse of the diagonal, shape (N,), not negative.
        floor: Norm of the residual at which to stop.
        max_iterations: Most products.

    Returns:
        Solution (N,), residual, number of products; ask `meets` whether it was enough.

    Example:
        >>> ones = torch.ones(2)
        >>> found = conjugate_gradients(lambda v: 2.0 * v, ones, ones, floor=1e-6, max_iterations=5)
        >>> found.solution, found.iterations
        (tensor([0.5000, 0.5000]), 1)
    """
    solution, residual = torch.zeros_like(wanted), wanted
    best, least = solution, float(residual.norm())
    search, size, count = torch.zeros_like(wanted), 0.0, 0
    while least > floor and count < max_iterations:
        scaled = scaling * residual
        size, before = float(residual @ scaled), size
        search = scaled + (size / before) * search if before else scaled
        image = apply(search)
        curvature = float(search @ image)
        if not curvature > 0:  # rounding: nothing is left to find
            break
        solution, residual = solution + (size / curvature) * search, residual - (size / curvature) * image
        count += 1
        norm = float(residual.norm())
        if norm < least:
            best, least = solution, norm
    return Solved(best, float((wanted - apply(best)).norm()) if count else least, count)
