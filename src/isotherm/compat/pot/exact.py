"""POT's `emd` and `emd2`: exact transport, by isotherm's `Exact`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isotherm.compat.pot.arrays import ArrayKind, kind_of
from isotherm.compat.pot.warn import warn_user
from isotherm.geometry import CostMatrix
from isotherm.problem import Problem
from isotherm.solvers import Exact

if TYPE_CHECKING:
    from isotherm._arrays import ArrayLike

OPTIMAL = 1  # POT's code for a solved problem
DECIMALS = 6  # to which POT wants the masses to agree


def emd(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    numItermax: int = 100000,
    log: bool = False,
    center_dual: bool = True,
    numThreads: int = 1,
    check_marginals: bool = True,
    potentials_init: Any = None,
) -> Any:
    """Exact plan, as `ot.emd`; always to the optimum.

        min_P  <P, M>,    P 1 = a,  P' 1 = b,  P >= 0

    Equal weights and N = M are an assignment, solved by SciPy; the rest goes to POT's network simplex, which must be
    installed. In float64 on the CPU.

    Args:
        a: Weights of the sources, shape (N,); an empty list for equal ones.
        b: Weights of the targets, shape (M,).
        M: Costs, shape (N, M), dense and finite.
        numItermax: Accepted, without effect: an unfinished plan is no plan.
        log: Whether to return a dictionary too: `cost`, `u`, `v`, `warning` (None), `result_code` (1).
        center_dual: Accepted: potentials are always centred, <a, u> = <b, v>.
        numThreads: Deprecated in POT; anything but 1 is a `DeprecationWarning`.
        check_marginals: Whether unequal masses are an error; else b is rescaled.
        potentials_init: Accepted, without effect.

    Returns:
        The plan, shape (N, M), with gradients of none of its arguments; with `log` a pair.

    Raises:
        AssertionError: Sizes or masses differ, as in POT.

    Example:
        >>> emd([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]])
        array([[0.5, 0. ],
               [0. , 0.5]])
    """
    del numItermax, center_dual, potentials_init
    _check_threads(numThreads)
    kind = _kind(a, b, M)
    costs = kind.tensor(M, "M").detach()
    a, b = (kind.weights(w, name, size).detach() for w, name, size in zip((a, b), "ab", costs.shape, strict=True))
    plan, u, v = _solve(a, b, costs, check_marginals=check_marginals)
    if not log:
        return kind.export(plan)
    return kind.export(plan), _entries(kind, float((plan * costs.double()).sum()), u, v)


def emd2(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    processes: int = 1,
    numItermax: int = 100000,
    log: bool = False,
    return_matrix: bool = False,
    center_dual: bool = True,
    numThreads: int = 1,
    check_marginals: bool = True,
    potentials_init: Any = None,
) -> Any:
    """Cost of the exact plan, as `ot.emd2`.

    Differentiable with torch, almost everywhere: by M the plan, by the weights the potentials less their means, which is
    their derivative along changes that keep the mass.

    Args:
        a: Weights of the sources, shape (N,); see `emd` for all arguments.
        b: Weights of the targets, shape (M,), or K histograms, shape (M, K).
        M: Costs, shape (N, M).
        processes: Accepted, without effect.
        numItermax: Accepted, without effect.
        log: Whether to return a list [cost, dictionary].
        return_matrix: Whether that dictionary holds the plan, as `G`.
        center_dual: Accepted.
        numThreads: Deprecated in POT.
        check_marginals: Whether unequal masses are an error.
        potentials_init: Accepted, without effect.

    Returns:
        A scalar in units of cost times mass; [cost, dictionary] with `log` or `return_matrix`; a list of these for K
        histograms.

    Raises:
        AssertionError: Sizes or masses differ, as in POT.

    Example:
        >>> float(emd2([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [2.0, 1.0]]))
        0.5
    """
    del numItermax, center_dual, potentials_init
    _check_threads(numThreads)
    if processes > 1:
        msg = "The 'processes' parameter has been deprecated. Multiprocessing should be done outside."
        warn_user(msg)
    kind = _kind(a, b, M)
    costs = kind.tensor(M, "M")
    a, b = (kind.weights(w, name, size) for w, name, size in zip((a, b), "ab", costs.shape, strict=True))

    def one(b: Tensor) -> Any:
        plan, u, v = _solve(a.detach(), b.detach(), costs.detach(), check_marginals=check_marginals)
        value = (plan * costs.detach().double()).sum()
        moved = ((plan * (costs - costs.detach())).sum()) + (a - a.detach()).double() @ (u - u.mean())
        moved = moved + (b - b.detach()).double() @ (v - v.mean())  # zero, with the plan and the prices as derivative
        cost = kind.export(value + moved)
        if not (log or return_matrix):
            return cost
        return [cost, _entries(kind, cost, u, v) | ({"G": kind.export(plan)} if return_matrix else {})]

    return one(b) if b.ndim == 1 else [one(column) for column in b.T]


def _kind(a: ArrayLike, b: ArrayLike, M: ArrayLike) -> ArrayKind:
    """Library and dtype of the weights, else of the costs; a warning where weights are integers."""
    if getattr(M, "is_sparse", False) or type(M).__module__.startswith("scipy.sparse"):
        msg = f"`M` must be dense: got {type(M).__name__}. Convert it with M.toarray() or M.to_dense(), its missing pairs at a high cost."
        raise NotImplementedError(msg)
    kind = kind_of(a, b, M)
    for weights in (a, b):
        if isinstance(weights, np.ndarray) and weights.size and weights.dtype.kind in "iu":
            msg = "Input histogram consists of integer; the plan is computed and returned as floating point numbers."
            warn_user(msg)
            break
    return kind


def _check_threads(count: int) -> None:
    if count != 1:
        msg = "The 'numThreads' parameter is deprecated and has no effect."
        warn_user(msg, DeprecationWarning)


@torch.no_grad()
def _solve(a: Tensor, b: Tensor, costs: Tensor, *, check_marginals: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The plan and its centred potentials, in float64."""
    if (a.shape[0], b.shape[0]) != tuple(costs.shape):
        msg = f"Dimension mismatch, check dimensions of M with a and b: got {tuple(costs.shape)}, {a.shape[0]} and {b.shape[0]}."
        raise AssertionError(msg)
    a, b = a.double(), b.double()
    masses = float(a.sum()), float(b.sum())
    if check_marginals and abs(masses[0] - masses[1]) >= 1.5 * 10.0**-DECIMALS:
        msg = f"a and b vector must have the same sum: got {masses[0]:.9g} and {masses[1]:.9g}. Normalise both."
        raise AssertionError(msg)
    problem = Problem(CostMatrix(costs.double()), a, b * (masses[0] / masses[1]), epsilon=0.0)
    solution = Exact().run(problem)
    f, g = solution.potentials
    shift = (b @ g / masses[1] - a @ f / masses[0]) / 2.0
    return solution.coupling.to_dense(), f + shift, g - shift


def _entries(kind: ArrayKind, cost: Any, u: Tensor, v: Tensor) -> dict[str, Any]:
    return {"cost": cost, "u": kind.export(u), "v": kind.export(v), "warning": None, "result_code": OPTIMAL}
