"""A cloud in cells: points that are close together stand next to each other, in runs of any power of two."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm.kernels import Cells, sort_into_cells


@dataclass(frozen=True, eq=False)
class Clusters:
    """A hierarchy of cells over N points, which is nothing but an order of the points.

    Boxes are halved across their widest side, at a power of two of points, until a pair is left. Each run of 2^k points
    that starts at a multiple of 2^k is then a compact cell; runs of 2^(k + 1) hold two of them. Works in any dimension,
    and adapts to clusters, lines and anisotropy.

    Attributes:
        points: The cloud, shape (N, D), float64, in the order of the cells.
        order: Where each of them stands in the user's cloud, shape (N,), int64.

    Example:
        >>> cloud = Clusters.of(torch.tensor([[0.0], [9.0], [0.1], [9.1]]))
        >>> cloud.centroids(torch.ones(4) / 4, 2)[0].flatten()
        tensor([0.0500, 9.0500], dtype=torch.float64)
    """

    points: Tensor
    order: Tensor

    @staticmethod
    def of(points: Tensor) -> Clusters:
        """The cells of a cloud; time O(N log N).

        Args:
            points: The cloud, shape (N, D), on the CPU.

        Returns:
            Its cells.
        """
        double = points.detach().double().contiguous()
        order = sort_into_cells(double)
        return Clusters(double[order], order)

    def in_order(self) -> Clusters:
        """The same cells of the cloud that has its points in their order."""
        return Clusters(self.points, torch.arange(len(self.order)))

    def centroids(self, weights: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Every cell as one point.

        Args:
            weights: Weights of the points in the user's order, shape (N,), non-negative.
            size: Points of a cell, a power of two.

        Returns:
            Weighted means, shape (cells, D), plain means where a cell has no weight; and the cells' weights, shape
            (cells,); both float64.
        """
        mass = in_cells(weights.double()[self.order], size, 0.0)  # (cells, size)
        total = mass.sum(1)
        shares = torch.where(total[:, None] > 0, mass / total[:, None], _counts(len(self.order), size))
        return (in_cells(self.points, size, 0.0) * shares[:, :, None]).sum(1), total

    def spread(self, weights: Tensor, size: int) -> float:
        """Mean squared distance of a point from the centroid of its cell, by weight; arguments as in `centroids`."""
        centres, total = self.centroids(weights, size)
        apart = (self.points - centres.repeat_interleave(size, 0)[: len(self.points)]).square().sum(1)
        return float(weights.double()[self.order] @ apart / total.sum())

    def cells(self, potential: Tensor, weights: Tensor, size: int, *, curvature: float | None) -> Cells:
        """What bounds the plan over each cell: its box, and a linear function above a potential.

            f_i - curvature |x_i|^2 <= top + slope . (x_i - centre)   for all i of the cell

        The slope is that of a least-squares fit: near an optimum f - |x|^2 is close to linear over a small cell, so
        the bound is close.

        Args:
            potential: f in the user's order, shape (N,), finite, units of cost.
            weights: Weights of the points in the user's order, shape (N,).
            size: Points of a cell, a power of two.
            curvature: Factor of |x|^2, units of cost per squared length; None leaves out |x|^2 and the slope.

        Returns:
            The cells as the kernels take them, with f - curvature |x|^2 for the potential.
        """
        points = in_cells(self.points, size, None)  # (cells, size, D)
        tilted = potential.double()[self.order]
        if curvature is not None:
            tilted = tilted - curvature * self.points.square().sum(1)
        values = in_cells(tilted, size, None)  # (cells, size)
        low, high = points.amin(1), points.amax(1)
        centre = (low + high) / 2
        apart = points - centre[:, None]
        slope = torch.zeros_like(centre) if curvature is None else _slopes(apart, values)  # (cells, D)
        top = (values - (apart @ slope[:, :, None])[:, :, 0]).amax(1)
        mass = in_cells(weights.double()[self.order], size, 0.0).sum(1)
        table = torch.cat([centre, (high - low) / 2, slope, top[:, None], mass[:, None]], dim=1)
        return Cells(table, torch.cat([points, values[:, :, None]], dim=2).transpose(1, 2).contiguous())


def in_cells(values: Tensor, size: int, padding: float | None) -> Tensor:
    """Values of the points in runs of `size`, shape (cells, size, ...).

    Args:
        values: One row per point in the order of the cells, shape (N, ...).
        size: Points of a cell.
        padding: What fills the last cell up; None repeats the last point.

    Returns:
        A view where the runs come out even.
    """
    missing = -len(values) % size
    if missing:
        last = values[-1:].expand(missing, *values.shape[1:])
        values = torch.cat([values, last if padding is None else torch.full_like(last, padding)])
    return values.reshape(-1, size, *values.shape[1:])


def _counts(points: int, size: int) -> Tensor:
    """Equal shares of the points of each cell, shape (cells, size)."""
    present = in_cells(torch.ones(points, dtype=torch.float64), size, 0.0)
    return present / present.sum(1, keepdim=True)


def _slopes(apart: Tensor, values: Tensor) -> Tensor:
    """Least-squares slopes of values over points, shape (cells, D), shrunk a little where the points span less."""
    apart = apart - apart.mean(1, keepdim=True)
    gram = apart.transpose(1, 2) @ apart  # (cells, D, D)
    scale = gram.diagonal(dim1=1, dim2=2).sum(1)
    ridge = (1e-6 * scale + torch.finfo(torch.float64).tiny)[:, None, None]
    eye = torch.eye(apart.shape[2], dtype=torch.float64)
    right = (apart * (values - values.mean(1, keepdim=True))[:, :, None]).sum(1)
    return torch.linalg.solve(gram + ridge * eye, right)
