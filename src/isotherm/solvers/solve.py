"""The front door."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor

from isotherm._checks import check_choice, check_epsilon, check_warm
from isotherm._status import ConvergenceWarning
from isotherm.geometry import AbstractCost, AbstractGeometry, PointCloud, Relative
from isotherm.problem import Problem
from isotherm.solvers.abstract import AbstractSolver
from isotherm.solvers.annealed import Annealed
from isotherm.solvers.auto import Auto
from isotherm.solvers.exact import Exact
from isotherm.solvers.log_sinkhorn import LogSinkhorn
from isotherm.solvers.multiscale import Multiscale
from isotherm.solvers.newton import Newton
from isotherm.solvers.progress import progress_bar
from isotherm.solvers.scaling import Scaling
from isotherm.solvers.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from isotherm._arrays import ArrayLike
    from isotherm.solution import Solution
    from isotherm.solvers.initial import Init
    from isotherm.solvers.stopping import Callback

DEFAULT_EPSILON = Relative(0.05)
NAMED_SOLVERS: dict[str, AbstractSolver] = {
    "auto": Auto(),
    "log": LogSinkhorn(),
    "scaling": Scaling(),
    "annealed": Annealed(),
    "newton": Newton(),
    "multiscale": Multiscale(),
    "exact": Exact(),
}


class ConvergenceError(RuntimeError):
    """The solution does not meet its tolerance, and `on_failure="raise"` was asked for.

    Args:
        solution: What was reached, with status and valid bounds.
    """

    def __init__(self, solution: Solution) -> None:
        super().__init__(str(solution.status))
        self.solution = solution


def solve(  # noqa: PLR0913 - the front door names everything a problem is made of
    x: ArrayLike | AbstractGeometry,
    y: ArrayLike | None = None,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    *,
    epsilon: float | Relative | None = None,
    cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor] | None = None,
    rho_a: float = math.inf,
    rho_b: float = math.inf,
    reference: ArrayLike | None = None,
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    init: Init | None = None,
    on_failure: str = "warn",
    callback: Callback | None = None,
    progress: bool = False,
) -> Solution:
    """Couple two weighted point sets, with potentials, values and certified bounds.

        min_P  <C, P> + epsilon KL(P | kappa) + rho_a KL(P 1 | a) + rho_b KL(P' 1 | b)

    Arrays in, arrays out: NumPy gives NumPy, tensors stay on their device, dtype is kept. Time O(N M D) per
    iteration, memory O(N + M) for point clouds. The solve itself is not differentiated.

    Args:
        x: Sources, shape (N, D) or (N,); or a geometry (`PointCloud`, `CostMatrix`, `Grid`), and then no `y`.
        y: Targets, shape (M, D) or (M,).
        a: Weights of the sources, shape (N,), non-negative; equal when left out. Cast to the points' dtype.
        b: Weights of the targets, shape (M,).
        epsilon: Temperature, in units of cost, or `Relative(share)` of the cost's mean or standard deviation.
            Default: Relative(0.05), 5 % of the mean cost; the number in use is `solution.epsilon`.
        cost: Cost object, name ("sqeuclidean", "half_sqeuclidean", "euclidean", "cosine", "negative_dot") or a
            function of two clouds. Default: squared Euclidean.
        rho_a: Price of missing the source marginal, units of cost; infinity enforces it.
        rho_b: Price of missing the target marginal.
        reference: Coupling kappa to stay close to, shape (N, M), non-negative; a ⊗ b when left out.
        solver: A solver object or its name in lower case ("auto", "log", "scaling", "annealed", "newton", "multiscale",
            "exact"). Default: `Auto()`.
        tolerance: L1 error of the marginals, per unit of mass; the solver's own (1e-4) when left out.
        init: Start from an earlier `Solution`, of these points or of others in the same space (its potentials are
            extended to new points); from potentials (f, g); from "gaussian", the closed form for Gaussians with the
            moments of both sides; or from "subsample", the solution between a sixteenth of the points.
        on_failure: What to do when the tolerance is not met: "warn", "raise" (`ConvergenceError`) or "ignore".
        callback: Called with a `Check` at each look at the residual. Raise `StopSolve` from it, or press Ctrl-C, to get
            what has been reached, with the outcome `interrupted`.
        progress: Draw a bar on the terminal with the predicted time that is left. Needs `isotherm[cli]`.

    Returns:
        A `Solution`.

    Raises:
        ValueError: Bad shapes, weights, temperature, names; the message says what was expected, what came, what to do.
        TypeError: Not numbers, mixed libraries or dtypes.
        ConvergenceError: Only with `on_failure="raise"`.

    Example:
        >>> import numpy as np
        >>> solution = solve(np.array([0.0, 1.0]), np.array([0.0, 1.0]), epsilon=1.0)
        >>> solution.coupling.to_dense().round(3)
        array([[0.366, 0.134],
               [0.134, 0.366]])

    References:
        [Cuturi2013], [PeyreCuturi2019, chapter 4]
    """
    check_choice(on_failure, "on_failure", ("warn", "raise", "ignore"))
    chosen = as_solver(solver)
    if tolerance is not None:
        chosen = chosen.with_tolerance(tolerance)
    if epsilon is None:
        epsilon = 0.0 if isinstance(chosen, Exact) else DEFAULT_EPSILON
    elif not isinstance(epsilon, Relative) and not isinstance(chosen, Exact):
        check_warm(check_epsilon(epsilon))
    geometry = as_geometry(x, y, cost)
    problem = Problem(geometry, a, b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b, reference=reference)
    if progress:
        with progress_bar(
            getattr(getattr(chosen, "solver", chosen), "tolerance", DEFAULT_TOLERANCE), callback
        ) as listener:
            solution = chosen.run(problem, init=init, callback=listener)
    else:
        solution = chosen.run(problem, init=init, callback=callback)
    if not solution.status.is_converged:
        if on_failure == "raise":
            raise ConvergenceError(solution)
        if on_failure == "warn":
            warnings.warn(str(solution.status), ConvergenceWarning, stacklevel=2)
    return solution


def as_geometry(
    x: ArrayLike | AbstractGeometry,
    y: ArrayLike | None,
    cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor] | None,
) -> AbstractGeometry:
    """The geometry behind the first arguments of `solve`.

    Args:
        x: Sources, or a geometry.
        y: Targets.
        cost: Cost between points; squared Euclidean when left out.

    Returns:
        The geometry.

    Raises:
        TypeError: A geometry together with a second cloud or a cost, or one cloud alone.
    """
    if isinstance(x, AbstractGeometry):
        if y is not None or cost is not None:
            msg = f"A {type(x).__name__} already holds both sides and the cost: got `y` or `cost` too. Leave them out, or pass points."
            raise TypeError(msg)
        return x
    if y is None:
        msg = "`y` must hold the targets: got one cloud alone. Pass both sides, or a geometry such as CostMatrix(C)."
        raise TypeError(msg)
    return PointCloud(x, y, "sqeuclidean" if cost is None else cost)


def as_solver(solver: AbstractSolver | str | None) -> AbstractSolver:
    """The solver behind a name, or itself.

    Args:
        solver: A solver, one of `NAMED_SOLVERS`, or nothing.

    Returns:
        The solver; `Auto()` for nothing.

    Raises:
        ValueError: Unknown name; the nearest one is suggested.
        TypeError: Neither a solver nor a name.

    Example:
        >>> as_solver("log")
        LogSinkhorn(tolerance=0.0001, relative_gap=None, max_iterations=5000, check_every=None, relaxation=None)
    """
    if solver is None:
        return Auto()
    if isinstance(solver, AbstractSolver):
        return solver
    if isinstance(solver, str):
        return NAMED_SOLVERS[check_choice(solver, "solver", NAMED_SOLVERS)]
    msg = f"`solver` must be a solver object or a name: got {solver!r}. Pass LogSinkhorn(), say."
    raise TypeError(msg)
