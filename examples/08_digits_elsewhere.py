"""Domain adaptation: labelled digits, and digits of other writers, turned and faded, without labels."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.ndimage import rotate
from sklearn.datasets import load_digits

import isotherm

images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8) / 16.0
source, target = images[:900], images[900:]  # other writers
target = 0.3 + 0.4 * np.stack([rotate(image, 15.0, reshape=False, order=1) for image in target])
known, hidden = torch.from_numpy(labels[:900]), torch.from_numpy(labels[900:])
x, y = (torch.from_numpy(side).float().flatten(1) for side in (source, target))


def accuracy(reference: torch.Tensor) -> float:
    """Share of target digits whose nearest reference image has their label."""
    return float((known[torch.cdist(y, reference).argmin(1)] == hidden).float().mean())


print(f"nearest source digit:           {accuracy(x):.1%} right")
print(f"nearest after centring:         {accuracy(x - x.mean(0) + y.mean(0)):.1%} right")
moved = {}
for share in (0.005, 0.02, 0.1):
    solution = isotherm.solve(x, y, epsilon=isotherm.Relative(share))
    moved[share] = solution.coupling.barycentric_map()  # each source digit among the target digits it is coupled to
    votes = solution.coupling.transpose().apply(torch.nn.functional.one_hot(known).float())
    by_plan = float((votes.argmax(1) == hidden).float().mean())
    print(
        f"epsilon {share:5.1%} of the mean cost: {accuracy(moved[share]):.1%} right, {by_plan:.1%} by the plan's votes"
    )

figure, panels = plt.subplots(4, 10, figsize=(9, 4), layout="constrained")
rows = {"source": x, "moved, 2 %": moved[0.02], "moved, 10 %": moved[0.1]}
for digit in range(10):
    first = int((known == digit).nonzero()[0])
    pictures = [cloud[first] for cloud in rows.values()] + [y[int((hidden == digit).nonzero()[0])]]
    for panel, picture in zip(panels[:, digit], pictures, strict=True):
        panel.imshow(picture.reshape(8, 8), cmap="gray", vmin=0.0, vmax=1.0)
        panel.set(xticks=[], yticks=[])
for panel, name in zip(panels[:, 0], [*rows, "target"], strict=True):
    panel.set_ylabel(name, fontsize=8)
figure.savefig("digits_elsewhere.png", dpi=110)
print("picture: digits_elsewhere.png")
