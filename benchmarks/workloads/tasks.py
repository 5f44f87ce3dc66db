"""The problems, generated from seeds: no data, and no import of any library under test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import KDTree
from torch import Tensor

INFINITE = math.inf


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """A transport problem min <C, P> + epsilon KL(P | a ⊗ b) (+ rho KL on unbalanced marginals), in float64.

    Attributes:
        x: Sources, shape (N, D); None where the costs are stored.
        y: Targets, shape (M, D).
        cost: "sqeuclidean", "dot" (minus the inner product) or "stored".
        matrix: Costs, shape (N, M), where they are stored.
        sizes: Shape of the grid that both sides live on; x and y hold its points.
        a: Weights of the sources, shape (N,), of sum one unless unbalanced.
        b: Weights of the targets, shape (M,).
        epsilon: Temperature, units of cost.
        rho_a: Price of missing the source marginal, units of cost.
        rho_b: Price of missing the target marginal.
    """

    x: Tensor | None = None
    y: Tensor | None = None
    cost: str = "sqeuclidean"
    matrix: Tensor | None = None
    sizes: tuple[int, ...] | None = None
    a: Tensor
    b: Tensor
    epsilon: float
    rho_a: float = INFINITE
    rho_b: float = INFINITE

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets."""
        return len(self.a), len(self.b)

    @property
    def pairs(self) -> int:
        """Entries of the plan."""
        return len(self.a) * len(self.b)

    @property
    def points(self) -> tuple[Tensor, Tensor]:
        """Both clouds, where the costs are not stored."""
        assert self.x is not None, "this is our bug: neither points nor costs"
        assert self.y is not None, "this is our bug: neither points nor costs"
        return self.x, self.y

    @property
    def is_balanced(self) -> bool:
        """Whether both marginals are constraints."""
        return math.isinf(self.rho_a) and math.isinf(self.rho_b)

    def costs(self, rows: slice | Tensor) -> Tensor:
        """Costs of some sources to all targets, shape (n, M), float64, squared distances from differences."""
        if self.matrix is not None:
            return self.matrix[rows]
        x, y = self.points
        if self.cost == "dot":
            return -x[rows] @ y.T
        if x.shape[1] > 8:  # in float64 the inner-product form is exact enough for centred points
            x = x[rows]
            return (x.square().sum(1)[:, None] + y.square().sum(1) - 2.0 * x @ y.T).clamp_(min=0.0)
        out = x.new_zeros(len(x[rows]), len(y))
        for k in range(x.shape[1]):
            out += (x[rows, k, None] - y[:, k]).square_()
        return out

    def transpose(self) -> Task:
        """The same problem with sides swapped."""
        matrix = None if self.matrix is None else self.matrix.T
        return replace(self, x=self.y, y=self.x, matrix=matrix, a=self.b, b=self.a, rho_a=self.rho_b, rho_b=self.rho_a)


Tasks = list[Task]  # more than one where many problems are solved together


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    """Numbers in [0, 1)."""
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def equal(n: int) -> Tensor:
    """Equal weights."""
    return torch.full((n,), 1.0 / n, dtype=torch.float64)


def mean_cost(task: Task) -> float:
    """sum_ij a_i b_j C_ij."""
    if task.matrix is not None:
        return float(task.a @ task.matrix @ task.b / (task.a.sum() * task.b.sum()))
    x, y = task.points
    a, b = task.a / task.a.sum(), task.b / task.b.sum()
    product = (a @ x) @ (b @ y)
    if task.cost == "dot":
        return float(-product)
    return float(a @ x.square().sum(1) + b @ y.square().sum(1) - 2.0 * product)


def heated(task: Task, share: float) -> Task:
    """At a temperature that is a share of the mean cost."""
    return replace(task, epsilon=share * mean_cost(task))


def blobs(n: int, share: float, *, seed: int = 0) -> Tasks:
    """1: uniform cube to eight Gaussian blobs, 3-D."""
    generator = torch.Generator().manual_seed(seed)
    centres = uniform(generator, 8, 3)
    y = centres[torch.arange(n) % 8] + 0.05 * normal(generator, n, 3)
    return [heated(Task(x=uniform(generator, n, 3), y=y, a=equal(n), b=equal(n), epsilon=1.0), share)]


