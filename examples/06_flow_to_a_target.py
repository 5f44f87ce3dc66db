"""Let points flow down a loss at three temperatures: without debiasing they stop short of the target and huddle."""

import matplotlib.pyplot as plt
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.collections import PathCollection

import isotherm

STEPS, RATE = 40, 0.12  # a step of 0.5 would jump to the mean of each point's targets
TEMPERATURES = (0.01, 0.1, 1.0)  # squared lengths, in a target two wide

generator = torch.Generator().manual_seed(0)
angle = 2.0 * torch.pi * torch.rand(300, generator=generator)
ring = torch.stack([angle.cos(), angle.sin()], 1) * (0.9 + 0.05 * torch.randn(300, 1, generator=generator))
start = 0.15 * torch.randn(300, 2, generator=generator) + torch.tensor([-0.3, 0.2])


def flow(loss: torch.nn.Module) -> list[torch.Tensor]:
    """Where the points are after each step down the gradient per unit of mass."""
    points, path = start.clone().requires_grad_(), [start]
    for _ in range(STEPS):
        (pull,) = torch.autograd.grad(loss(points, ring), points)
        points = (points - RATE * len(points) * pull).detach().requires_grad_()
        path.append(points.detach())
    return path


def spread(points: torch.Tensor) -> float:
    """Root mean square distance from the mean."""
    return float((points - points.mean(0)).square().sum(1).mean().sqrt())


paths = {}
print(f"target: spread {spread(ring):.3f}")
for epsilon in TEMPERATURES:
    for loss in (isotherm.EntropicValue(epsilon=epsilon), isotherm.SinkhornDivergence(epsilon=epsilon)):
        name = f"{type(loss).__name__}, epsilon {epsilon:g}"
        paths[name] = flow(loss)
        left = float(isotherm.sliced_wasserstein(paths[name][-1], ring))
        print(f"{name:<33} spread {spread(paths[name][-1]):.3f}, sliced Wasserstein to the target {left:.1e}")

figure, panels = plt.subplots(2, 3, figsize=(9, 6.4), sharex=True, sharey=True, layout="constrained")
clouds = []
for panel, (name, path) in zip(panels.T.flat, paths.items(), strict=True):
    panel.scatter(*ring.T, s=5, color="0.8")
    clouds.append((panel.scatter(*path[0].T, s=5, color="tab:red"), path))
    panel.set(title=name, aspect="equal", xlim=(-1.4, 1.4), ylim=(-1.4, 1.4), xticks=[], yticks=[])


def draw(step: int) -> list[PathCollection]:
    """Move every cloud to where it is after a step."""
    for cloud, path in clouds:
        cloud.set_offsets(path[step])
    return [cloud for cloud, _ in clouds]


film = FuncAnimation(figure, draw, frames=[*range(STEPS + 1), *[STEPS] * 10])
film.save("flow_to_a_target.gif", writer=PillowWriter(fps=12), dpi=80)
print("film: flow_to_a_target.gif")
