"""The ellipses of Genevay et al. 2018 on iris, at four temperatures; writes benchmarks/results/models-iris.json.

    python -m benchmarks.models.iris                        # some minutes
    python -m benchmarks.models.iris --quick                # whether it runs

Their protocol: 150 irises on three principal axes; mu_theta = 1/3 sum_k (A_k z + alpha_k), z uniform in the unit ball, A_k = I
and alpha by k-means to begin with; 200 points made in each step, 20 iterations of Sinkhorn, RMSProp, the sharp loss
2 W(x, y) - W(x, x) - W(y, y). Counted is how many irises of each class lie in each ellipsoid. The text of the paper cannot be
told |x - y| from |x - y|^2, nor does it give a learning rate or a number of steps: both costs are run.
"""

from __future__ import annotations

from typing import Any

import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from benchmarks.models.gather import gather, parser
from benchmarks.models.results import heading
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
    options = parser("iris", "Ellipsoids on iris.", seeds="0,1,2", result=RESULT).parse_args(arguments)
    steps = 2 if options.quick else STEPS
    protocol = {"made": MADE, "iterations": ITERATIONS, "steps": steps, "learning_rate": LEARNING_RATE}
    x, labels = irises()
    result = heading("models-iris", protocol)
    result["published"], result["start"] = PUBLISHED, counts(Ellipsoids(start(x)), x, labels)
    tasks = [(name, epsilon, seed, steps) for name in COSTS for epsilon in EPSILONS for seed in options.seeds]
    gather(result, run, tasks, options=options, name=RESULT, told=told)


def run(cost: str, epsilon: float, seed: int, steps: int) -> dict[str, Any]:
    """Train three ellipsoids, and count."""
    x, labels = irises()
    model, value = fitted(x, start(x), epsilon, COSTS[cost], steps=steps, seed=seed)
    volume = float(model.axes.detach().det().abs().mean())
    found = {"counts": counts(model, x, labels), "loss": value, "volume": volume}
    return {"cost": cost, "epsilon": f"{epsilon:g}", "seed": seed, **found}


def irises() -> tuple[Tensor, Tensor]:
    """All 150 with their classes, shapes (150, 3) and (150,)."""
    data = load_data("iris")
    x = torch.cat([data.train, data.test]).double()
    return x, torch.cat([parts(data.train_labels), parts(data.test_labels)])


def start(x: Tensor) -> Tensor:
    """Centres by k-means, shape (3, D)."""
    starts: Any = 10
    return torch.from_numpy(KMeans(3, n_init=starts, random_state=0).fit(x.numpy()).cluster_centers_)


def told(row: dict[str, Any]) -> str:
    """A row in a line."""
    return f"{row['cost']} {row['epsilon']} seed {row['seed']}: {row['counts']}, volumes {row['volume']:.2f}"


def parts(labels: Tensor | None) -> Tensor:
    """The labels, which iris has."""
    assert labels is not None, "this is our bug: iris has classes"
    return labels


if __name__ == "__main__":
    main()
