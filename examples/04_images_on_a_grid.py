"""Couple two images as masses on a grid: passes cost the sum of the axes, not their product."""

import torch

import isotherm

size = 48
axis = torch.arange(size, dtype=torch.float64)
rows, columns = torch.meshgrid(axis, axis, indexing="ij")


def blob(row: float, column: float, width: float) -> torch.Tensor:
    """A Gaussian spot of mass one."""
    image = torch.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * width**2))
    return image / image.sum()


source = 0.5 * blob(12, 12, 3) + 0.5 * blob(34, 14, 4)
target = blob(24, 36, 5)

solution = isotherm.solve(isotherm.Grid((axis, axis)), a=source, b=target, epsilon=(2.0) ** 2)  # blur of two pixels

print(solution)
print(f"root mean square displacement {float(solution.transport_cost) ** 0.5:.2f} pixels")
means = solution.coupling.barycentric_map().reshape(size, size, 2)
print("mass at (12, 12) goes to about", [round(float(v), 1) for v in means[12, 12]])
