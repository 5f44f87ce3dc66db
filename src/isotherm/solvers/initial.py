"""Where a solve may start: potentials from an earlier solution, from Gaussians, or from fewer points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, to_tensor
from isotherm._checks import check_choice, check_finite
from isotherm.coupling import EntropicCoupling
from isotherm.geometry import AbstractGeometry, HalfSquaredEuclidean, SquaredEuclidean
from isotherm.solution import Solution
from isotherm.solvers.sample import sample_of

if TYPE_CHECKING:
    from isotherm.problem import Problem

Init = Solution | tuple[ArrayLike, ArrayLike] | str
NAMED = ("gaussian", "subsample")


class Runnable(Protocol):
    """What `initial_potentials` needs of a solver."""

    def run(self, problem: Problem, *, init: Init | None = None) -> Solution:
        """Solve a problem."""
        ...


def initial_potentials(problem: Problem, init: Init | None, solver: Runnable) -> tuple[Tensor, Tensor] | None:
    """The potentials to start from.

    Args:
        problem: What will be solved.
        init: An earlier solution: its potentials where the sizes are these, else their values at the new points (soft
            c-transforms, time O(N M' + N' M) for N' x M' old points). Or potentials (f, g); or "gaussian", the closed
            form for Gaussians with the means and covariances of both sides, O((N + M) D^2); or "subsample", the solution
            between a sixteenth of the points of each side, extended to all. Or nothing.
        solver: Who solves between the subsamples.

    Returns:
        Tensors of the problem's dtype, shapes (N,) and (M,), or None.

    Raises:
        ValueError: Wrong lengths, not finite, an unknown name, or "gaussian" for a cost that is not quadratic.
        TypeError: Other sizes or "subsample" where costs are known on the given points only.

    References:
        [ThorntonCuturi2023], [Janati2020, theorem 1], [PooladianNilesWeed2021, eq. 4]
    """
    if init is None:
        return None
    if isinstance(init, str):
        name = check_choice(init, "init", NAMED)
        return gaussian_potentials(problem) if name == "gaussian" else subsample_potentials(problem, solver)
    if isinstance(init, Solution):
        if init.problem.geometry.shape != problem.geometry.shape:
            return extended_potentials(init, problem.geometry)
        init = init.potentials
    dtype, device = problem.geometry.dtype, problem.geometry.device
    potentials = []
    for name, potential, size in zip(("init f", "init g"), init, problem.geometry.shape, strict=True):
        tensor = to_tensor(potential, name, dtype=dtype, device=device)
        if tensor.shape != (size,):
            msg = (
                f"`{name}` must have one entry per point, shape ({size},): got {tuple(tensor.shape)}. "
                f"Start from potentials of the same sizes, or from a Solution, which knows its points."
            )
            raise ValueError(msg)
        check_finite(tensor, name)
        potentials.append(tensor)
    return potentials[0], potentials[1]


def extended_potentials(solution: Solution, geometry: AbstractGeometry) -> tuple[Tensor, Tensor]:
    """The potentials of a solution at other points.

    Args:
        solution: Of a problem between points, in the same space.
        geometry: The new points.

    Returns:
        f and g, shapes (N,) and (M,).

    Raises:
        TypeError: Points of either are unknown.
    """
    coupling = solution.coupling
    if geometry.source_points is None or geometry.target_points is None or not isinstance(coupling, EntropicCoupling):
        msg = (
            f"A solution of other sizes can start a solve between points at positive temperatures: got {geometry} and a "
            f"solution of {solution.problem}. Start from a solution of the same sizes."
        )
        raise TypeError(msg)
    sides = (coupling, geometry.source_points), (coupling.transpose(), geometry.target_points)
    f, g = (
        to_tensor(side.potential(points.detach().to(side.dtype)), "init", dtype=geometry.dtype, device=geometry.device)
        for side, points in sides
    )
    return f, g


def subsample_potentials(problem: Problem, solver: Runnable) -> tuple[Tensor, Tensor]:
    """The potentials of a problem between some of the points, extended to all.

    Args:
        problem: Between points.
        solver: Who solves between the samples.

    Returns:
        f and g, shapes (N,) and (M,).

    Raises:
        TypeError: Costs are known on the given points only.
    """
    return extended_potentials(solver.run(sample_of(problem).problem), problem.geometry)


def gaussian_potentials(problem: Problem) -> tuple[Tensor, Tensor]:
    """The potentials between Gaussians with the means and covariances of both sides, at the points.

        f(x) = |u|^2 - u' T u + 2 u' (m_a - m_b),    u = x - m_a,
        T = A^(-1/2) ((A^(1/2) B A^(1/2) + (eps / 4)^2)^(1/2) - eps / 4) A^(-1/2)

    Args:
        problem: With the squared Euclidean cost or half of it.

    Returns:
        f and g, shapes (N,) and (M,), units of cost; exact for Gaussians up to a constant.

    Raises:
        ValueError: Another cost.
    """
    geometry = problem.geometry
    cost = getattr(geometry, "cost", None)
    x, y = geometry.source_points, geometry.target_points
    if not isinstance(cost, SquaredEuclidean | HalfSquaredEuclidean) or x is None or y is None:
        msg = f'init="gaussian" needs points and a squared Euclidean cost: got {geometry}. Use init="subsample".'
        raise ValueError(msg)
    scale = 0.5 if isinstance(cost, HalfSquaredEuclidean) else 1.0
    sides = [_moments(points.detach().double(), w.double()) for points, w in ((x, problem.a), (y, problem.b))]
    (u, mean_a, cov_a), (v, mean_b, cov_b) = sides
    epsilon = problem.epsilon / scale
    f = _quadratic(u, mean_a - mean_b, _slope(cov_a, cov_b, epsilon))
    g = _quadratic(v, mean_b - mean_a, _slope(cov_b, cov_a, epsilon))
    return (scale * f).to(geometry.dtype), (scale * g).to(geometry.dtype)


def _moments(points: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Points around their mean, (N, D), the mean, (D,), and the covariance, (D, D)."""
    share = weights / weights.sum()
    mean = share @ points
    centred = points - mean
    return centred, mean, centred.T @ (share[:, None] * centred)


def _slope(cov: Tensor, other: Tensor, epsilon: float) -> Tensor:
    """T, the slope of the barycentric map from one Gaussian to the other, (D, D)."""
    root, inverse_root = _powers(cov)
    inner, _ = _powers(root @ other @ root, shift=(epsilon / 4) ** 2)
    return (
        inverse_root @ (inner - (epsilon / 4) * torch.eye(len(cov), dtype=cov.dtype, device=cov.device)) @ inverse_root
    )


def _powers(matrix: Tensor, *, shift: float = 0.0) -> tuple[Tensor, Tensor]:
    """Square root of a covariance plus shift, and the pseudo-inverse of that root."""
    values, vectors = torch.linalg.eigh(matrix)
    values = values.clamp(min=0.0)
    is_seen = values > 1e-12 * values.max()
    root = (values + shift).sqrt()
    inverse = torch.where(is_seen, 1.0 / torch.where(is_seen, root, 1.0), 0.0)
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def _quadratic(u: Tensor, drift: Tensor, slope: Tensor) -> Tensor:
    """|u|^2 - u' T u + 2 u' drift for every point, shape (N,)."""
    return u.square().sum(1) - (u @ slope * u).sum(1) + 2.0 * u @ drift
