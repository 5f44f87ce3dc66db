"""A few points of each side in place of all of them: each has the mass of those it is nearest to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm.geometry import PointCloud
from isotherm.problem import Problem

if TYPE_CHECKING:
    from isotherm.geometry import AbstractGeometry

SHARE = 16  # a sample holds one point in so many
LEAST = 64  # but no fewer than this
SHARP = 1e-4  # temperature, of the mean squared distance, at which masses go to the nearest point


class Sample(NamedTuple):
    """Some points of each side and the problem between them, at the temperature of the whole one."""

    problem: Problem
    rows: Tensor  # (n,), indices of its sources
    columns: Tensor  # (m,), of its targets

    def others(self, problem: Problem) -> Sample:
        """As many other points of the whole problem, their masses as they are."""
        rows, columns = drawn(problem.a, len(self.rows), skip=1), drawn(problem.b, len(self.columns), skip=1)
        return _between(problem, (rows, columns), (problem.a.detach()[rows], problem.b.detach()[columns]))


def why_not_sampled(problem: Problem) -> list[str]:
    """Reasons why some of the points do not make a problem; empty when they do."""
    geometry = problem.geometry
    if not isinstance(geometry, PointCloud) or problem.reference is not None:
        return ["a sample needs points without a reference coupling"]
    return []


def sample_of(problem: Problem, *, share: int = SHARE, most: int | None = None) -> Sample:
    """The problem between some of its points, always the same ones.

    Masses of clusters in a sample of n points are off by 1 / sqrt(n) where every point counts alike, and potentials by
    many times that where clusters hardly exchange mass. With the masses of the points nearest to each, clusters keep theirs.
    Time O(n N D) for each side.

    Args:
        problem: Between points.
        share: A side keeps one in so many of its points that have mass, at least 64.
        most: Points that a side keeps at most; None for no limit.

    Returns:
        The sample, outside every autograd graph.

    Raises:
        TypeError: Costs are known on the given points only.
    """
    geometry = problem.geometry
    if why_not_sampled(problem) or not isinstance(geometry, PointCloud):
        msg = f"A subsample needs points without a reference coupling: got {problem}. Start from potentials instead."
        raise TypeError(msg)
    sides = (geometry.x.detach(), problem.a.detach()), (geometry.y.detach(), problem.b.detach())
    kept = [drawn(weights, _size(weights, share, most)) for _, weights in sides]
    masses = [gathered(*side, chosen) for side, chosen in zip(sides, kept, strict=True)]
    return _between(problem, (kept[0], kept[1]), (masses[0], masses[1]))


def _between(problem: Problem, kept: tuple[Tensor, Tensor], masses: tuple[Tensor, Tensor]) -> Sample:
    """The problem between these points with these masses, which balance where they have to."""
    geometry, (rows, columns), (a, b) = problem.geometry, kept, masses
    assert isinstance(geometry, PointCloud), "this is our bug: a sample of what is no cloud"
    cloud = PointCloud(geometry.x.detach()[rows], geometry.y.detach()[columns], geometry.cost)
    b = b * (a.sum() / b.sum()) if problem.is_balanced else b
    return Sample(Problem(cloud, a, b, epsilon=problem.epsilon, rho_a=problem.rho_a, rho_b=problem.rho_b), *kept)


def _size(weights: Tensor, share: int, most: int | None) -> int:
    """How many points of a side are kept."""
    count = max(LEAST, int((weights > 0).sum()) // share)
    return count if most is None else min(count, most)


def drawn(weights: Tensor, count: int, *, skip: int = 0) -> Tensor:
    """Indices of so many points that have mass, or of all; with skip, of others than in as many samples before."""
    kept = weights.nonzero()[:, 0]
    order = torch.randperm(len(kept), generator=torch.Generator().manual_seed(0)).to(weights.device)
    return kept[order[skip * count : (skip + 1) * count]].sort().values


def gathered(points: Tensor, weights: Tensor, chosen: Tensor) -> Tensor:
    """The mass of the points that are nearest to each of the chosen ones, shape (n,); ties and near ties share."""
    cloud: AbstractGeometry = PointCloud(points, points[chosen])
    equal = torch.full_like(weights[chosen], 1.0 / len(chosen))
    epsilon = SHARP * max(float(cloud.product_cost(weights, equal) / weights.sum()), torch.finfo(weights.dtype).tiny)
    nearest = cloud.softmin(torch.zeros_like(equal), epsilon=epsilon)
    log_mass = cloud.transpose().softmin(nearest + epsilon * weights.log(), epsilon=epsilon)
    return (-log_mass / epsilon).exp()
