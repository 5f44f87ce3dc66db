"""POT's `sinkhorn` and `sinkhorn2`, and the methods that they choose from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm.compat.pot.arrays import ArrayKind, kind_of
from isotherm.compat.pot.entropic import Entropic, Stop, balanced_term, potentials_of_scalings, solve_terms
from isotherm.compat.pot.exact import emd
from isotherm.compat.pot.warn import warn_unknown, warn_user
from isotherm.divergences.term import number
from isotherm.geometry import CostMatrix

if TYPE_CHECKING:
    from isotherm._arrays import ArrayLike

LEAST_TEMPERATURES = 35  # of POT's epsilon scaling, whatever numItermax says
METHODS_OF_SINKHORN2 = ("sinkhorn", "sinkhorn_log", "sinkhorn_stabilized")


def sinkhorn(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    method: str = "sinkhorn",
    numItermax: int = 1000,
    stopThr: float = 1e-9,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """Plan of entropic transport, as `ot.sinkhorn`.

        min_P  <P, M> + reg sum_ij P_ij log P_ij,    P 1 = a,  P' 1 = b

    Every method is answered in the same way, by sweeps in the log domain and Newton's method where they are slow; they
    differ in the entries of the log. Gradients with torch are those of the optimum, by the implicit function theorem.

    Args:
        a: Weights of the sources, shape (N,); an empty list for equal ones.
        b: Weights of the targets, shape (M,), of the same mass; or K histograms, shape (M, K).
        M: Costs, shape (N, M), finite.
        reg: Temperature, units of cost. Zero gives the exact plan, with a warning.
        method: "sinkhorn", "sinkhorn_log", "sinkhorn_stabilized", "sinkhorn_epsilon_scaling" or "greenkhorn".
        numItermax: Most updates of both scalings.
        stopThr: L1 distance of the marginals at which to stop; no less than the dtype resolves.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning.
        warmstart: Where to start: log u and log v; reg log u and reg log v for the two stabilized methods.
        **kwargs: `tau`, `print_period`, `epsilon0`, `numInnerItermax`: without effect but for the last; others are a warning.

    Returns:
        The plan, shape (N, M), or the costs <P, M> of K histograms, shape (K,); with `log` a pair.

    Raises:
        ValueError: An unknown method; masses that differ; bad shapes or weights.
        TypeError: Arrays of another library.

    Example:
        >>> sinkhorn([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], 1.0)
        array([[0.36552929, 0.13447071],
               [0.13447071, 0.36552929]])

    References:
        [Cuturi2013]
    """
    function = _method(method, METHODS)
    return function(
        a, b, M, reg, numItermax=numItermax, stopThr=stopThr, verbose=verbose, log=log, warn=warn,
        warmstart=warmstart, **kwargs,
    )  # fmt: skip


def sinkhorn2(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    method: str = "sinkhorn",
    numItermax: int = 1000,
    stopThr: float = 1e-9,
    verbose: bool = False,
    log: bool = False,
    warn: bool = False,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """Cost of the entropic plan, <P, M>, as `ot.sinkhorn2`; without the entropy.

    Args:
        a: Weights of the sources, shape (N,); see `sinkhorn` for all arguments.
        b: Weights of the targets, shape (M,), or K histograms, shape (M, K).
        M: Costs, shape (N, M).
        reg: Temperature, units of cost.
        method: "sinkhorn", "sinkhorn_log" or "sinkhorn_stabilized".
        numItermax: Most updates of both scalings.
        stopThr: L1 distance of the marginals at which to stop.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning; here it is not unless asked for.
        warmstart: Where to start.
        **kwargs: As for `sinkhorn`.

    Returns:
        A scalar, or shape (K,); with `log` a pair. Units of cost times mass.

    Example:
        >>> round(float(sinkhorn2([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], 1.0)), 12)
        0.26894142137
    """
    function = _method(method, {name: METHODS[name] for name in METHODS_OF_SINKHORN2})
    found, entries = function(
        a, b, M, reg, numItermax=numItermax, stopThr=stopThr, verbose=verbose, log=True, warn=warn,
        warmstart=warmstart, **kwargs,
    )  # fmt: skip
    if found.ndim == 2:
        found = (found * kind_of(M, a, b).array(M, "M")).sum()
    return (found, entries) if log else found


def sinkhorn_knopp(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    numItermax: int = 1000,
    stopThr: float = 1e-9,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """`sinkhorn` with the log of POT's scaling method: `err`, `niter`, `u`, `v`."""
    warn_unknown(kwargs, WITHOUT_EFFECT)
    stop = Stop(threshold=stopThr, iterations=numItermax, warn=warn, verbose=verbose)
    return _solve(a, b, M, reg, stop, warmstart, ("err", "niter", "u", "v"), log=log)


