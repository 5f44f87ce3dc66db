"""Seeded transport problems of every awkward shape, each with its known answer but for `cube_to_blobs`.

Every generator takes a torch.Generator on the CPU or an integer seed, and never the global random state.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from isotherm.geometry import PointCloud, Relative
from isotherm.problem import Problem

from .closed_form import dirac, one_dimensional_cost, one_dimensional_plan, permutation, two_by_two
from .gaussian import GaussianTransport
from .planted import COSTS, KnownProblem, plant


def random_problem(
    n: int,
    m: int,
    d: int,
    *,
    generator: torch.Generator | int,
    zero_weights: bool = False,
    dtype: torch.dtype = torch.float64,
    cost: str = "sqeuclidean",
) -> KnownProblem:
    """Two clouds of any size with random weights, at one tenth of the mean cost; the answer is planted.

        x_i, y_j ~ N(0, I),   a, b ~ random positive weights,   eps = mean C / 10

    Made for property tests: draw the sizes and an integer seed, get a problem with its answer. Few points at
    this temperature may take a solver many steps; plant(replace(problem, epsilon=...)) gives a warmer one.

    Args:
        n: Number N of sources, at least 1.
        m: Number M of targets, at least 1.
        d: Dimension D, at least 1.
        generator: Source of randomness on the CPU, or an integer seed.
        zero_weights: Take the mass of about a third of the points away, never of the first.
        dtype: dtype of points and weights.
        cost: A key of COSTS.

    Returns:
        The problem with plan, value, transport_cost, f and g.

    Example:
        >>> problem = random_problem(3, 4, 2, generator=0)
        >>> tuple(problem.plan.shape)
        (3, 4)
    """
    generator = _seeded(generator)
    x, y = _normal(generator, n, d).to(dtype), _normal(generator, m, d).to(dtype)
    a, b = _weights(generator, n), _weights(generator, m)
    if zero_weights:
        a, b = _thin(generator, a), _thin(generator, b)
    return plant(_cloud("zero_weights" if zero_weights else "random", x, y, a, b, cost=cost))


def clusters(*, generator: torch.Generator | int, count: int = 4, dtype: torch.dtype = torch.float64) -> KnownProblem:
    """Tight clusters on a circle, shared by both sides, at a temperature between width and distance.

    Args:
        generator: Source of randomness on the CPU, or an integer seed.
        count: Number of clusters; each has 8 sources and 6 targets.
        dtype: dtype of points and weights.

    Returns:
        The problem in the plane with its planted answer.

    Example:
        >>> clusters(generator=0).name
        'clusters'
    """
    generator = _seeded(generator)
    angles = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    centres = torch.stack([angles.cos(), angles.sin()], 1)  # (count, 2)
    x = centres.repeat(8, 1) + 0.05 * _normal(generator, 8 * count, 2)
    y = centres.repeat(6, 1) + 0.05 * _normal(generator, 6 * count, 2)
    return plant(_cloud("clusters", x.to(dtype), y.to(dtype), _uniform(len(x)), _uniform(len(y)), heat=0.2))


def decoupled_clusters(
    *,
    generator: torch.Generator | int,
    gap: float = 15.0,
    leak: float = 0.02,
    dtype: torch.dtype = torch.float64,
) -> KnownProblem:
    """Two far clusters between which a little mass must pass, the problem on which stopping rules lie.

    A pair across the clusters costs gap * epsilon more than one within. A Sinkhorn step shifts the potentials
    of one cluster against the other by about 4 leak epsilon, so the marginal error rests at 2 leak for about
    gap / (4 leak) steps before it falls by a factor 1 - 4 leak a step.

    Args:
        generator: Source of randomness on the CPU, or an integer seed.
        gap: Cost of changing the cluster, in units of epsilon.
        leak: Mass which has to change the cluster, about; half of all mass starts in each.
        dtype: dtype of points and weights.

    Returns:
        The problem in the plane with its planted answer, at epsilon = 1.

    Example:
        >>> problem = decoupled_clusters(generator=0)
        >>> bool(0.01 < problem.b[10:].sum() - problem.a[10:].sum() < 0.04)
        True
    """
    generator = _seeded(generator)
    side = torch.tensor([0.0, 1.0], dtype=torch.float64).repeat_interleave(10)
    centres = torch.stack([side * math.sqrt(gap), torch.zeros_like(side)], 1)  # (20, 2)
    x, y = ((centres + 0.1 * _normal(generator, 20, 2)).to(dtype) for _ in range(2))
    # exp(gap) more weight on the second cluster makes crossing worth its cost; steps would find that slowly.
    pull = torch.exp(side * (gap + math.log(2 * leak)))
    problem = _cloud("decoupled", x, y, _uniform(20), pull / pull.sum())
    return plant(replace(problem, epsilon=1.0), steps=0)


def far_from_origin(
    *, generator: torch.Generator | int, offset: float = 1e4, dtype: torch.dtype = torch.float64
) -> KnownProblem:
    """A unit cloud at a great distance, where |x|^2 + |y|^2 - 2 x.y loses every digit of the cost.

    Args:
        generator: Source of randomness on the CPU, or an integer seed.
        offset: Coordinate of the cloud's centre in units of its width.
        dtype: dtype of points and weights; the answer is for the points as rounded to it.

    Returns:
        The problem in three dimensions with its planted answer.

    Example:
        >>> bool(far_from_origin(generator=0).x.min() > 9000)
        True
    """
    generator = _seeded(generator)
    x, y = ((offset + _normal(generator, size, 3)).to(dtype) for size in (24, 20))
    return plant(_cloud("far_from_origin", x, y, _uniform(24), _uniform(20)))


def duplicates(*, generator: torch.Generator | int, dtype: torch.dtype = torch.float64) -> KnownProblem:
    """Points that occur several times on a side, and on both sides.

    Args:
        generator: Source of randomness on the CPU, or an integer seed.
        dtype: dtype of points and weights.

    Returns:
        The problem in the plane with its planted answer; equal sources have proportional rows.

    Example:
        >>> problem = duplicates(generator=0)
        >>> bool((problem.x[0] == problem.x[5]).all())
        True
    """
    generator = _seeded(generator)
    points = _normal(generator, 5, 2)
    x, y = points.repeat(3, 1), torch.cat([points[:3], points[:3], _normal(generator, 4, 2)])
    a, b = _weights(generator, len(x)), _weights(generator, len(y))
    return plant(_cloud("duplicates", x.to(dtype), y.to(dtype), a, b, heat=0.3))


def dense_cost(
    n: int = 12, m: int = 9, *, generator: torch.Generator | int, dtype: torch.dtype = torch.float64
) -> KnownProblem:
    """A cost matrix without points behind it: independent uniform entries in [0, 1].

    Args:
        n: Number N of sources.
        m: Number M of targets.
        generator: Source of randomness on the CPU, or an integer seed.
        dtype: dtype of weights; cost_matrix is exactly representable in it.

    Returns:
        The problem with cost "matrix", no points, and its planted answer.

    Example:
        >>> dense_cost(generator=0).x is None
        True
    """
    generator = _seeded(generator)
    cost = torch.rand(n, m, generator=generator, dtype=torch.float64).to(dtype).double()
    a, b = _weights(generator, n).to(dtype), _weights(generator, m)
    return plant(KnownProblem("dense_cost", None, None, a, b, "matrix", 0.05, cost, _tolerance(dtype)))


def diracs(m: int = 7, *, generator: torch.Generator | int, dtype: torch.dtype = torch.float64) -> KnownProblem:
    """One source and many targets: the plan is b itself, at every temperature.

    Args:
        m: Number M of targets.
        generator: Source of randomness on the CPU, or an integer seed.
        dtype: dtype of points and weights.

    Returns:
        The problem with entropic and exact answers.

    Example:
        >>> problem = diracs(generator=0)
        >>> abs(problem.value - problem.exact_cost) < 1e-9
        True
    """
    generator = _seeded(generator)
    x, y = _normal(generator, 1, 3).to(dtype), _normal(generator, m, 3).to(dtype)
    a, b = _uniform(1).to(dtype), _weights(generator, m).to(dtype)
    cost = COSTS["sqeuclidean"](x.double(), y.double())
    known = dirac(cost, a.double(), b.double(), epsilon=0.5)
    return KnownProblem(
        "diracs", x, y, a, b, "sqeuclidean", 0.5, cost, _tolerance(dtype),
        plan=known.plan, value=known.value, transport_cost=known.transport_cost, f=known.f, g=known.g,
        exact_plan=known.plan, exact_cost=known.transport_cost,
    )  # fmt: skip


def worked_example(epsilon: float = 1.0, *, dtype: torch.dtype = torch.float64) -> KnownProblem:
    """The 2x2 example, as two points at distance one on the line.

    Args:
        epsilon: Temperature > 0.
        dtype: dtype of points and weights.

    Returns:
        The problem with entropic and exact answers.

    Example:
        >>> round(worked_example().value, 4)
        0.3799
    """
    points = torch.tensor([[0.0], [1.0]], dtype=dtype)
    half = torch.full((2,), 0.5, dtype=dtype)
    cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    known, exact = two_by_two(epsilon), two_by_two(0.0)
    return KnownProblem(
        "worked_example", points, points.clone(), half, half.clone(), "sqeuclidean", epsilon, cost,
        _tolerance(dtype),
        plan=known.plan, value=known.value, transport_cost=known.transport_cost, f=known.f, g=known.g,
        exact_plan=exact.plan, exact_cost=exact.transport_cost,
    )  # fmt: skip


def matching(
    n: int = 16, d: int = 3, *, generator: torch.Generator | int, dtype: torch.dtype = torch.float64
) -> KnownProblem:
    """Shuffled points whose optimal matching is known: targets are the gradient of a convex function.

        y_{sigma_i} = grad phi(x_i),   phi(x) = |x|^2 / 2 + sum_k log cosh(u_k . x)

    Optimal for |x - y|^2 because a convex gradient is cyclically monotone, and the only optimum.

    Args:
        n: Number of pairs N = M.
        d: Dimension D.
        generator: Source of randomness on the CPU, or an integer seed.
        dtype: dtype of points and weights.

    Returns:
        The problem with exact_plan and exact_cost; OT_eps lies within [exact_cost, exact_cost + eps log N].

    Example:
        >>> problem = matching(4, generator=0)
        >>> float(problem.exact_plan.max())
        0.25

    References:
        [Brenier1991], [Rockafellar1970, theorem 24.8]
    """
    generator = _seeded(generator)
    x, directions = _normal(generator, n, d), _normal(generator, d, d)
    sigma = torch.randperm(n, generator=generator)
    y = torch.empty_like(x)
    y[sigma] = x + torch.tanh(x @ directions.T) @ directions
    x, y = x.to(dtype), y.to(dtype)
    cost = COSTS["sqeuclidean"](x.double(), y.double())
    exact = permutation(cost, sigma)
    uniform, epsilon = _uniform(n).to(dtype), 0.05 * float(cost.mean())
    return KnownProblem(
        "matching", x, y, uniform, uniform.clone(), "sqeuclidean", epsilon, cost, _tolerance(dtype),
        exact_plan=exact.plan, exact_cost=exact.transport_cost,
    )  # fmt: skip


def sorted_line(
    n: int = 15, m: int = 11, *, generator: torch.Generator | int, dtype: torch.dtype = torch.float64
) -> KnownProblem:
    """Points on the line in random order with random weights: exact and entropic answer are both known.

    Args:
        n: Number N of sources.
        m: Number M of targets.
        generator: Source of randomness on the CPU, or an integer seed.
        dtype: dtype of points and weights.

    Returns:
        The problem with its planted entropic answer and the exact one.

    Example:
        >>> problem = sorted_line(generator=0)
        >>> 0 < problem.exact_cost < problem.transport_cost
        True
    """
    generator = _seeded(generator)
    x, y = _normal(generator, n, 1).to(dtype), (0.5 + 2 * _normal(generator, m, 1)).to(dtype)
    problem = plant(_cloud("sorted_line", x, y, _weights(generator, n), _weights(generator, m)))
    line = (x.double()[:, 0], y.double()[:, 0], problem.a.double(), problem.b.double())
    plan, cost = one_dimensional_plan(*line), one_dimensional_cost(*line, p=2)
    return replace(problem, exact_plan=plan, exact_cost=cost)


def gaussian_grid(
    n: int = 64, d: int = 1, *, generator: torch.Generator | int, dtype: torch.dtype = torch.float64
) -> KnownProblem:
    """Two random Gaussians on a grid so fine that the continuous closed form is the answer.

        a_i ∝ N(m, A)(x_i),   b_j ∝ N(n, B)(y_j),   cost |x - y|^2,   eps = 1

    Sums over a grid of step h integrate a Gaussian of width w up to exp(-2 pi^2 w^2 / h^2); the narrowest one
    here is the conditional of the optimal plan. tolerance is this bound plus the mass beyond 7 deviations.

    Args:
        n: Points per axis; N = M = n^d.
        d: Dimension D, with full covariances.
        generator: Source of randomness on the CPU, or an integer seed.
        dtype: dtype of points and weights.

    Returns:
        The problem with its entropic answer from `GaussianTransport`; exact_cost is left out because the grid
        itself moves it by O(h).

    Raises:
        ValueError: The grid is too coarse to promise a relative accuracy of 1e-6.

    Example:
        >>> gaussian_grid(generator=0).tolerance < 1e-8
        True
    """
    generator = _seeded(generator)
    moments = [_random_gaussian(generator, d) for _ in range(2)]
    transport = GaussianTransport(*moments[0], *moments[1], epsilon=1.0)
    (x, a, step_x), (y, b, step_y) = (_discretise(mean, covariance, n) for mean, covariance in moments)
    back = GaussianTransport(*moments[1], *moments[0], epsilon=1.0)
    widths = [
        float(torch.linalg.eigvalsh(side.conditional_covariance()).min().sqrt()) / step
        for side, step in ((transport, step_y), (back, step_x))
    ]
    accuracy = 1e-10 + 100 * math.exp(-2 * math.pi**2 * min(widths) ** 2)
    if accuracy > 1e-6:
        message = f"The grid must resolve the plan to 1e-6: n = {n} gives {accuracy:.1e}. Raise n."
        raise ValueError(message)
    rounded_x, rounded_y = x.to(dtype).double(), y.to(dtype).double()
    f, g, cost = transport.f(rounded_x), transport.g(rounded_y), COSTS["sqeuclidean"](rounded_x, rounded_y)
    plan = torch.outer(a, b) * torch.exp(f[:, None] + g - cost)  # epsilon is 1
    x, y, a, b = (tensor.to(dtype) for tensor in (x, y, a, b))
    return KnownProblem(
        f"gaussian_{d}d", x, y, a, b, "sqeuclidean", 1.0, cost, max(accuracy, _tolerance(dtype)),
        plan=plan, value=transport.value, transport_cost=transport.transport_cost, f=f, g=g,
    )  # fmt: skip


def cube_to_blobs(
    n: int = 1024,
    *,
    generator: torch.Generator | int,
    epsilon: float | Relative = 0.05,
    dtype: torch.dtype = torch.float64,
) -> Problem:
    """Uniform points of the unit cube against eight Gaussian blobs: the problem on which passes are counted.

        x_i ~ U[0, 1]^3,    y_j ~ N(c_k, 0.05^2 I),  c_k ~ U[0, 1]^3,  k uniform in 1 .. 8,    equal weights

    Its answer is not known; what it is for is the number of iterations, which grows like 1 / epsilon for plain Sinkhorn.

    Args:
        n: Number of sources and of targets.
        generator: Source of randomness on the CPU, or an integer seed.
        epsilon: Temperature, units of cost or `Relative`; the mean cost is about 0.5.
        dtype: dtype of points and weights.

    Returns:
        The problem in three dimensions with the squared Euclidean cost.

    Example:
        >>> cube_to_blobs(5, generator=0)
        Problem(PointCloud(5 x 5 points in 3-D, SquaredEuclidean(), torch.float64, cpu), epsilon=0.05)
    """
    generator = _seeded(generator)
    x = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    centres = torch.rand(8, 3, generator=generator, dtype=torch.float64)
    y = centres[torch.randint(8, (n,), generator=generator)] + 0.05 * _normal(generator, n, 3)
    return Problem(PointCloud(x.to(dtype), y.to(dtype)), epsilon=epsilon)


def known_problems(seed: int = 0, *, dtype: torch.dtype = torch.float64) -> tuple[KnownProblem, ...]:
    """One problem of every kind, small enough for a solver's test suite.

    Args:
        seed: Seed shared by all of them.
        dtype: dtype of points and weights.

    Returns:
        Problems with distinct names, to be used as test ids.

    Example:
        >>> [problem.name for problem in known_problems()][:3]
        ['worked_example', 'diracs', 'matching']
    """
    return (
        worked_example(dtype=dtype),
        diracs(generator=seed, dtype=dtype),
        matching(generator=seed, dtype=dtype),
        sorted_line(generator=seed, dtype=dtype),
        gaussian_grid(generator=seed, dtype=dtype),
        gaussian_grid(32, 2, generator=seed, dtype=dtype),
        random_problem(20, 13, 3, generator=seed, dtype=dtype),
        random_problem(20, 13, 3, generator=seed, zero_weights=True, dtype=dtype),
        clusters(generator=seed, dtype=dtype),
        decoupled_clusters(generator=seed, dtype=dtype),
        far_from_origin(generator=seed, dtype=dtype),
        duplicates(generator=seed, dtype=dtype),
        dense_cost(generator=seed, dtype=dtype),
    )


def _cloud(
    name: str, x: Tensor, y: Tensor, a: Tensor, b: Tensor, cost: str = "sqeuclidean", heat: float = 0.1
) -> KnownProblem:
    """An unsolved problem at temperature heat times the mean |C|, with weights of the dtype of x."""
    matrix = COSTS[cost](x.double(), y.double())
    epsilon = heat * float(matrix.abs().mean())
    return KnownProblem(name, x, y, a.to(x.dtype), b.to(x.dtype), cost, epsilon, matrix, _tolerance(x.dtype))


def _seeded(generator: torch.Generator | int) -> torch.Generator:
    if isinstance(generator, torch.Generator):
        return generator
    return torch.Generator().manual_seed(generator)


def _normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _uniform(size: int) -> Tensor:
    return torch.full((size,), 1 / size, dtype=torch.float64)


def _weights(generator: torch.Generator, size: int) -> Tensor:
    """Random weights within a factor of ten of each other, sum 1."""
    weights = 0.1 + 0.9 * torch.rand(size, generator=generator, dtype=torch.float64)
    return weights / weights.sum()


def _thin(generator: torch.Generator, weights: Tensor) -> Tensor:
    """The same weights with about a third set to zero, never the first, and the rest normalised."""
    kept = torch.rand(len(weights), generator=generator) > 1 / 3
    kept[0] = True
    thinned = torch.where(kept, weights, 0)
    return thinned / thinned.sum()


def _random_gaussian(generator: torch.Generator, d: int) -> tuple[Tensor, Tensor]:
    """Mean (D,) in the unit box and full covariance (D, D) with variances between 1/2 and 1."""
    mean = 2 * torch.rand(d, generator=generator, dtype=torch.float64) - 1
    axes, _ = torch.linalg.qr(_normal(generator, d, d))
    variances = 0.5 + 0.5 * torch.rand(d, generator=generator, dtype=torch.float64)
    return mean, (axes * variances) @ axes.T


def _discretise(mean: Tensor, covariance: Tensor, n: int) -> tuple[Tensor, Tensor, float]:
    """Grid points (n^D, D) up to 7 deviations, normalised weights (n^D,), and the longest step."""
    deviations = covariance.diagonal().sqrt()
    axis = torch.linspace(-7, 7, n, dtype=torch.float64)
    centred = torch.cartesian_prod(*(s * axis for s in deviations)).reshape(-1, len(mean))
    weights = torch.exp(-0.5 * (torch.linalg.solve(covariance, centred.T).T * centred).sum(1))
    return mean + centred, weights / weights.sum(), float(deviations.max() * 14 / (n - 1))


def _tolerance(dtype: torch.dtype) -> float:
    """Rounding the target weights to dtype moves the answer by this much; see KnownProblem.tolerance."""
    return max(1e-11, 100 * torch.finfo(dtype).eps)
