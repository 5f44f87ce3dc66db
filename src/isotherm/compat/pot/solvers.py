"""POT's `solve` family: one call for exact, regularised and unbalanced transport, with an `OTResult`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._arrays import Namespace, namespace_of, to_tensor
from isotherm._checks import check_choice, check_matrix, check_positive, check_weights
from isotherm._status import ConvergenceWarning
from isotherm.compat.pot.lazily import lazy_result
from isotherm.compat.pot.regularised import Stated, chosen_solver
from isotherm.compat.pot.result import OTResult
from isotherm.geometry import AbstractCost, Cosine, Euclidean, Manhattan, PointCloud, SquaredEuclidean
from isotherm.solvers import solve_batch as solve_together

if TYPE_CHECKING:
    from isotherm.solution import Solution

METHODS = ("sinkhorn", "sinkhorn_log", "mm", "lbfgsb")
SAMPLE_METHODS = ("geomloss", "geomloss_auto", "geomloss_tensorized", "geomloss_online", "geomloss_multiscale")
MISSING_METHODS = ("1d", "gaussian", "gaussian_hd", "lowrank", "nystroem", "factored", "sliced", "max_sliced", "bsp")
BATCH_METHODS = ("auto", "proximal", "log_sinkhorn", "sinkhorn")
GRADS = ("autodiff", "envelope", "last_step", "detach")
METRICS: dict[str, AbstractCost] = {
    "sqeuclidean": SquaredEuclidean(),
    "euclidean": Euclidean(),
    "cityblock": Manhattan(),
    "cosine": Cosine(),
}


def solve(  # noqa: PLR0913, PLR0917 - the original's signature, in its order
    M: Any,
    a: Any = None,
    b: Any = None,
    reg: float | None = None,
    c: Any = None,
    reg_type: Any = "KL",
    unbalanced: Any = None,
    unbalanced_type: str = "KL",
    method: str | None = None,
    n_threads: int = 1,
    max_iter: int | None = None,
    plan_init: Any = None,
    potentials_init: Any = None,
    tol: float | None = None,
    verbose: bool = False,  # noqa: FBT001, FBT002
    grad: str = "autodiff",
) -> OTResult:
    """Couple two sides whose costs are a matrix, exactly or at a temperature.

        min_P  <M, P> + reg R(P) + rho_a KL(P 1 | a) + rho_b KL(P' 1 | b)

    Time O(N M) per iteration, exact O(N^3); memory O(N M).

    Args:
        M: Costs, shape (N, M), finite; NumPy or torch, and results are alike.
        a: Weights of the sources, shape (N,); equal for None or [].
        b: Weights of the targets, shape (M,).
        reg: Temperature, units of cost; None or 0 for exact transport.
        c: Reference of R, shape (N, M), positive; a ⊗ b for None.
        reg_type: "KL" or "entropy". Others are not implemented.
        unbalanced: Price of missing the marginals, or a pair of them; None or infinity enforces them.
        unbalanced_type: "KL". Others are not implemented.
        method: None, "sinkhorn", "sinkhorn_log", "mm" or "lbfgsb". No effect: the method is `isotherm.Auto`'s choice.
        n_threads: No effect.
        max_iter: Most iterations of plain alternation; None leaves the method free.
        plan_init: No effect: the solution does not depend on it.
        potentials_init: Where to start, by the convention of `OTResult.potentials`.
        tol: L1 error of the marginals, per unit of mass; None for 1e-9 in float64, 1e-5 in float32.
        verbose: No effect: nothing is printed.
        grad: "autodiff" or "last_step", everything is differentiable (potentials and plan by the implicit function
            theorem); "envelope", the value alone; "detach", nothing. Tensors only. Exact: the value alone.

    Returns:
        An `OTResult`.

    Raises:
        ValueError: An unknown method, bad shapes or weights, `max_iter=0`.
        NotImplementedError: Another regulariser or penalty, or unbalanced transport without a temperature.

    Example:
        >>> result = solve([[0.0, 1.0], [1.0, 0.0]], reg=1.0)
        >>> result.plan.round(3)
        array([[0.366, 0.134],
               [0.134, 0.366]])

    References:
        [Flamary2021]
    """
    del n_threads, plan_init, verbose
    _check_method(method, METHODS, "solve")
    costs = to_tensor(M, "M")
    stated = _stated(costs, a, b, c, _terms(reg, reg_type, unbalanced, unbalanced_type), grad)
    return _solved(stated, namespace_of(M), init=_potentials(potentials_init, costs), max_iter=max_iter, tol=tol)


def solve_sample(  # noqa: PLR0913, PLR0917 - the original's signature, in its order
    X_a: Any,
    X_b: Any,
    a: Any = None,
    b: Any = None,
    metric: str = "sqeuclidean",
    reg: float | None = None,
    c: Any = None,
    reg_type: Any = "KL",
    unbalanced: Any = None,
    unbalanced_type: str = "KL",
    lazy: bool = False,  # noqa: FBT001, FBT002
    batch_size: int | None = None,
    method: str | None = None,
    n_threads: int = 1,
    max_iter: int | None = None,
    plan_init: Any = None,
    rank: int = 100,
    scaling: float = 0.95,
    potentials_init: Any = None,
    X_init: Any = None,
    tol: float | None = None,
    verbose: bool = False,  # noqa: FBT001, FBT002
    grad: str = "autodiff",
    random_state: Any = None,
    debias: bool | str = False,  # noqa: FBT001, FBT002
    n_projections: int = 50,
    projections: Any = None,
    scaler: Any = None,
) -> OTResult:
    """Couple two clouds, exactly or at a temperature; see `solve` for the arguments they share.

    Args:
        X_a: Sources, shape (N, D).
        X_b: Targets, shape (M, D).
        a: Weights of the sources, shape (N,); equal for None or [].
        b: Weights of the targets, shape (M,).
        metric: "sqeuclidean", "euclidean", "cityblock" or "cosine". For others compute the matrix and call `solve`.
        reg: Temperature, units of cost; None or 0 for exact transport.
        c: Reference of R, shape (N, M); a ⊗ b for None.
        reg_type: "KL" or "entropy".
        unbalanced: Price of missing the marginals.
        unbalanced_type: "KL".
        lazy: Never form the plan: memory O(N + M), `lazy_plan` in the result; `value` and `value_linear` are
            differentiable. Without a temperature a sparse plan.
        batch_size: No effect.
        method: As in `solve`, or "geomloss" and its kin: lazy. The original's other methods are not implemented.
        n_threads: No effect.
        max_iter: Most iterations of plain alternation.
        plan_init: No effect.
        rank: No effect.
        scaling: No effect.
        potentials_init: Where to start.
        X_init: No effect.
        tol: L1 error of the marginals, per unit of mass.
        verbose: No effect.
        grad: As in `solve`.
        random_state: No effect.
        debias: Whether values are less half of those of each side with itself; potentials and plan are those between
            the sides, and `log` has "res_ab", "res_aa" and "res_bb". "split" is not implemented.
        n_projections: No effect.
        projections: No effect.
        scaler: A function of a cloud, or an object with `transform`, for both sides.

    Returns:
        An `OTResult`.

    Raises:
        ValueError: An unknown method, bad shapes or weights.
        NotImplementedError: What the original knows and this does not; the message says what.

    Example:
        >>> result = solve_sample(torch.zeros(2, 1), torch.ones(2, 1), reg=1.0, lazy=True)
        >>> round(float(result.value_linear), 3), result.lazy_plan.shape
        (1.0, (2, 2))

    References:
        [Flamary2021]
    """
    del batch_size, n_threads, plan_init, rank, scaling, X_init, verbose, random_state, n_projections, projections
    if method is not None and method.lower() in MISSING_METHODS:
        msg = f"`method` must be one of {', '.join((*METHODS, *SAMPLE_METHODS))}: got {method!r}, which is not provided. Call POT for it."
        raise NotImplementedError(msg)
    _check_method(method, (*METHODS, *SAMPLE_METHODS), "solve_sample")
    clouds = [_scaled(X, scaler) for X in (X_a, X_b)]
    if debias == "split":
        msg = 'debias="split" is not provided: pass debias=True, which takes each side with all of itself.'
        raise NotImplementedError(msg)
    if debias:
        asked = {"metric": metric, "reg": reg, "c": c, "reg_type": reg_type, "lazy": lazy, "method": method}
        asked |= {"unbalanced": unbalanced, "unbalanced_type": unbalanced_type}
        asked |= {"potentials_init": potentials_init, "max_iter": max_iter, "tol": tol, "grad": grad}
        return _debiased((clouds[0], clouds[1]), (a, b), asked)
    if metric not in METRICS:
        msg = f"`metric` must be one of {', '.join(METRICS)}: got {metric!r}. Compute the matrix and call solve."
        raise NotImplementedError(msg)
    x, y = to_tensor(clouds[0], "X_a"), to_tensor(clouds[1], "X_b")
    how = {"init": _potentials(potentials_init, x), "max_iter": max_iter, "tol": tol}
    terms = _terms(reg, reg_type, unbalanced, unbalanced_type)
    if lazy or method in SAMPLE_METHODS:
        if c is not None:
            msg = "A reference `c` is a matrix: got one with lazy=True. Leave it out, or set lazy=False."
            raise NotImplementedError(msg)
        cloud = PointCloud(x, y, METRICS[metric])
        weights = {"a": _weights(a, "a", x, x.shape[0]), "b": _weights(b, "b", x, y.shape[0])}
        settings = {"terms": terms, "grad": _check_grad(grad), "namespace": namespace_of(clouds[0])}
        return lazy_result(cloud, **weights, **settings, **how)
    costs = METRICS[metric].pairwise(x, y)
    return _solved(_stated(costs, a, b, c, terms, grad), namespace_of(clouds[0]), **how)


def solve_batch(  # noqa: PLR0913, PLR0917 - the original's signature, in its order
    M: Any,
    reg: float | None = None,
    a: Any = None,
    b: Any = None,
    max_iter: int | None = None,
    tol: float | None = None,
    method: str = "auto",
    inner_iter: int = 1,
    inner_reg: float = 1e-3,
    reg_type: str = "entropy",
    grad: str = "envelope",
) -> OTResult:
    """Couple the sides of many problems of one size, together; see `solve`.

    Args:
        M: Costs, shape (B, N, M).
        reg: Temperature of all, units of cost; None or 0 for exact transport.
        a: Weights of the sources, shape (B, N); equal for None.
        b: Weights of the targets, shape (B, M).
        max_iter: Most iterations of plain alternation; None leaves the method free.
        tol: L1 error of the marginals, per unit of mass.
        method: "auto", "proximal", "log_sinkhorn" or "sinkhorn". No effect, but that the last two need a temperature.
        inner_iter: No effect.
        inner_reg: No effect.
        reg_type: "entropy" or "kl".
        grad: As in `solve`.

    Returns:
        An `OTResult` whose parts have an axis of problems, and whose log holds lists.

    Raises:
        ValueError: An unknown method, regulariser or rule, or a method that needs a temperature without one.

    Example:
        >>> solve_batch(torch.rand(4, 3, 2), reg=0.5).plan.shape
        torch.Size([4, 3, 2])
    """
    del inner_iter, inner_reg
    check_choice(method, "method", BATCH_METHODS)
    check_choice(reg_type, "reg_type", ("kl", "entropy"))
    if method in ("sinkhorn", "log_sinkhorn") and not reg:
        msg = f"`method={method!r}` needs a temperature: got reg={reg!r}. Pass reg > 0, or method='auto'."
        raise ValueError(msg)
    costs, namespace = to_tensor(M, "M"), namespace_of(M)
    if costs.ndim != 3:
        msg = f"`M` must hold a matrix of costs for each problem, shape (B, N, M): got {tuple(costs.shape)}. For one problem call solve."
        raise ValueError(msg)
    terms = _terms(reg, reg_type, None, "KL")
    weights = [[None] * len(costs) if _is_missing(w) else w for w in (a, b)]
    stated = [_stated(C, u, v, None, terms, grad) for C, u, v in zip(costs, *weights, strict=True)]
    solver = chosen_solver(terms["epsilon"], costs.dtype, max_iter, tol)
    solutions = solve_together([one.problem for one in stated], solver=solver, on_failure="ignore")
    _warn(solutions)
    each = [one.result(solution, Namespace.TORCH, tol) for one, solution in zip(stated, solutions, strict=True)]
    return _stacked(each, namespace)


def solve_sample_batch(  # noqa: PLR0913, PLR0917 - the original's signature, in its order
    X_a: Any,
    X_b: Any,
    reg: float | None = None,
    a: Any = None,
    b: Any = None,
    metric: str = "sqeuclidean",
    p: float = 2,
    max_iter: int | None = None,
    tol: float | None = None,
    method: str = "auto",
    inner_iter: int = 1,
    inner_reg: float = 1e-3,
    reg_type: str = "entropy",
    grad: str = "envelope",
) -> OTResult:
    """Couple the clouds of many problems of one size, together; see `solve_batch`.

    Args:
        X_a: Sources, shape (B, N, D).
        X_b: Targets, shape (B, M, D).
        reg: Temperature of all, units of cost; None or 0 for exact transport.
        a: Weights of the sources, shape (B, N); equal for None.
        b: Weights of the targets, shape (B, M).
        metric: "sqeuclidean", "euclidean", "cityblock", "cosine" or "minkowski".
        p: Exponent of "minkowski", (sum_d |x_d - y_d|^p)^(1 / p).
        max_iter: Most iterations of plain alternation.
        tol: L1 error of the marginals, per unit of mass.
        method: As in `solve_batch`.
        inner_iter: No effect.
        inner_reg: No effect.
        reg_type: "entropy" or "kl".
        grad: As in `solve`.

    Returns:
        An `OTResult` whose parts have an axis of problems.

    Raises:
        ValueError: As in `solve_batch`, or another metric.

    Example:
        >>> solve_sample_batch(torch.rand(4, 3, 2), torch.rand(4, 5, 2), reg=0.5).value.shape
        torch.Size([4])
    """
    x, y = to_tensor(X_a, "X_a"), to_tensor(X_b, "X_b")
    check_choice(metric, "metric", (*METRICS, "minkowski"))
    costs = torch.stack(
        [
            METRICS[metric].pairwise(one, two) if metric in METRICS else torch.cdist(one, two, p=p)
            for one, two in zip(x, y, strict=True)
        ]
    )
    weights = {name: None if _is_missing(w) else to_tensor(w, name).to(costs) for name, w in (("a", a), ("b", b))}
    steering = {"max_iter": max_iter, "tol": tol, "method": method, "inner_iter": inner_iter, "inner_reg": inner_reg}
    found = solve_batch(costs, reg, **weights, **steering, reg_type=reg_type, grad=grad)
    return found if namespace_of(X_a) is Namespace.TORCH else _exported(found)


def _stated(costs: Tensor, a: Any, b: Any, c: Any, terms: dict[str, Any], grad: str) -> Stated:
    """The problem, after a check of everything that was given."""
    check_matrix(costs, "M")
    reference = None if c is None else to_tensor(c, "c").to(costs)
    if reference is not None and (reference.shape != costs.shape or not bool((reference > 0).all())):
        msg = f"`c` must be positive, of shape {tuple(costs.shape)}: got shape {tuple(reference.shape)}, smallest entry {float(reference.min()):.4g}. To forbid pairs use isotherm.solve(reference=c)."
        raise ValueError(msg)
    if reference is not None and terms["regulariser"] == "entropy":
        msg = 'A reference `c` belongs to reg_type="KL": got one with "entropy", whose reference is one for each pair. Leave one out.'
        raise ValueError(msg)
    weights = _weights(a, "a", costs, costs.shape[0]), _weights(b, "b", costs, costs.shape[1])
    return Stated(costs=costs, a=weights[0], b=weights[1], reference=reference, grad=_check_grad(grad), **terms)


def _solved(
    stated: Stated,
    namespace: Namespace,
    *,
    init: tuple[Tensor, Tensor] | None,
    max_iter: int | None,
    tol: float | None,
) -> OTResult:
    solver = chosen_solver(stated.epsilon, stated.costs.dtype, max_iter, tol)
    solution = solver.run(stated.problem, init=stated.start(init))
    _warn([solution])
    return stated.result(solution, namespace, tol)


def _terms(reg: float | None, reg_type: Any, unbalanced: Any, unbalanced_type: str) -> dict[str, Any]:
    """Temperature, prices and regulariser, after a check that they are implemented."""
    epsilon = 0.0 if reg is None or float(reg) == 0.0 else check_positive(float(reg), "reg")
    regulariser = reg_type.lower() if isinstance(reg_type, str) else "a pair of functions"
    if epsilon and regulariser not in ("kl", "entropy"):
        msg = f'`reg_type` must be "KL" or "entropy": got {reg_type!r}. Other regularisers are not provided; call POT for them.'
        raise NotImplementedError(msg)
    prices = (math.inf, math.inf) if unbalanced is None else _prices(unbalanced)
    if unbalanced is not None and unbalanced_type.lower() != "kl":
        msg = f'`unbalanced_type` must be "KL": got {unbalanced_type!r}. Other penalties are not provided; call POT for them.'
        raise NotImplementedError(msg)
    if not epsilon and not math.isinf(min(prices)):
        msg = "Unbalanced transport needs a temperature here: got reg=0. Pass a small reg, or call POT."
        raise NotImplementedError(msg)
    return {"epsilon": epsilon, "rho_a": prices[0], "rho_b": prices[1], "regulariser": regulariser if epsilon else "kl"}


def _prices(unbalanced: Any) -> tuple[float, float]:
    """Prices of both sides, from a number, one in a sequence, or two."""
    sides = to_tensor(unbalanced, "unbalanced").detach().reshape(-1).tolist()
    if len(sides) not in (1, 2):
        msg = f"`unbalanced` must be one price or two: got {len(sides)}. Pass a number, or a pair."
        raise ValueError(msg)
    first, last = (check_positive(rho, "unbalanced", allow_infinity=True) for rho in (sides[0], sides[-1]))
    return first, last


def _check_method(method: str | None, known: Sequence[str], where: str) -> None:
    if method is not None and method.lower() not in known:
        msg = f"`method` of {where} must be one of {', '.join(known)}: got {method!r}. Leave it out: the method is chosen for you."
        raise ValueError(msg)


def _check_grad(grad: str) -> str:
    return check_choice(grad, "grad", GRADS)


def _is_missing(weights: Any) -> bool:
    """None, or the empty list that the original takes for equal weights."""
    return weights is None or len(weights) == 0


def _weights(weights: Any, name: str, like: Tensor, size: int) -> Tensor:
    if _is_missing(weights):
        return like.new_full((size,), 1.0 / size)
    tensor = to_tensor(weights, name, dtype=like.dtype, device=like.device)
    check_weights(tensor.detach(), name, size)
    return tensor


def _potentials(potentials: Any, like: Tensor) -> tuple[Tensor, Tensor] | None:
    if potentials is None:
        return None
    u, v = (to_tensor(one, "potentials_init", dtype=like.dtype, device=like.device) for one in potentials)
    return u, v


def _scaled(X: Any, scaler: Any) -> Any:
    """A cloud after the scaler, if there is one."""
    if scaler is None:
        return X
    function = getattr(scaler, "transform", scaler)
    if not callable(function):
        msg = f"`scaler` must be a function, or an object with `transform`: got {type(scaler).__name__}. Pass one of these."
        raise ValueError(msg)
    return function(X)


def _debiased(clouds: tuple[Any, Any], weights: tuple[Any, Any], settings: dict[str, Any]) -> OTResult:
    """Values less half of those of each side with itself."""
    (x, y), (a, b) = clouds, weights
    across, of_a, of_b = (solve_sample(*pair, **settings) for pair in ((x, y, a, b), (x, x, a, a), (y, y, b, b)))
    values = {
        name: getattr(across, name) - 0.5 * (getattr(of_a, name) + getattr(of_b, name))
        for name in ("value", "value_linear")
    }
    return OTResult(
        potentials=across.potentials,
        plan=None if across.lazy_plan is not None else across.plan,
        lazy_plan=across.lazy_plan,
        status=across.status,
        log={"res_ab": across, "res_aa": of_a, "res_bb": of_b},
        **values,
    )


def _warn(solutions: Sequence[Solution]) -> None:
    """Say once that a tolerance was not met."""
    failed = [solution for solution in solutions if not solution.status.is_converged]
    if failed:
        count = f"{len(failed)} of {len(solutions)} problems did not converge. " if len(solutions) > 1 else ""
        warnings.warn(f"{count}{failed[0].status}", ConvergenceWarning, stacklevel=4)


def _stacked(each: Sequence[OTResult], namespace: Namespace) -> OTResult:
    """The results of a batch as one."""
    stacked = OTResult(
        potentials=tuple(torch.stack(side) for side in zip(*(one.potentials for one in each), strict=True)),  # pyright: ignore
        value=torch.stack([one.value for one in each]),
        value_linear=torch.stack([one.value_linear for one in each]),
        plan=torch.stack([one.plan for one in each]),
        status=next((one.status for one in each if not one.log["solution"].status.is_converged), each[0].status),  # pyright: ignore
        log={name: [one.log[name] for one in each] for name in ("niter", "err", "solution")},  # pyright: ignore
    )
    return stacked if namespace is Namespace.TORCH else _exported(stacked)


def _exported(result: OTResult) -> OTResult:
    """A result of tensors as one of arrays."""
    numpy = Namespace.NUMPY
    return OTResult(
        potentials=tuple(numpy.export(side) for side in result.potentials),  # pyright: ignore
        value=numpy.export(result.value),
        value_linear=numpy.export(result.value_linear),
        plan=numpy.export(result.plan),
        status=result.status,
        log=result.log,
    )
