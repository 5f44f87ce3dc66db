"""Anderson's acceleration of a fixed-point iteration."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

RANK = 1e-7  # singular values, of the largest, below which a direction is rounding


class Anderson:
    """Mixes the last points and steps of an iteration so that the mixed step is least.

        min_c |s_k - sum_j c_j (s_(j+1) - s_j)|,    x_(k+1) = x_k + s_k - sum_j c_j (x_(j+1) - x_j + s_(j+1) - s_j)

    For linear iterations this is GMRES, so that a few isolated slow modes cost about one step each. Time O(N K^2).

    Args:
        memory: K, differences that are kept; 0 leaves the steps as they are.
        weights: Of the coordinates in the norm, shape (N,).

    References:
        [WalkerNi2011]
    """

    def __init__(self, memory: int, weights: Tensor) -> None:
        self.root = weights.double().sqrt()
        self.points = deque[Tensor](maxlen=memory + 1)
        self.steps = deque[Tensor](maxlen=memory + 1)

    def forget(self) -> None:
        """Begin anew: what came before does not tell about what follows."""
        self.points.clear()
        self.steps.clear()

    def next(self, point: Tensor, step: Tensor) -> Tensor:
        """The point to go on from.

        Args:
            point: x_k, shape (N,).
            step: s_k, where the iteration would go from there, less x_k.

        Returns:
            x_(k+1), in the dtype of the point.
        """
        self.points.append(point.double())
        self.steps.append(step.double())
        if len(self.steps) < 2:
            return point + step
        points, steps = (torch.stack(list(kept), 1).diff(dim=1) for kept in (self.points, self.steps))
        basis, triangle = torch.linalg.qr(self.root[:, None] * steps)
        share = torch.linalg.pinv(triangle, rtol=RANK) @ (basis.T @ (self.root * self.steps[-1]))
        return (self.points[-1] + self.steps[-1] - (points + steps) @ share).to(point)