def field(generator: torch.Generator, size: int, roughness: float) -> Tensor:
    """A Gaussian random field with spectrum |k|^-roughness, shape (size, size), standardised."""
    frequency = torch.fft.fftfreq(size, dtype=torch.float64) * size
    power = (frequency[:, None] ** 2 + frequency**2 + 1.0) ** (-roughness / 2.0)
    found = torch.fft.ifft2(torch.fft.fft2(normal(generator, size, size)) * power).real
    return (found - found.mean()) / found.std()


def image(generator: torch.Generator, size: int, kind: str) -> Tensor:
    """Weights on a grid, shape (size^2,), of sum one."""
    match kind:
        case "noise":
            weights = uniform(generator, size, size)
        case "shapes":
            axis = torch.arange(size, dtype=torch.float64) / size
            weights = torch.full((size, size), 1e-3, dtype=torch.float64)
            for _ in range(4):
                centre, radius = uniform(generator, 2), 0.08 + 0.12 * uniform(generator, 1)
                inside = (axis[:, None] - centre[0]) ** 2 + (axis - centre[1]) ** 2 < radius**2
                weights += inside.double() * uniform(generator, 1)
        case _:
            weights = field(generator, size, {"rough": 1.5, "smooth": 3.0}[kind]).exp()
    return (weights / weights.sum()).reshape(-1)


def grids(size: int, source: str, target: str, pixels: float, *, seed: int = 0) -> Tasks:
    """2: images on one grid of pixels, blur given in pixels."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.arange(size, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    a, b = image(generator, size, source), image(generator, size, target)
    return [Task(x=points, y=points, sizes=(size, size), a=a, b=b, epsilon=pixels**2)]


def embeddings(n: int, share: float, *, seed: int = 0) -> Tasks:
    """3: fifty clusters to fifty clusters in 64-D."""
    generator = torch.Generator().manual_seed(seed)
    x, y = (
        2.0 * normal(generator, 50, 64)[torch.randint(50, (n,), generator=generator)] + normal(generator, n, 64)
        for _ in range(2)
    )
    return [heated(Task(x=x, y=y, a=equal(n), b=equal(n), epsilon=1.0), share)]


def known_map(n: int, d: int, share: float, *, seed: int = 0) -> Tasks:
    """4: random images and the same images blurred; the optimal map is the blur."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.fft.rfftfreq(d, dtype=torch.float64) * d
    smooth = torch.fft.irfft(torch.fft.rfft(normal(generator, n, d)) * (1.0 + frequency) ** -1.0, n=d)
    x = smooth / smooth.std()
    blurred = torch.fft.irfft(torch.fft.rfft(x) * (-((frequency / 20.0) ** 2)).exp(), n=d)
    y = blurred[torch.randperm(n, generator=generator)]
    task = Task(x=x, y=y, a=equal(n), b=equal(n), epsilon=1.0)
    sample = task.costs(slice(0, min(n, 500)))
    return [replace(task, epsilon=share * float(sample.std()))]


def gaussians(n: int, d: int, share: float, *, seed: int = 0) -> Tasks:
    """5: samples of one Gaussian to samples of another."""
    generator = torch.Generator().manual_seed(seed)
    x, y = normal(generator, n, d), 0.7 * normal(generator, n, d) + 1.0 / math.sqrt(d)
    return [heated(Task(x=x, y=y, a=equal(n), b=equal(n), epsilon=1.0), share)]


def assignment(n: int, share: float, *, seed: int = 0) -> Tasks:
    """6: independent uniform costs."""
    matrix = uniform(torch.Generator().manual_seed(seed), n, n)
    return [heated(Task(cost="stored", matrix=matrix, a=equal(n), b=equal(n), epsilon=1.0), share)]


