"""What a cause would look like, where that is linear."""

from __future__ import annotations

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
        if self.matrix.ndim != 2:
            msg = f"`matrix` must have shape (D, K): got {tuple(self.matrix.shape)}. Pass one row per observed feature."
            raise ValueError(msg)
        check_finite(self.matrix, "matrix")
        if self.offset is not None:
            if self.offset.shape != self.matrix.shape[:1]:
                msg = f"`offset` must have shape ({self.matrix.shape[0]},): got {tuple(self.offset.shape)}. Pass one entry per row of `matrix`."
                raise ValueError(msg)
            check_finite(self.offset, "offset")

    def __call__(self, z: Tensor) -> Tensor:
        """Shape (..., D) for z of shape (..., K)."""
        out = z @ self.matrix.T
        return out if self.offset is None else out + self.offset

    def misfit(self, x: Tensor) -> Tensor:
        """x - b, shape (n, D)."""
        return x if self.offset is None else x - self.offset
