"""Barycenters of three shapes on a grid: what lies between them, with and without the blur of entropy."""

import matplotlib.pyplot as plt
import torch

import isotherm

size = 64
axis = torch.linspace(-1.0, 1.0, size)
rows, columns = torch.meshgrid(axis, axis, indexing="ij")
radius = (rows.square() + columns.square()).sqrt()

shapes = {
    "ring": (radius < 0.8) & (radius > 0.55),
    "cross": ((rows.abs() < 0.14) | (columns.abs() < 0.14)) & (torch.maximum(rows.abs(), columns.abs()) < 0.8),
    "two discs": ((rows - 0.4).square() + (columns - 0.4).square() < 0.09)
    | ((rows + 0.4).square() + (columns + 0.4).square() < 0.09),
}
images = [mask / mask.sum() for mask in shapes.values()]
grid = isotherm.Grid((axis, axis))
mixes = {"1/3 of each": (1, 1, 1), "ring and cross": (1, 1, 0), "cross and discs": (0, 1, 1)}

figure, panels = plt.subplots(3, 3, figsize=(7, 7.4), layout="constrained")
for panel, name, image in zip(panels[0], shapes, images, strict=True):
    panel.imshow(image, cmap="magma")
    panel.set_title(name)
for column, (name, weights) in enumerate(mixes.items()):
    for row, debiased in ((1, True), (2, False)):
        found = isotherm.barycenter(
            images, weights, epsilon=0.004, support=grid, debiased=debiased, tolerance=2e-3, max_iterations=1000
        )
        panels[row, column].imshow(found.weights, cmap="magma")
        panels[row, column].set_title(f"{name}, {'debiased' if debiased else 'plain'}")
        print(found)
for panel in panels.flat:
    panel.set_axis_off()
figure.savefig("between_images.png", dpi=110)
