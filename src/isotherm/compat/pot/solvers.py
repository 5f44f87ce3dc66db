"""POT's `solve` and `solve_sample`: one call for exact, regularised and unbalanced transport."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isotherm._arrays import Namespace, namespace_of, to_tensor
from isotherm.compat.pot.arguments import (
    METRICS,
    asked_terms,
    check_grad,
    given_potentials,
    side_weights,
    stated_problem,
    warn_unsolved,
)
from isotherm.compat.pot.lazily import lazy_result
from isotherm.compat.pot.lines import METHODS as LINE_METHODS
from isotherm.compat.pot.lines import exported, line_directions, line_result
from isotherm.compat.pot.regularised import Stated, chosen_solver
from isotherm.compat.pot.result import OTResult
from isotherm.geometry import PointCloud

METHODS = ("sinkhorn", "sinkhorn_log", "mm", "lbfgsb")
SAMPLE_METHODS = ("geomloss", "geomloss_auto", "geomloss_tensorized", "geomloss_online", "geomloss_multiscale")
MISSING_METHODS = ("gaussian", "gaussian_hd", "lowrank", "nystroem", "factored", "bsp")


def solve(
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
    verbose: bool = False,
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
    stated = stated_problem(costs, a, b, c, asked_terms(reg, reg_type, unbalanced, unbalanced_type), grad)
    return _solved(stated, namespace_of(M), init=given_potentials(potentials_init, costs), max_iter=max_iter, tol=tol)


def solve_sample(
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
    lazy: bool = False,
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
    verbose: bool = False,
    grad: str = "autodiff",
    random_state: Any = None,
    debias: bool | str = False,
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
        method: As in `solve`; "geomloss" and its kin, lazy; or "1d", "sliced" and "max_sliced", exact transport along each
            coordinate or along directions, whose values alone are known. The original's others are not implemented.
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
        random_state: Seed of the directions.
        debias: Whether values are less half of those of each side with itself; potentials and plan are those between
            the sides, and `log` has "res_ab", "res_aa" and "res_bb". "split": the first half of each side's mass against
            that of the other and the second likewise, less each half against its other one.
        n_projections: Number of directions.
        projections: Directions, shape (D, K).
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
    del batch_size, n_threads, plan_init, rank, scaling, X_init, verbose
    if method is not None and method.lower() in MISSING_METHODS:
        msg = f"`method` must be one of {', '.join((*METHODS, *SAMPLE_METHODS))}: got {method!r}, which is not provided. Call POT for it."
        raise NotImplementedError(msg)
    _check_method(method, (*METHODS, *SAMPLE_METHODS, *LINE_METHODS), "solve_sample")
    method = None if method is None else method.lower()
    clouds = [_scaled(X, scaler) for X in (X_a, X_b)]
    if debias:
        asked = {"metric": metric, "reg": reg, "c": c, "reg_type": reg_type, "lazy": lazy, "method": method}
        asked |= {"unbalanced": unbalanced, "unbalanced_type": unbalanced_type}
        asked |= {"potentials_init": potentials_init, "max_iter": max_iter, "tol": tol, "grad": grad}
        asked |= {"random_state": random_state, "n_projections": n_projections, "projections": projections}
        return (_debiased_by_halves if debias == "split" else _debiased)((clouds[0], clouds[1]), (a, b), asked)
    x, y = to_tensor(clouds[0], "X_a"), to_tensor(clouds[1], "X_b")
    if method in LINE_METHODS:
        weights = side_weights(a, "a", x, x.shape[0]), side_weights(b, "b", x, y.shape[0])
        directions = line_directions(projections, n_projections, random_state, x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and check_grad(grad) != "detach"):
            return exported(line_result((x, y), weights, method, metric, directions), namespace_of(clouds[0]))
    if metric not in METRICS:
        msg = f"`metric` must be one of {', '.join(METRICS)}: got {metric!r}. Compute the matrix and call solve."
        raise NotImplementedError(msg)
    how = {"init": given_potentials(potentials_init, x), "max_iter": max_iter, "tol": tol}
    terms = asked_terms(reg, reg_type, unbalanced, unbalanced_type)
    if lazy or method in SAMPLE_METHODS:
        if c is not None:
            msg = "A reference `c` is a matrix: got one with lazy=True. Leave it out, or set lazy=False."
            raise NotImplementedError(msg)
        cloud = PointCloud(x, y, METRICS[metric])
        weights = {"a": side_weights(a, "a", x, x.shape[0]), "b": side_weights(b, "b", x, y.shape[0])}
        settings = {"terms": terms, "grad": check_grad(grad), "namespace": namespace_of(clouds[0])}
        return lazy_result(cloud, **weights, **settings, **how)
    costs = METRICS[metric].pairwise(x, y)
    return _solved(stated_problem(costs, a, b, c, terms, grad), namespace_of(clouds[0]), **how)


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
    warn_unsolved([solution])
    return stated.result(solution, namespace, tol)


def _check_method(method: str | None, known: Sequence[str], where: str) -> None:
    if method is not None and method.lower() not in known:
        msg = f"`method` of {where} must be one of {', '.join(known)}: got {method!r}. Leave it out: the method is chosen for you."
        raise ValueError(msg)


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


def _debiased_by_halves(clouds: tuple[Any, Any], weights: tuple[Any, Any], settings: dict[str, Any]) -> OTResult:
    """Values between halves of both sides, less those between the halves of each."""
    (x1, x2, a1, a2), (y1, y2, b1, b2) = (_halves(X, w) for X, w in zip(clouds, weights, strict=True))
    parts = {
        "res_aa": (x1, x2, a1, a2),
        "res_bb": (y1, y2, b1, b2),
        "res_ab1": (x1, y1, a1, b1),
        "res_ab2": (x2, y2, a2, b2),
    }
    found = {name: solve_sample(*part, **settings) for name, part in parts.items()}
    value = found["res_ab1"].value + found["res_ab2"].value - found["res_aa"].value - found["res_bb"].value
    return OTResult(
        value=value, value_linear=value, status="Debiased", log=found | {"a1": a1, "a2": a2, "b1": b1, "b2": b2}
    )


def _halves(X: Any, weights: Any) -> tuple[Any, Any, Any, Any]:
    """Both halves of a cloud's mass, in its order, with their weights; a point may belong to both."""
    points, namespace = to_tensor(X, "X"), namespace_of(X)
    w = side_weights(weights, "weights", points, points.shape[0])
    below = w.cumsum(0) - w  # mass before each point
    first = (0.5 * w.sum() - below).clamp(min=torch.zeros_like(w), max=w)
    sides = [(kept, part[kept]) for part in (first, w - first) for kept in [part.detach() > 0]]
    (one, a1), (two, a2) = sides
    return tuple(namespace.export(part) for part in (points[one], points[two], a1, a2))  # pyright: ignore[reportReturnType]
