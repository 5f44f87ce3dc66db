"""The slow modes of alternation, estimated in a sample of the points: mass that passes from cluster to cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm._arrays import to_tensor
from isotherm.coupling import EntropicCoupling
from isotherm.geometry import PointCloud

if TYPE_CHECKING:
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers.sample import Sample

MOST = 32  # modes that are looked at
SPARE = 8  # vectors of the subspace beside them
ROUNDS = 8  # of subspace iteration
RATE = 0.5  # error that a step leaves of a mode, from which on it is slow
SLOWEST = 0.99  # rate that is believed


class Modes(NamedTuple):
    """Slow modes, orthonormal in L2(b) without the constant, and by how much their part of a step is too short."""

    vectors: Tensor  # (M, K)
    missing: Tensor  # (K, K)
    count: int  # modes that are slow, at most K

    def lengthened(self, step: Tensor, b: Tensor) -> Tensor:
        """The step, shape (M,), with its slow part as long as it should be."""
        return step + self.vectors @ (self.missing @ (self.vectors.T @ (b * step)))


def slow_modes(
    problem: Problem, sample: Sample, solution: Solution, *, potentials: tuple[Tensor, Tensor]
) -> Modes | None:
    """Modes of the targets' potential that alternation hardly moves, and what is to be added to a step.

        (1 - T)^(-1) = 1 + sum_k lambda_k / (1 - lambda_k) phi_k phi_k' D_b,     T = D_b^(-1) P' D_a^(-1) P

    Singular vectors of the sample's plan are carried to all points by conditional means (Nystroem). T between them is
    measured on points that are not in the sample, with the potentials that they have now, so that a mode which is the
    sample's own is not believed. Time O(n M (D + K) + n^2 K), memory O(n^2 + M K).

    Args:
        problem: What is solved.
        sample: Some of its points.
        solution: Between these.
        potentials: (f, g) of all points, shapes (N,) and (M,), near the solution.

    Returns:
        The modes, or None where none is slow.
    """
    geometry, coupling = problem.geometry, solution.coupling
    assert isinstance(geometry, PointCloud), "this is our bug: a sample of what is no cloud"
    assert isinstance(coupling, EntropicCoupling), "this is our bug: a sample at temperature zero"
    plan = coupling.to_dense().to(problem.b)
    row, column = plan.sum(1), plan.sum(0)
    left, values, right = _singular(plan / (row.sqrt()[:, None] * column.sqrt()))
    if len(values) == 0:
        return None
    psi, phi = left / row.sqrt()[:, None], right / column.sqrt()[:, None]

    others = sample.others(problem)
    sides = (coupling, geometry.x[others.rows], phi), (coupling.transpose(), geometry.y, psi)
    psi, phi = (
        _with_constant(to_tensor(side.map(points, means), "modes").to(problem.b)) for side, points, means in sides
    )
    phi = _orthonormal(phi, problem.b)
    plan = EntropicCoupling(others.problem, potentials[0][others.rows], potentials[1][others.columns]).to_dense()
    there = _orthonormal(psi, plan.sum(1)), _orthonormal(phi[others.columns], plan.sum(0))
    first = 1 if problem.is_balanced else 0  # a constant is free, or slow like others
    halves = (there[0].T @ plan @ there[1])[first:, first:]
    damping = (1.0 + problem.epsilon / problem.rho_a) * (1.0 + problem.epsilon / problem.rho_b)
    if not halves.isfinite().all():  # so cold that the other points hardly meet
        return None
    rates, turn = torch.linalg.eigh(halves.T @ halves / damping)
    is_slow = rates > RATE
    if not is_slow.any():
        return None
    rates, turn = rates[is_slow].clamp(max=SLOWEST), turn[:, is_slow]
    return Modes(phi[:, first:], (turn * (rates / (1.0 - rates))) @ turn.T, len(rates))


def _singular(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Singular vectors (n, K) and (m, K) and values (K,) whose squares may be slow rates, without the first."""
    generator = torch.Generator().manual_seed(0)
    count = min(MOST + SPARE, *matrix.shape)
    right = torch.randn(matrix.shape[1], count, generator=generator, dtype=torch.float64).to(matrix)
    for _ in range(ROUNDS):
        right = torch.linalg.qr(matrix.T @ (matrix @ right)).Q
    left, values, turn = torch.linalg.svd(matrix @ right, full_matrices=False)
    kept = slice(1, max(1, int((values[:MOST].square() > 0.5 * RATE).sum())))
    return left[:, kept], values[kept], (right @ turn.T)[:, kept]


def _with_constant(columns: Tensor) -> Tensor:
    """The constant function and these, shape (n, K + 1)."""
    return torch.cat((torch.ones_like(columns[:, :1]), columns), 1)


def _orthonormal(columns: Tensor, weights: Tensor) -> Tensor:
    """The columns, shape (n, K), made orthonormal in L2(weights) one after the other."""
    triangle = torch.linalg.qr((weights.sqrt()[:, None] * columns).double()).R.to(columns)
    return torch.linalg.solve_triangular(triangle, columns, upper=True, left=False)
