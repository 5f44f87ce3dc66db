"""Where the next solve may start: potentials of the last training step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.coupling import EntropicCoupling
from isotherm.geometry import PointCloud
from isotherm.problem import Problem

if TYPE_CHECKING:
    from isotherm.solution import Solution


@dataclass(eq=False)
class PotentialCache:
    """Remembers potentials from one call to the next, so that solves of a training loop start warm.

    Pass the same cache to each call of one loss. Points may move, and may be other points, in any number: potentials
    are functions of space, and are evaluated at the new points (one pass over the pairs for each side that moved). Costs known
    only as a matrix, or on a grid, start from the last potentials while sizes stay. Nothing but the number of
    iterations depends on it. Sinkhorn divergences of small clouds that do not ask for many sweeps are found from nothing
    and not remembered: evaluating potentials would take as long. Keeps O(B (N + M) D) numbers for a batch of B problems.

    Example:
        >>> import isotherm
        >>> cache = PotentialCache()
        >>> x, y = torch.arange(5.0), torch.arange(4.0) + 0.3
        >>> cold = isotherm.sinkhorn_divergence(x, y, epsilon=0.5, cache=cache)
        >>> warm = isotherm.sinkhorn_divergence(x, y, epsilon=0.5, cache=cache)
        >>> bool((warm - cold).abs() < 1e-4), len(cache)
        (True, 3)
    """

    _entries: dict[tuple[str, int], EntropicCoupling] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Number of solves that are remembered."""
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def start(self, key: tuple[str, int], problem: Problem) -> tuple[Tensor, Tensor] | None:
        """Potentials to start a problem from, or None where nothing fits.

        Args:
            key: Which solve of the loss, and which member of the batch.
            problem: What will be solved.

        Returns:
            f (N,) and g (M,), or None.
        """
        last = self._entries.get(key)
        if last is None or last.dtype != problem.geometry.dtype or last.device != problem.geometry.device:
            return None
        here, there = problem.geometry, last.problem.geometry
        if not isinstance(here, PointCloud) or not isinstance(there, PointCloud):
            return (last.f, last.g) if here.shape == there.shape else None
        if here.x.shape[1] != there.x.shape[1]:
            return None
        f = last.f if torch.equal(here.x, there.x) else last.potential(here.x)
        is_own = here.y is here.x  # a cloud against itself has one potential
        stays = torch.equal(here.y, there.y)
        g = f if is_own else last.g if stays else last.transpose().potential(here.y)
        return (f, g) if bool(f.isfinite().all()) and bool(g.isfinite().all()) else None

    def keep(self, key: tuple[str, int], solution: Solution) -> None:
        """Remember a solution's potentials, with copies of its points.

        Args:
            key: As in `start`.
            solution: What was found.
        """
        problem, geometry = solution.problem, solution.problem.geometry
        with torch.inference_mode(mode=False):
            if isinstance(geometry, PointCloud):  # without the costs that the solver may have left in it
                geometry = PointCloud(geometry.x.clone(), geometry.y.clone(), geometry.cost)
            numbers = {"epsilon": problem.epsilon, "rho_a": problem.rho_a, "rho_b": problem.rho_b}
            copied = Problem(geometry, problem.a.clone(), problem.b.clone(), **numbers)
            f, g = (potential.clone() for potential in solution.potentials)
        self._entries[key] = EntropicCoupling(copied, f, g)
