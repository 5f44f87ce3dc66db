"""What a cause would look like, where that is linear in all its numbers, or in the last of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from isotherm._checks import check_finite


@dataclass(frozen=True, eq=False)
class LinearForward:
    """A(z) = W z + b, known to be linear: candidates are then drawn given the observation, not before it.

    Attributes:
        matrix: W, shape (D, K).
        offset: b, shape (D,); zero when left out.

    Raises:
        ValueError: Shapes that do not fit, or entries that are no numbers.

    Example:
        >>> import torch
        >>> LinearForward(torch.tensor([[2.0], [0.0]]))(torch.tensor([[3.0]]))
        tensor([[6., 0.]])
    """

    matrix: Tensor  # (D, K)
    offset: Tensor | None = None  # (D,)

    def __post_init__(self) -> None:
        check_matrix(self.matrix)
        if self.offset is not None:
            if self.offset.shape != self.matrix.shape[:1]:
                msg = f"`offset` must have shape ({self.matrix.shape[0]},): got {tuple(self.offset.shape)}. Pass one entry per row of `matrix`."
                raise ValueError(msg)
            check_finite(self.offset, "offset")

    def __call__(self, z: Tensor) -> Tensor:
        """Shape (..., D) for z of shape (..., K)."""
        out = z @ self.matrix.T
        return out if self.offset is None else out + self.offset

    def rest(self, z: Tensor) -> Tensor:
        """What A is where its linear numbers are zero: b, for each of M causes without numbers; shape (M, D)."""
        still = z.new_zeros(len(self.matrix)) if self.offset is None else self.offset
        return still.expand(len(z), len(self.matrix))


@dataclass(frozen=True, eq=False)
class PartlyLinearForward:
    """A(z) = f(z_1 .. z_k) + W (z_{k+1} .. z_K): candidates of the first numbers are drawn, the last are integrated out.

    The k numbers say what bends, the other L = K - k are a Gaussian about it: W W' is what f leaves unexplained. Given x and
    the first numbers, the last are Gaussian, whatever f is; so few numbers have to be found by chance, however large L is.

    Attributes:
        nonlinear: f, (n, k) -> (n, ...).
        matrix: W, shape (D, L), D the number of elements of a value of f.

    Raises:
        ValueError: A matrix that is none, or entries that are no numbers.

    Example:
        >>> import torch
        >>> forward = PartlyLinearForward(torch.square, torch.eye(1))
        >>> forward(torch.tensor([[3.0, 0.5]]))
        tensor([[9.5000]])
    """

    nonlinear: Callable[[Tensor], Tensor]
    matrix: Tensor  # (D, L)

    def __post_init__(self) -> None:
        check_matrix(self.matrix)

    def __call__(self, z: Tensor) -> Tensor:
        """Shape (n, ...) for z of shape (n, K)."""
        size = z.shape[1] - self.matrix.shape[1]
        values = self.rest(z[:, :size])
        return values + (z[:, size:] @ self.matrix.T).view_as(values)

    def rest(self, z: Tensor) -> Tensor:
        """What A is where its linear numbers are zero: f, shape (M, ...) for z of shape (M, k)."""
        return self.nonlinear(z)


def check_matrix(matrix: Tensor) -> None:
    """A matrix, all numbers."""
    if matrix.ndim != 2:
        msg = f"`matrix` must have shape (D, K): got {tuple(matrix.shape)}. Pass one row per observed feature."
        raise ValueError(msg)
    check_finite(matrix, "matrix")
