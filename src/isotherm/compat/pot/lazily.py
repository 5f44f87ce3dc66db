"""Clouds coupled without a matrix, as the original's `lazy=True` states it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._arrays import Namespace
from isotherm.compat.pot.regularised import chosen_solver, entropy_offset, warm_cache
from isotherm.compat.pot.result import LazyPlan, OTResult
from isotherm.divergences import entropic_value, transport_cost, wasserstein
from isotherm.solvers import solve

if TYPE_CHECKING:
    from isotherm.geometry import PointCloud


def lazy_result(
    cloud: PointCloud,
    *,
    a: Tensor,
    b: Tensor,
    terms: dict[str, Any],
    grad: str,
    namespace: Namespace,
    init: tuple[Tensor, Tensor] | None,
    max_iter: int | None,
    tol: float | None,
) -> OTResult:
    """Solve between points, in memory O(N + M).

    Args:
        cloud: The points; they may ask for a derivative.
        a: Weights of the sources, shape (N,).
        b: Weights of the targets, shape (M,).
        terms: `epsilon`, `rho_a`, `rho_b` and `regulariser`.
        grad: "detach" for no derivatives, "envelope" for those of the value alone.
        namespace: Library of the arrays in the result.
        init: Potentials by the original's convention.
        max_iter: Most iterations of plain alternation.
        tol: L1 error of the marginals.

    Returns:
        The result, with a lazy plan, or a sparse one where there is no temperature.

    Raises:
        NotImplementedError: The entropy form, unbalanced.
    """
    epsilon, rho = terms["epsilon"], {name: terms[name] for name in ("rho_a", "rho_b")}
    is_balanced = math.isinf(min(rho.values()))
    if terms["regulariser"] == "entropy" and not is_balanced:
        msg = 'Unbalanced transport in entropy form needs a matrix: got lazy=True. Pass reg_type="KL", or lazy=False.'
        raise NotImplementedError(msg)
    shares = (a, b) if is_balanced else (torch.ones_like(a), torch.ones_like(b))
    start = None
    if init is not None and epsilon:
        f, g = (epsilon * torch.where(w > 0, u - w.log(), 0.0) for u, w in zip(init, shares, strict=True))
        start = (f.detach(), g.detach())
    solver = chosen_solver(epsilon, cloud.dtype, max_iter, tol)
    solution = solve(cloud.detach(), None, a.detach(), b.detach(), epsilon=epsilon, **rho, solver=solver, init=start)
    log = {"niter": solution.iterations, "err": max(solution.marginal_error), "solution": solution}
    common: dict[str, Any] = {"status": str(solution.status), "log": log}
    asks = torch.is_grad_enabled() and grad != "detach" and any(t.requires_grad for t in (cloud.x, cloud.y, a, b))
    if not epsilon:
        value = wasserstein(cloud, None, a, b) if asks else torch.as_tensor(solution.transport_cost)
        sparse: Any = solution.coupling
        plan = sparse.to_torch() if namespace is Namespace.TORCH else sparse.to_scipy()
        prices = tuple(namespace.export(torch.as_tensor(price)) for price in solution.potentials)
        value = namespace.export(value)
        return OTResult(potentials=prices, value=value, value_linear=value, sparse_plan=plan, **common)  # pyright: ignore
    settings = {"epsilon": epsilon, **rho, "tolerance": tol, "on_failure": "ignore", "cache": warm_cache(solution)}
    value = entropic_value(cloud, None, a, b, **settings) if asks else torch.as_tensor(solution.value)
    if terms["regulariser"] == "entropy":
        value = value + entropy_offset(a, b, epsilon)
    if asks and grad != "envelope":
        linear = transport_cost(cloud, None, a, b, **settings)
    else:
        linear = torch.as_tensor(solution.transport_cost)
    u, v = (
        namespace.export(p / epsilon + (w.detach().log() if is_balanced else 0.0))
        for p, w in zip(solution.potentials, (a, b), strict=True)
    )
    return OTResult(
        potentials=(u, v),
        value=namespace.export(value if asks else value.detach()),
        value_linear=namespace.export(linear),
        lazy_plan=LazyPlan(solution.coupling),
        **common,
    )
