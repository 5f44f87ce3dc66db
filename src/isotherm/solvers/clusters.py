"""Clusters that hardly exchange mass: what has to pass between them, found at once instead of sweep by sweep."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm.geometry import CostMatrix
from isotherm.problem import Problem
from isotherm.solvers.annealed import Annealed
from isotherm.solvers.log_sinkhorn import LogSweep
from isotherm.solvers.newton import Newton

if TYPE_CHECKING:
    from isotherm.solution import Solution

LINKS = 8  # heaviest partners of a point that may be in its cluster
SHARE = 1e-6  # of the point's mass that they have at least, else they are elsewhere
MOST = 64  # clusters above which they are no longer few
TOLERANCE = 1e-6  # of the problem between clusters, and its cooling
COOLING = 0.7


class Start(NamedTuple):
    """Potentials to go on from, of how many clusters the masses are right in them, and what finding them took."""

    f: Tensor  # (N,)
    g: Tensor  # (M,)
    count: int
    iterations: int  # pairs of passes
    seconds: float


@torch.no_grad()
def between_clusters(solution: Solution) -> Start | None:
    """Shift the potentials of whole clusters until each has its mass.

    Where costs between clusters are far above epsilon, alternation equalises their masses by about exp(-gap / epsilon) a
    sweep. But the masses that the plan has between clusters k and l,

        L_kl = log sum_{i in k, j in l} a_i b_j exp((f_i + g_j - C_ij) / eps),

    are those of a small entropic transport problem of its own: cost -eps (L_kl - log A_k B_l), marginals A and B, the
    masses of the clusters. Its potentials u_k and v_l, added to f and g, make them right. It is small enough to be solved
    at every temperature on the way down. Clusters are what the heaviest pairs of every point connect.
    Time O((K + 2) N M D) for K clusters; memory O(N + M).

    Args:
        solution: Unfinished, of a balanced problem.

    Returns:
        New potentials; None where there is one cluster only, or there are too many to be few.
    """
    began = time.perf_counter()
    problem, (f, g) = solution.problem.detach(), solution.potentials
    rows, columns, count = clusters(solution)
    if not 1 < count <= MOST:
        return None
    sweep = LogSweep(problem)
    links = torch.stack([_log_sums(sweep, f, g, columns == k, rows, count) for k in range(count)], 1)
    a, b = (_sums(weights, labels, count) for weights, labels in ((problem.a, rows), (problem.b, columns)))
    costs = -problem.epsilon * (links - a.log()[:, None] - b.log())
    if not costs.isfinite().all():  # pairs that are forbidden
        return None
    small, potentials = Problem(CostMatrix(costs), a, b * (a.sum() / b.sum()), epsilon=problem.epsilon), None
    for epsilon in Annealed(ratio=COOLING).schedule_from(float(costs.max() - costs.min()), to=problem.epsilon):
        potentials = Newton(tolerance=TOLERANCE).run(small.at(epsilon), init=potentials).potentials
    assert potentials, "this is our bug: there is no last temperature"
    u, v = potentials
    passes = 2 + count
    return Start(f + u.to(f)[rows], g + v.to(g)[columns], count, (passes + 1) // 2, time.perf_counter() - began)


def clusters(solution: Solution) -> tuple[Tensor, Tensor, int]:
    """The cluster of each source (N,) and of each target (M,), and their number; 0 for points without mass."""
    problem, coupling = solution.problem, solution.coupling
    sources, targets = problem.geometry.shape
    ends = list[Tensor]()
    for side in (coupling, coupling.transpose()):
        found = side.top_k(min(LINKS, side.shape[1]))
        mass = torch.as_tensor(found.mass)
        first, place = (mass > SHARE * mass.sum(1, keepdim=True)).nonzero(as_tuple=True)
        second = torch.as_tensor(found.indices)[first, place]
        ends.append(torch.stack((first, sources + second) if side is coupling else (second, sources + first)))
    labels = components(sources + targets, *torch.cat(ends, 1))
    has_mass = torch.cat([problem.a > 0, problem.b > 0])
    names, numbers = labels[has_mass].unique(return_inverse=True)
    labels = torch.zeros_like(labels).masked_scatter(has_mass, numbers)
    return labels[:sources], labels[sources:], len(names)


def components(size: int, first: Tensor, second: Tensor) -> Tensor:
    """Connected components of an undirected graph, in O(L log(size)).

    Args:
        size: Number of nodes.
        first: One end of each link, shape (L,).
        second: The other end, shape (L,).

    Returns:
        The smallest node of the component of each node, shape (size,).

    Example:
        >>> components(5, torch.tensor([0, 3]), torch.tensor([2, 4]))
        tensor([0, 1, 0, 3, 3])
    """
    labels = torch.arange(size, device=first.device)
    while True:
        before = labels
        least = torch.minimum(labels[first], labels[second])
        for nodes in (first, second, labels[first], labels[second]):  # the ends, and what they were named after
            labels = labels.scatter_reduce(0, nodes, least, "amin")
        labels = labels[labels]
        if torch.equal(labels, before):
            return labels


def _log_sums(sweep: LogSweep, f: Tensor, g: Tensor, is_in: Tensor, rows: Tensor, count: int) -> Tensor:
    """L_kl for all k and the cluster l that these targets are, shape (K,), float64."""
    softmin = sweep.costs.softmin((g + sweep.log_b).masked_fill(~is_in, -math.inf), epsilon=sweep.epsilon)
    exponent = (f.double() - softmin.double()) / sweep.epsilon + sweep.log_a.double()
    most = torch.full((count,), -math.inf, dtype=torch.float64, device=f.device).scatter_reduce(
        0, rows, exponent, "amax"
    )
    return most + _sums((exponent - most[rows]).exp(), rows, count).log()


def _sums(values: Tensor, labels: Tensor, count: int) -> Tensor:
    """Sum of the values of each label, shape (K,), float64."""
    return torch.zeros(count, dtype=torch.float64, device=values.device).index_add_(0, labels, values.double())