def sinkhorn_log(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    numItermax: int = 1000,
    stopThr: float = 1e-9,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """`sinkhorn` with the log of POT's method in the log domain: `err`, `niter`, `log_u`, `log_v`, `u`, `v`."""
    warn_unknown(kwargs, WITHOUT_EFFECT)
    stop = Stop(threshold=stopThr, iterations=numItermax, warn=warn, verbose=verbose)
    return _solve(a, b, M, reg, stop, warmstart, ("err", "niter", "log_u", "log_v", "u", "v"), log=log)


def greenkhorn(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    numItermax: int = 10000,
    stopThr: float = 1e-9,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
) -> Any:
    """`sinkhorn` with the log of POT's greedy method: `n_iter`, `u`, `v`. An iteration is a whole sweep, not one row."""
    stop = Stop(threshold=stopThr, iterations=numItermax, warn=warn, verbose=verbose)
    return _solve(a, b, M, reg, stop, warmstart, ("n_iter", "u", "v"), log=log)


def sinkhorn_stabilized(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    numItermax: int = 1000,
    tau: float = 1e3,
    stopThr: float = 1e-9,
    warmstart: Any = None,
    verbose: bool = False,
    print_period: int = 20,
    log: bool = False,
    warn: bool = True,
    **kwargs: Any,
) -> Any:
    """`sinkhorn` with the log of POT's stabilized method: `err`, `n_iter`, `logu`, `logv`, `alpha`, `beta`, `warmstart`.

    A warm start is in units of cost, reg log u and reg log v. Nothing needs absorbing in the log domain: `tau` has no effect.
    """
    del tau, print_period
    warn_unknown(kwargs, WITHOUT_EFFECT)
    stop = Stop(threshold=stopThr, iterations=numItermax, warn=warn, verbose=verbose)
    names = ("err", "n_iter", "logu", "logv", "alpha", "beta", "warmstart")
    return _solve(a, b, M, reg, stop, _unitless(warmstart, reg), names, log=log)


def sinkhorn_epsilon_scaling(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    numItermax: int = 100,
    epsilon0: float = 1e4,
    numInnerItermax: int = 100,
    tau: float = 1e3,
    stopThr: float = 1e-9,
    warmstart: Any = None,
    verbose: bool = False,
    print_period: int = 10,
    log: bool = False,
    warn: bool = True,
    **kwargs: Any,
) -> Any:
    """`sinkhorn` with the log of POT's cooling method: `alpha`, `beta`, `warmstart`, `niter`, `err`.

    The solver decides itself whether and from where to cool: `epsilon0` has no effect. The budget is POT's, temperatures
    times inner iterations. A warm start is in units of cost.
    """
    del epsilon0, tau, print_period
    warn_unknown(kwargs, WITHOUT_EFFECT)
    budget = max(LEAST_TEMPERATURES, numItermax) * numInnerItermax
    stop = Stop(threshold=stopThr, iterations=budget, warn=warn, verbose=verbose)
    names = ("alpha", "beta", "warmstart", "niter", "err")
    return _solve(a, b, M, reg, stop, _unitless(warmstart, reg), names, log=log)


def screenkhorn(*args: Any, **kwargs: Any) -> Any:
    """Refused: an approximation that leaves out points; `sinkhorn` gives the plan itself."""
    del args, kwargs
    msg = (
        "`screenkhorn` leaves out points for speed and misses the marginals: it is not provided. "
        "Use sinkhorn, which is fast and exact to its tolerance."
    )
    raise NotImplementedError(msg)


METHODS: dict[str, Callable[..., Any]] = {
    "sinkhorn": sinkhorn_knopp,
    "sinkhorn_log": sinkhorn_log,
    "greenkhorn": greenkhorn,
    "sinkhorn_stabilized": sinkhorn_stabilized,
    "sinkhorn_epsilon_scaling": sinkhorn_epsilon_scaling,
}
WITHOUT_EFFECT = {"tau", "print_period", "epsilon0", "numInnerItermax"}  # of a method that is not the one asked for


def _method(name: str, methods: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name.lower() not in methods:
        msg = f"Unknown method {name!r}: expected one of {', '.join(methods)}. Choose one of these; one solver answers them all."
        raise ValueError(msg)
    return methods[name.lower()]


def _unitless(warmstart: Any, reg: Any) -> Any:
    """log u and log v from reg log u and reg log v."""
    return None if warmstart is None else tuple(potential / number(reg) for potential in warmstart)


def _solve(
    a: ArrayLike, b: ArrayLike, M: ArrayLike, reg: Any, stop: Stop, warmstart: Any, names: tuple[str, ...], *, log: bool
) -> Any:
    """The plan, or the costs of K histograms, and the entries of the log that have these names."""
    kind = kind_of(M, a, b)
    geometry = CostMatrix(kind.tensor(M, "M"))
    costs, (size_a, size_b) = geometry.matrix, geometry.shape
    a, b = kind.weights(a, "a", size_a), kind.weights(b, "b", size_b)
    histograms = list(b.T) if b.ndim == 2 else [b]
    reg = reg if isinstance(reg, Tensor) else float(reg)
    if number(reg) == 0.0:
        return _exact(kind, a, histograms, costs, is_many=b.ndim == 2, log=log)
    terms = [balanced_term(geometry, a, column, reg) for column in histograms]
    starts = _starts(warmstart, len(terms)) if b.ndim == 2 else [warmstart]
    inits = [potentials_of_scalings(term, start) for term, start in zip(terms, starts, strict=True)]
    results = solve_terms(terms, stop, inits)
    found = torch.stack([(result.plan * costs).sum() for result in results]) if b.ndim == 2 else results[0].plan
    if not log:
        return kind.export(found)
    return kind.export(found), _entries(kind, results, names, is_many=b.ndim == 2)


def _starts(warmstart: Any, count: int) -> list[Any]:
    """The warm start of each histogram: from one pair of matrices, or from a list of pairs."""
    if warmstart is None:
        return [None] * count
    if getattr(warmstart[0], "ndim", 1) == 2:
        return list(zip(warmstart[0].T, warmstart[1].T, strict=True))
    return list(warmstart)


def _entries(kind: ArrayKind, results: list[Entropic], names: tuple[str, ...], *, is_many: bool) -> dict[str, Any]:
    """What POT's logs hold, and the solution with its certificate."""
    sides = zip(*(result.log_scalings for result in results), strict=True)
    log_u, log_v = (torch.stack(side, 1) if is_many else side[0] for side in sides)
    reg = results[0].term.epsilon
    alpha, beta = kind.export(reg * log_u), kind.export(reg * log_v)
    iterations = max(result.solution.iterations for result in results)
    solutions = [result.solution for result in results]
    offered = {
        "err": max((result.errors for result in results), key=len),
        "niter": iterations,
        "n_iter": iterations,
        "u": kind.export(log_u.exp()),
        "v": kind.export(log_v.exp()),
        "log_u": kind.export(log_u),
        "log_v": kind.export(log_v),
        "logu": kind.export(log_u),
        "logv": kind.export(log_v),
        "alpha": alpha,
        "beta": beta,
        "warmstart": (alpha, beta),
    }
    return {name: offered[name] for name in names} | {"solution": solutions if is_many else solutions[0]}


def _exact(kind: ArrayKind, a: Tensor, histograms: list[Tensor], costs: Tensor, *, is_many: bool, log: bool) -> Any:
    """The answer at temperature zero."""
    msg = "`reg` is zero: the exact plan is returned, which has no scalings. Call emd to ask for it."
    warn_user(msg)
    plans = [emd(a, column, costs) for column in histograms]
    found = torch.stack([(plan * costs).sum() for plan in plans]) if is_many else plans[0]
    return (kind.export(found), {"err": [], "niter": 0}) if log else kind.export(found)
