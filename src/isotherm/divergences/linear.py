"""The linear system behind derivatives of potentials: products with the dual's Hessian, conjugate gradients."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm import kernels
from isotherm._status import ConvergenceWarning
from isotherm.kernels.plan_hessian import conjugate_gradients

if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm.divergences.term import Term

DENSE_ENTRIES = 1 << 22  # pairs up to which the plan is kept while a system is solved


@dataclass(frozen=True, kw_only=True)
class LinearReport:
    """How the linear system of a derivative was solved.

    Attributes:
        residual: Norm of what is left, over that of the right side.
        iterations: Products with the Hessian.
        is_converged: Whether the residual meets the tolerance.
    """

    residual: float
    iterations: int
    is_converged: bool


@dataclass(frozen=True, kw_only=True)
class LinearSettings:
    """When to stop conjugate gradients, and whom to tell.

    Attributes:
        tolerance: Relative residual; None is the dtype's rounding to the power 2/3.
        max_iterations: Most products with the Hessian.
        report: Called with a `LinearReport` after each system.
    """

    tolerance: float | None
    max_iterations: int
    report: Callable[[LinearReport], None] | None


@torch.no_grad()
def solve_curvature(
    term: Term, f: Tensor, g: Tensor, wanted: tuple[Tensor, Tensor], settings: LinearSettings
) -> tuple[Tensor, Tensor]:
    """Solve with minus the Hessian of the dual by its potentials.

        [[diag(r / eps + w_a / rho_a), P / eps], [P' / eps, diag(c / eps + w_b / rho_b)]] (u, v) = wanted

    with r = P 1, c = P' 1, w = weights * exp(-potential / rho). The targets are eliminated and the Schur complement is
    solved by conjugate gradients. Balanced, its null space, the constant between f and g, is projected out; the right
    side has to be orthogonal to it, as the derivative of anything that does not see the constant is. Points without
    mass get zero.

    Args:
        term: The problem.
        f: Optimal potential of the sources, shape (N,).
        g: Optimal potential of the targets, shape (M,).
        wanted: Right side, shapes (N,) and (M,).
        settings: When to stop.

    Returns:
        u (N,) and v (M,). A `ConvergenceWarning` where the residual stayed above the tolerance.
    """
    problem = term.problem
    epsilon = problem.epsilon
    by_rows, by_columns = _products(term, f, g)
    r, c = by_rows(torch.ones_like(g)), by_columns(torch.ones_like(f))
    diagonal_a = r / epsilon + problem.a * (-f / problem.rho_a).exp() / problem.rho_a
    diagonal_b = c / epsilon + problem.b * (-g / problem.rho_b).exp() / problem.rho_b
    inverse_a, inverse_b = (torch.where(d > 0, 1.0 / d, 0.0) for d in (diagonal_a, diagonal_b))

    def reduced(u: Tensor) -> Tensor:
        return diagonal_a * u - by_rows(inverse_b * by_columns(u)) / epsilon**2

    right = wanted[0] - by_rows(inverse_b * wanted[1]) / epsilon
    size = float(wanted[0].norm() + wanted[1].norm())
    if problem.is_balanced:
        right = right - r * (right.sum() / r.sum())
    tolerance = torch.finfo(f.dtype).eps ** (2 / 3) if settings.tolerance is None else settings.tolerance
    floor = tolerance * size
    found = conjugate_gradients(reduced, right, inverse_a, floor=floor, max_iterations=settings.max_iterations)
    u, iterations = found.solution, found.iterations
    residual = found.residual / size if size else 0.0
    report = LinearReport(residual=residual, iterations=iterations, is_converged=found.meets(floor))
    if settings.report is not None:
        settings.report(report)
    if not report.is_converged:
        message = (
            f"The linear system of a derivative was solved to a relative residual of {report.residual:.2e} in "
            f"{report.iterations} iterations, tolerance {tolerance:.2e}: the derivative has about that error. Raise "
            f"`max_iterations`, `epsilon` or `tolerance`, or use float64."
        )
        warnings.warn(message, ConvergenceWarning, stacklevel=2)
    return u, inverse_b * (wanted[1] - by_columns(u) / epsilon)


def _products(term: Term, f: Tensor, g: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """v -> P v and u -> P' u; the plan is formed where it is small."""
    problem = term.problem
    log_a, log_b = problem.log_weights
    p, q, epsilon = f + log_a, g + log_b, problem.epsilon
    geometry = problem.geometry
    if geometry.shape[0] * geometry.shape[1] <= DENSE_ENTRIES:
        plan = kernels.plan_block(geometry.for_iteration(), p, q, slice(None), epsilon=epsilon)
        return (lambda v: plan @ v), (lambda u: plan.T @ u)
    rows, columns = geometry.for_iteration(), geometry.transpose().for_iteration()
    return (
        lambda v: rows.plan_apply(p, q, v[:, None], epsilon=epsilon)[:, 0],
        lambda u: columns.plan_apply(q, p, u[:, None], epsilon=epsilon)[:, 0],
    )