def paths(n: int, share: float, *, seed: int = 0) -> Tasks:
    """6: lengths of shortest paths in a random geometric graph, between two halves of its nodes."""
    generator = torch.Generator().manual_seed(seed)
    points = uniform(generator, 2 * n, 2).numpy()
    distance, neighbour = (np.asarray(found)[:, 1:] for found in KDTree(points).query(points, k=9))
    rows = torch.arange(2 * n).repeat_interleave(8).numpy()
    graph = coo_array((distance.ravel(), (rows, neighbour.ravel())), shape=(2 * n, 2 * n))
    lengths = torch.from_numpy(np.asarray(dijkstra(graph.tocsr(), directed=False, indices=range(n)))[:, n:])
    lengths = torch.where(lengths.isfinite(), lengths, 2.0 * lengths[lengths.isfinite()].max())
    return [heated(Task(cost="stored", matrix=lengths, a=equal(n), b=equal(n), epsilon=1.0), share)]


def batch(count: int, largest: int, *, seed: int = 0) -> Tasks:
    """7: many problems of different sizes and temperatures, 8-D."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        n, m = (int(largest // 8 + uniform(generator, 1) * largest * 7 // 8) for _ in range(2))
        share = 5e-3 * 20.0 ** float(uniform(generator, 1))
        x, y = normal(generator, n, 8), 0.8 * normal(generator, m, 8) + 0.3
        found.append(heated(Task(x=x, y=y, a=equal(n), b=equal(m), epsilon=1.0), share))
    return found


def cells(n: int, m: int, share: float, *, is_balanced: bool = False, seed: int = 0) -> Tasks:
    """8: populations of cells at two times in 30-D, growing at different rates; marginals soft as is usual there."""
    generator = torch.Generator().manual_seed(seed)
    spread = 3.0 * torch.arange(1, 31, dtype=torch.float64) ** -0.5
    kinds = spread * normal(generator, 20, 30)
    now, then = (torch.randint(20, (size,), generator=generator) for size in (n, m))
    x = kinds[now] + 0.5 * spread * normal(generator, n, 30)
    y = kinds[then] + 0.3 * spread * normal(generator, 20, 30)[then] + 0.5 * spread * normal(generator, m, 30)
    growth = (0.5 * normal(generator, 20)).exp()[now]
    task = heated(Task(x=x, y=y, a=growth / growth.sum(), b=equal(m), epsilon=1.0), share)
    if is_balanced:
        return [task]
    return [replace(task, rho_a=task.epsilon * 0.9 / 0.1, rho_b=task.epsilon * 0.9995 / 0.0005)]


def divergence(task: Task) -> Tasks:
    """9: the three solves behind a Sinkhorn divergence and its gradient."""
    own = [replace(task, x=p, y=p, a=w, b=w) for p, w in zip(task.points, (task.a, task.b), strict=True)]
    return [task, *own]


def flow_pairs(n: int, d: int, share: float, *, seed: int = 0) -> Tasks:
    """10: noise to points near a 20-dimensional manifold, inner-product cost."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.tanh(normal(generator, n, 20) @ normal(generator, 20, d) / math.sqrt(20.0))
    y = hidden + 0.1 * normal(generator, n, d)
    x = normal(generator, n, d)
    task = Task(x=x, y=y, cost="dot", a=equal(n), b=equal(n), epsilon=1.0)
    return [replace(task, epsilon=share * float(task.costs(slice(0, min(n, 500))).std()))]


def decoupled(n: int, share: float, *, seed: int = 0) -> Tasks:
    """11: far clusters in 16-D between which a little mass has to pass."""
    generator = torch.Generator().manual_seed(seed)
    centres = 4.0 * normal(generator, 10, 16)
    x = centres[torch.arange(n) % 10] + 0.3 * normal(generator, n, 16)
    counts = torch.multinomial(1.0 + 0.05 * uniform(generator, 10), n, replacement=True, generator=generator)
    y = centres[counts] + 0.3 * normal(generator, n, 16)
    return [heated(Task(x=x, y=y, a=equal(n), b=equal(n), epsilon=1.0), share)]


