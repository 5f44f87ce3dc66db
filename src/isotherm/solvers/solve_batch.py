"""The front door for many problems at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeGuard

from isotherm._checks import check_choice
from isotherm._status import ConvergenceWarning
from isotherm.problem import Problem
from isotherm.solvers.exact import Exact
from isotherm.solvers.solve import DEFAULT_EPSILON, ConvergenceError, as_geometry, as_solver
from isotherm.solvers.work import perform_all

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm._arrays import ArrayLike
    from isotherm.geometry import AbstractCost, AbstractGeometry, Relative
    from isotherm.solution import Check, Solution
    from isotherm.solvers.abstract import AbstractSolver


def solve_batch(  # noqa: PLR0913 - the front door names everything a problem is made of
    x: Sequence[Problem] | Sequence[AbstractGeometry] | Sequence[ArrayLike] | ArrayLike,
    y: Sequence[ArrayLike] | ArrayLike | None = None,
    a: Sequence[ArrayLike | None] | ArrayLike | None = None,
    b: Sequence[ArrayLike | None] | ArrayLike | None = None,
    *,
    epsilon: float | Relative | Sequence[float | Relative] | None = None,
    cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor] | None = None,
    rho_a: float | Sequence[float] = math.inf,
    rho_b: float | Sequence[float] = math.inf,
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    on_failure: str = "warn",
    callback: Callable[[int, Check], None] | None = None,
) -> list[Solution]:
    """Solve many problems at once, of any sizes, each at its own temperature and to its own end.

    Each solution is the one that `solve` finds for that problem alone. Sinkhorn sweeps of all problems that have not
    converged yet are made together: on a CPU each problem by one thread, elsewhere padded to one size; finished
    problems leave. Time that of the problems one after the other over the number of threads; memory O(N + M) for each,
    and O(N M) for those in work.

    Args:
        x: Problems, and then nothing but `solver` and what follows it; or sources, an array of shape (B, N, D) or a
            list of B clouds of shapes (N_k, D_k); or a list of B geometries, and then no `y`.
        y: Targets, shape (B, M, D) or a list of B clouds of shapes (M_k, D_k).
        a: Weights of the sources, shape (B, N) or a list of B vectors or None; equal when left out.
        b: Weights of the targets, shape (B, M) or a list.
        epsilon: Temperature of all, or a sequence of one for each: numbers in units of cost or `Relative`. Default:
            Relative(0.05).
        cost: Cost of all, as in `solve`.
        rho_a: Price of missing the source marginal, of all or a sequence of one for each; infinity enforces it.
        rho_b: Price of missing the target marginal.
        solver: A solver object or its name; `Auto()`, which chooses for each, when left out.
        tolerance: L1 error of the marginals, per unit of mass; the solver's own when left out.
        on_failure: What to do where a tolerance is not met: "warn" (once), "raise" (`ConvergenceError` of the first,
            after all are done) or "ignore".
        callback: Called with the number of a problem and a `Check` at each look at its residual; `StopSolve` raised
            from it, or Ctrl-C, ends them all with what they have reached.

    Returns:
        A `Solution` for each problem, in their order.

    Raises:
        ValueError: As in `solve`, or not as many of one thing as of another.
        TypeError: As in `solve`, or other arguments beside problems.
        ConvergenceError: Only with `on_failure="raise"`.

    Example:
        >>> import numpy as np
        >>> small, large = np.array([[0.0], [1.0]]), np.array([[0.0], [1.0], [2.0]])
        >>> for solution in solve_batch([small, small], [small, large], epsilon=[1.0, 0.5]):
        ...     print(solution.coupling.shape, solution.status.is_converged)
        (2, 2) True
        (2, 3) True
    """
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    chosen = as_solver(solver)
    if tolerance is not None:
        chosen = chosen.with_tolerance(tolerance)
    default = 0.0 if isinstance(chosen, Exact) else DEFAULT_EPSILON
    if _holds_problems(x):
        if any(given is not None for given in (y, a, b, epsilon, cost)) or not rho_a == rho_b == math.inf:
            msg = "A `Problem` holds clouds, weights, temperature and prices: got some of them beside problems too. Leave them out, or pass clouds."
            raise TypeError(msg)
        problems = list(x)
    else:
        problems = _problems(x, (y, a, b), (default if epsilon is None else epsilon, rho_a, rho_b), cost)
    works = [
        chosen.work(problem, callback=None if callback is None else partial(callback, k))
        for k, problem in enumerate(problems)
    ]
    solutions = perform_all(works)
    _report(solutions, on_failure)
    return solutions


def _holds_problems(x: Any) -> TypeGuard[Sequence[Problem]]:
    return isinstance(x, Sequence) and len(x) > 0 and all(isinstance(one, Problem) for one in x)


def _problems(x: Any, sides: tuple[Any, ...], settings: tuple[Any, ...], cost: Any) -> list[Problem]:
    """One problem for each cloud of sources; `sides` are y, a and b, `settings` epsilon, rho_a and rho_b."""
    count = len(x)
    settings = tuple(given if isinstance(given, Sequence) else [given] * count for given in settings)
    names = ("y", "a", "b", "epsilon", "rho_a", "rho_b")
    columns = [_each(given, name, count) for given, name in zip((*sides, *settings), names, strict=True)]
    return [
        Problem(as_geometry(source, y, cost), a, b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b)
        for source, y, a, b, epsilon, rho_a, rho_b in zip(x, *columns, strict=True)
    ]


def _each(given: Any, name: str, count: int) -> Sequence[Any]:
    """One for each problem, None where nothing was given."""
    if given is None:
        return [None] * count
    if len(given) != count:
        msg = f"`{name}` must hold one entry for each of the {count} problems: got {len(given)}. Pass as many, or one for all where that is allowed."
        raise ValueError(msg)
    return given


def _report(solutions: Sequence[Solution], on_failure: str) -> None:
    """Say which solutions do not meet their tolerance, as asked."""
    failed = [k for k, solution in enumerate(solutions) if not solution.status.is_converged]
    if not failed or on_failure == "ignore":
        return
    if on_failure == "raise":
        error = ConvergenceError(solutions[failed[0]])
        error.add_note(f"This was problem {failed[0]} of {len(solutions)}; {len(failed)} did not converge.")
        raise error
    shown = ", ".join(map(str, failed[:10])) + (", ..." if len(failed) > 10 else "")
    msg = f"{len(failed)} of {len(solutions)} problems did not converge ({shown}). The first: {solutions[failed[0]].status}"
    warnings.warn(msg, ConvergenceWarning, stacklevel=3)
