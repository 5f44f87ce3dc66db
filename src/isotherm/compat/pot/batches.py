"""POT's `solve_batch`: many problems of one size, together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isotherm._arrays import Namespace, namespace_of, to_tensor
from isotherm._checks import check_choice
from isotherm.compat.pot.arguments import METRICS, asked_terms, is_missing, stated_problem, warn_unsolved
from isotherm.compat.pot.regularised import chosen_solver
from isotherm.compat.pot.result import OTResult
from isotherm.solvers import solve_batch as solve_together

METHODS = ("auto", "proximal", "log_sinkhorn", "sinkhorn")


def solve_batch(
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
    check_choice(method, "method", METHODS)
    check_choice(reg_type, "reg_type", ("kl", "entropy"))
    if method in ("sinkhorn", "log_sinkhorn") and not reg:
        msg = f"`method={method!r}` needs a temperature: got reg={reg!r}. Pass reg > 0, or method='auto'."
        raise ValueError(msg)
    costs, namespace = to_tensor(M, "M"), namespace_of(M)
    if costs.ndim != 3:
        msg = f"`M` must hold a matrix of costs for each problem, shape (B, N, M): got {tuple(costs.shape)}. For one problem call solve."
        raise ValueError(msg)
    terms = asked_terms(reg, reg_type, None, "KL")
    weights = [[None] * len(costs) if is_missing(w) else w for w in (a, b)]
    stated = [stated_problem(C, u, v, None, terms, grad) for C, u, v in zip(costs, *weights, strict=True)]
    solver = chosen_solver(terms["epsilon"], costs.dtype, max_iter, tol)
    solutions = solve_together([one.problem for one in stated], solver=solver, on_failure="ignore")
    warn_unsolved(solutions)
    each = [one.result(solution, Namespace.TORCH, tol) for one, solution in zip(stated, solutions, strict=True)]
    return _stacked(each, namespace)


def solve_sample_batch(
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
        metric: "sqeuclidean", "euclidean", "cityblock", "cosine", "minkowski", or "kl", sum_d y_d log(y_d / x_d) for
            positive coordinates.
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
    check_choice(metric, "metric", (*METRICS, "minkowski", "kl"))
    costs = torch.stack([_costs(one, two, metric, p) for one, two in zip(x, y, strict=True)])
    weights = {name: None if is_missing(w) else to_tensor(w, name).to(costs) for name, w in (("a", a), ("b", b))}
    steering = {"max_iter": max_iter, "tol": tol, "method": method, "inner_iter": inner_iter, "inner_reg": inner_reg}
    found = solve_batch(costs, reg, **weights, **steering, reg_type=reg_type, grad=grad)
    return found if namespace_of(X_a) is Namespace.TORCH else _exported(found)


def _costs(x: Tensor, y: Tensor, metric: str, p: float) -> Tensor:
    """All costs of one problem, shape (N, M)."""
    if metric == "minkowski":
        return torch.cdist(x, y, p=p)
    if metric == "kl":
        return torch.xlogy(y, y).sum(1) - x.log() @ y.T
    return METRICS[metric].pairwise(x, y)


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
