"""The ellipses of Genevay et al. 2018 on iris, at four temperatures; writes benchmarks/results/models-iris.json.

    python -m benchmarks.models.iris                        # some minutes
    python -m benchmarks.models.iris --quick                # whether it runs

Their protocol: 150 irises on three principal axes; mu_theta = 1/3 sum_k (A_k z + alpha_k), z uniform in the unit ball, A_k = I
and alpha by k-means to begin with; 200 points made in each step, 20 iterations of Sinkhorn, RMSProp, the sharp loss
2 W(x, y) - W(x, x) - W(y, y). Counted is how many irises of each class lie in each ellipsoid. The text of the paper cannot be
told |x - y| from |x - y|^2, nor does it give a learning rate or a number of steps: both costs are run.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from benchmarks.models.results import heading, write
from isotherm.divergences import Unroll, mmd, transport_cost
from isotherm.models import load_data
from isotherm.models.streams import Streams

RESULT = "models-iris.json"
MADE, ITERATIONS, STEPS, LEARNING_RATE = 200, 20, 500, 0.01
EPSILONS = (float("inf"), 1.0, 0.1, 0.001)  # infinity: their MMD
COSTS = {"squared": "sqeuclidean", "plain": "euclidean"}
PUBLISHED = {  # table 1: ellipse i, class j
    "inf": [[36, 0, 0], [0, 39, 13], [0, 11, 42]],
    "1": [[50, 0, 0], [0, 50, 38], [0, 36, 47]],
    "0.1": [[44, 0, 0], [0, 38, 5], [0, 8, 40]],
    "0.001": [[33, 0, 0], [0, 37, 3], [0, 12, 25]],
}


class Ellipsoids(nn.Module):
    """Points of the unit ball, carried into one ellipsoid each in turn: z_i -> A_k z_i + alpha_k, k = i mod 3.

    Args:
        centres: alpha to begin with, shape (3, D).
    """

    def __init__(self, centres: Tensor) -> None:
        super().__init__()
        self.centres = nn.Parameter(centres.clone())
        self.axes = nn.Parameter(torch.eye(centres.shape[1], dtype=centres.dtype).repeat(len(centres), 1, 1))

    def forward(self, z: Tensor) -> Tensor:
        """Shape (n, D), for z (n, D)."""
        part = torch.arange(len(z)) % len(self.centres)
        return (self.axes[part] @ z[:, :, None])[:, :, 0] + self.centres[part]

    @torch.no_grad()
    def inside(self, x: Tensor) -> Tensor:
        """Whether each point lies in each ellipsoid, shape (n, 3)."""
        away = x[:, None] - self.centres  # (n, 3, D)
        return torch.linalg.solve(self.axes, away[..., None])[..., 0].norm(dim=2) <= 1.0


def ball(count: int, dimension: int, generator: torch.Generator) -> Tensor:
    """Uniform in the unit ball, shape (count, dimension), float64."""
    z = torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    radius = torch.rand(count, 1, generator=generator, dtype=torch.float64) ** (1.0 / dimension)
    return z / z.norm(dim=1, keepdim=True) * radius


def loss(made: Tensor, x: Tensor, epsilon: float, cost: str) -> Tensor:
    """2 W(x, y) - W(x, x) - W(y, y), W the cost of the plan after 20 iterations; at infinity twice the MMD of -cost."""
    if epsilon == float("inf"):
        return 2.0 * mmd(made, x, cost=cost)
    settings: dict[str, Any] = {"epsilon": epsilon, "cost": cost, "differentiation": Unroll(ITERATIONS)}
    across, first, second = (transport_cost(*pair, **settings) for pair in ((made, x), (made, made), (x, x)))
    return 2.0 * across - first - second


def fitted(x: Tensor, centres: Tensor, epsilon: float, cost: str, *, steps: int, seed: int) -> tuple[Ellipsoids, float]:
    """The ellipsoids after training, and the loss of the last step."""
    model, generator = Ellipsoids(centres), Streams(seed)["noise"]
    optimiser, value = torch.optim.RMSprop(model.parameters(), lr=LEARNING_RATE), torch.tensor(0.0)
    for _ in range(steps):
        value = loss(model(ball(MADE, x.shape[1], generator)), x, epsilon, cost)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    return model, float(value.detach())


def counts(model: Ellipsoids, x: Tensor, labels: Tensor) -> list[list[int]]:
    """Irises of class j in ellipsoid i; the ellipsoids ordered by the class that they hold most of."""
    inside = model.inside(x).double()
    table = inside.T @ nn.functional.one_hot(labels, 3).double()  # (ellipsoid, class)
    orders = torch.cartesian_prod(*[torch.arange(3)] * 3)
    orders = orders[[len(set(order.tolist())) == 3 for order in orders]]
    best = max(orders, key=lambda order: float(table[order, torch.arange(3)].sum()))
    return table[best].int().tolist()


def main(arguments: list[str] | None = None) -> None:
    """Run both costs at four temperatures."""
    options = parse(arguments)
    torch.set_num_threads(1)
    began, data = time.time(), load_data("iris")
    x, labels = (
        torch.cat([data.train, data.test]).double(),
        torch.cat([parts(data.train_labels), parts(data.test_labels)]),
    )
    steps = 2 if options.quick else STEPS
    protocol = {"made": MADE, "iterations": ITERATIONS, "steps": steps, "learning_rate": LEARNING_RATE}
    result = heading("models-iris", protocol)
    result["published"] = PUBLISHED
    starts: Any = 10
    means = KMeans(3, n_init=starts, random_state=0).fit(x.numpy())
    centres = torch.from_numpy(means.cluster_centers_)
    result["start"] = counts(Ellipsoids(centres), x, labels)
    for name, cost in COSTS.items():
        for epsilon in EPSILONS:
            for seed in [int(word) for word in options.seeds.split(",")]:
                model, value = fitted(x, centres, epsilon, cost, steps=steps, seed=seed)
                table = counts(model, x, labels)
                volume = model.axes.detach().det().abs().mean()
                row = {"cost": name, "epsilon": f"{epsilon:g}", "seed": seed, "counts": table, "loss": value}
                result["rows"].append({**row, "volume": float(volume)})
                result["wall_s"] = time.time() - began
                write(result, options.output, RESULT)
                print(f"{name} {epsilon:g} seed {seed}: {table}, volumes {float(volume):.2f}", file=sys.stderr)


def parts(labels: Tensor | None) -> Tensor:
    """The labels, which iris has."""
    assert labels is not None, "this is our bug: iris has classes"
    return labels


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models.iris", description="Ellipsoids on iris.")
    parser.add_argument("--seeds", default="0", help="of the noise")
    parser.add_argument("--quick", action="store_true", help="two steps of each: whether it runs")
    parser.add_argument("--output", type=Path, help=f"JSON file, by default benchmarks/results/{RESULT}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