# Name, what makes it, and the tolerances of the L1 marginal error at which it is timed.
TASKS: dict[str, tuple[Callable[[], Tasks], tuple[float, ...]]] = {
    "1 blobs 1k 5%": (lambda: blobs(1000, 5e-2), (1e-3, 1e-6)),
    "1 blobs 1k 1%": (lambda: blobs(1000, 1e-2), (1e-3, 1e-6)),
    "1 blobs 1k 0.2%": (lambda: blobs(1000, 2e-3), (1e-3, 1e-6)),
    "1 blobs 10k 5%": (lambda: blobs(10_000, 5e-2), (1e-3,)),
    "1 blobs 10k 1%": (lambda: blobs(10_000, 1e-2), (1e-3,)),
    "1 blobs 10k 0.2%": (lambda: blobs(10_000, 2e-3), (1e-3,)),
    "1 blobs 100k 1%": (lambda: blobs(100_000, 1e-2), (1e-3,)),
    "1 blobs 100k 0.2%": (lambda: blobs(100_000, 2e-3), (1e-3,)),
    "2 grid 64 noise-smooth": (lambda: grids(64, "noise", "smooth", 2.0), (1e-3,)),
    "2 grid 128 smooth-rough": (lambda: grids(128, "smooth", "rough", 2.0), (1e-3,)),
    "2 grid 128 shapes": (lambda: grids(128, "shapes", "shapes", 2.0), (1e-3,)),
    "2 grid 512 smooth-rough": (lambda: grids(512, "smooth", "rough", 8.0), (1e-3,)),
    "3 embeddings 10k 5%": (lambda: embeddings(10_000, 5e-2), (1e-3,)),
    "3 embeddings 10k 1%": (lambda: embeddings(10_000, 1e-2), (1e-3,)),
    "4 known map 10k 512-D": (lambda: known_map(10_000, 512, 0.1), (1e-3,)),
    "5 gaussians 10k 2-D 1%": (lambda: gaussians(10_000, 2, 1e-2), (1e-3,)),
    "5 gaussians 10k 16-D 10%": (lambda: gaussians(10_000, 16, 1e-1), (1e-3,)),
    "5 gaussians 50k 30-D 5%": (lambda: gaussians(50_000, 30, 5e-2), (1e-3,)),
    "6 assignment 4k 1%": (lambda: assignment(4000, 1e-2), (1e-3,)),
    "6 assignment 500 0.2%": (lambda: assignment(500, 2e-3), (1e-3, 1e-6)),
    "6 paths 2k 1%": (lambda: paths(2000, 1e-2), (1e-3,)),
    "7 batch 64 x 1k": (lambda: batch(64, 1024), (1e-3,)),
    "8 cells 5k x 15k 0.5%": (lambda: cells(5000, 15_000, 5e-3), (1e-3,)),
    "8 cells 50k x 50k 5%": (lambda: cells(50_000, 50_000, 5e-2, is_balanced=True), (1e-3,)),
    "9 divergence 10k 2-D": (lambda: divergence(gaussians(10_000, 2, 2.5e-3)[0]), (1e-3,)),
    "10 flow pairs 16k 500-D": (lambda: flow_pairs(16_384, 500, 0.1), (1e-3,)),
    "11 decoupled 5k 0.1%": (lambda: decoupled(5000, 1e-3), (1e-3,)),
    # Minutes, for those who ask: --only long --libraries isotherm --patience 900.
    "long blobs 1M 1%": (lambda: blobs(1_000_000, 1e-2), (1e-3,)),
    "long blobs 1M 0.2%": (lambda: blobs(1_000_000, 2e-3), (1e-3,)),
    # Small ones, for tests of the harness.
    "smoke points": (lambda: blobs(60, 5e-2), (1e-3,)),
    "smoke grid": (lambda: grids(6, "noise", "smooth", 2.0), (1e-3,)),
    "smoke batch": (lambda: batch(3, 24), (1e-3,)),
    "smoke unbalanced": (lambda: cells(40, 50, 5e-2), (1e-3,)),
    "smoke stored": (lambda: assignment(40, 5e-2), (1e-3,)),
}
