"""POT's `ot.unbalanced`: entropic transport with prices for missing the marginals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm.compat.pot.arrays import ArrayKind, kind_of
from isotherm.compat.pot.entropic import Entropic, Stop, solve_terms, unbalanced_term
from isotherm.compat.pot.warn import warn_unknown, warn_user
from isotherm.divergences.term import number
from isotherm.geometry import CostMatrix

if TYPE_CHECKING:
    from isotherm._arrays import ArrayLike

METHODS = ("sinkhorn", "sinkhorn_stabilized", "sinkhorn_translation_invariant", "sinkhorn_reg_scaling")
WITHOUT_EFFECT = {"tau"}


def sinkhorn_unbalanced(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    reg_m: Any,
    method: str = "sinkhorn",
    reg_type: str = "kl",
    c: ArrayLike | None = None,
    warmstart: Any = None,
    numItermax: int = 1000,
    stopThr: float = 1e-6,
    verbose: bool = False,
    log: bool = False,
    **kwargs: Any,
) -> Any:
    """Plan of unbalanced entropic transport, as `ot.unbalanced.sinkhorn_unbalanced`.

        min_P  <P, M> + reg KL(P | c) + reg_m1 KL(P 1 | a) + reg_m2 KL(P' 1 | b)

    Args:
        a: Weights of the sources, shape (N,); an empty list for equal ones.
        b: Weights of the targets, shape (M,), of any mass; or K histograms, shape (M, K), for which c is one.
        M: Costs, shape (N, M), finite.
        reg: Temperature > 0, units of cost.
        reg_m: Price of missing the marginals, units of cost: a number, or one for each side; infinity enforces it.
        method: "sinkhorn", "sinkhorn_stabilized" or "sinkhorn_translation_invariant": one solver answers them all.
        reg_type: "kl", or "entropy" for c = 1.
        c: Reference measure, shape (N, M), non-negative; a ⊗ b when left out.
        warmstart: log u and log v to start from.
        numItermax: Most updates of both scalings.
        stopThr: Relative change of the scalings at which to stop; we stop at this L1 error of the marginals per point.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too: `err`, `logu`, `logv`, `cost`, `total_cost`.
        **kwargs: `tau`, accepted, without effect.

    Returns:
        The plan, shape (N, M), diag(u) (c exp(-M / reg)) diag(v); or the costs of K histograms; with `log` a pair.

    Raises:
        ValueError: An unknown method or regularisation; bad shapes or weights; two infinite prices and unequal masses.
        TypeError: Arrays of another library.

    Example:
        >>> plan = sinkhorn_unbalanced([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], 1.0, 1.0)
        >>> plan.round(6)  # a_i b_j exp((f_i + g_j - M_ij) / reg)
        array([[0.322054, 0.118477],
               [0.118477, 0.322054]])

    References:
        [Chizat2018]
    """
    results, kind, is_many = _solve(
        a, b, M, reg, reg_m, method, reg_type, c, warmstart, numItermax, stopThr, kwargs, verbose=verbose
    )
    found = torch.stack([result.cost for result in results]) if is_many else results[0].plan
    if not log:
        return kind.export(found)
    return kind.export(found), _entries(kind, results, is_many=is_many)


def sinkhorn_unbalanced2(
    a: ArrayLike,
    b: ArrayLike,
    M: ArrayLike,
    reg: Any,
    reg_m: Any,
    method: str = "sinkhorn",
    reg_type: str = "kl",
    c: ArrayLike | None = None,
    warmstart: Any = None,
    returnCost: str = "linear",
    numItermax: int = 1000,
    stopThr: float = 1e-6,
    verbose: bool = False,
    log: bool = False,
    **kwargs: Any,
) -> Any:
    """Cost of the unbalanced entropic plan, as `ot.unbalanced.sinkhorn_unbalanced2`.

    Args:
        a: Weights of the sources, shape (N,); see `sinkhorn_unbalanced` for all arguments.
        b: Weights of the targets, shape (M,), or K histograms, shape (M, K).
        M: Costs, shape (N, M).
        reg: Temperature, units of cost.
        reg_m: Price of missing the marginals.
        method: As there.
        reg_type: "kl" or "entropy".
        c: Reference measure.
        warmstart: log u and log v to start from.
        returnCost: "linear" for <P, M>, "total" for the minimised objective, masses included.
        numItermax: Most updates of both scalings.
        stopThr: As there.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        **kwargs: As there.

    Returns:
        A scalar, or shape (K,); with `log` a pair.

    Example:
        >>> round(float(sinkhorn_unbalanced2([0.5, 0.5], [0.5, 0.5], [[0.0, 1.0], [1.0, 0.0]], 1.0, 1.0)), 6)
        0.236954
    """
    if returnCost not in ("linear", "total"):
        msg = f"Unknown returnCost = {returnCost}: expected 'linear' or 'total'. Choose one of these."
        raise ValueError(msg)
    results, kind, is_many = _solve(
        a, b, M, reg, reg_m, method, reg_type, c, warmstart, numItermax, stopThr, kwargs, verbose=verbose
    )
    entries = _entries(kind, results, is_many=is_many)
    if is_many:
        found = kind.export(torch.stack([result.cost for result in results]))
    else:
        found = entries["cost" if returnCost == "linear" else "total_cost"]
    return (found, entries) if log else found


def price_pair(reg_m: Any) -> tuple[Any, Any]:
    """One price for each side: from a number, or from one or two of them.

    Args:
        reg_m: A number, a tensor, or a sequence or array of one or two.

    Returns:
        The prices of the sources' and of the targets' marginal; tensors stay tensors.

    Raises:
        ValueError: Three or more.

    Example:
        >>> price_pair([1.0, float("inf")])
        (1.0, inf)
    """
    prices = [reg_m] if getattr(reg_m, "ndim", None) == 0 or isinstance(reg_m, float | int) else list(reg_m)
    if not 1 <= len(prices) <= 2:
        msg = f"`reg_m` must be a number, or one for each side: got {len(prices)} of them. Pass one or two."
        raise ValueError(msg)
    first, last = (price if isinstance(price, Tensor) else float(price) for price in (prices[0], prices[-1]))
    return first, last


@dataclass(frozen=True, eq=False)
class Referred:
    """A solved problem with a reference measure c, as one with reference a ⊗ b and the costs M - reg log(c / (a ⊗ b)).

    Attributes:
        costs: M, shape (N, M).
        reference: c, shape (N, M); None for a ⊗ b.
        result: The solved problem.
    """

    costs: Tensor
    reference: Tensor | None
    result: Entropic

    @property
    def log_scalings(self) -> tuple[Tensor, Tensor]:
        """log u and log v of P = diag(u) (c exp(-M / reg)) diag(v), shapes (N,) and (M,)."""
        term = self.result.term
        sides = [(potential / term.epsilon, w) for potential, w in ((self.result.f, term.a), (self.result.g, term.b))]
        if self.reference is None:
            return sides[0][0], sides[1][0]
        log_u, log_v = (torch.where(weights > 0, log, -torch.inf) for log, weights in sides)
        return log_u, log_v

    @cached_property
    def plan(self) -> Tensor:
        """P, shape (N, M); nothing where c is zero."""
        plan = self.result.plan
        return plan if self.reference is None else torch.where(self.reference > 0, plan, 0.0)

    @property
    def cost(self) -> Tensor:
        """<P, M>, a scalar."""
        return (self.plan * self.costs).sum()

    @property
    def objective(self) -> Tensor:
        """What the plan minimises, every divergence with its masses; a scalar."""
        term, plan = self.result.term, self.plan
        reference = term.a[:, None] * term.b if self.reference is None else self.reference
        total = self.cost + term.epsilon * _divergence(plan, reference)
        for axis, weights, price in ((1, term.a, term.rho_a), (0, term.b, term.rho_b)):
            if math.isfinite(number(price)):
                total = total + price * _divergence(plan.sum(axis), weights)
        return total


def _divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p | q) = sum p log(p / q) - p + q."""
    ratio = torch.where(p > 0, p, 1.0) / torch.where(p > 0, q, 1.0)
    return (p * ratio.log() - p + q).sum()


def _solve(
    a: ArrayLike, b: ArrayLike, M: ArrayLike, reg: Any, reg_m: Any, method: str, reg_type: str, c: ArrayLike | None,
    warmstart: Any, iterations: int, threshold: float, arguments: dict[str, Any], *, verbose: bool,
) -> tuple[list[Referred], ArrayKind, bool]:  # fmt: skip
    """The solved problems, one for each histogram, and whether there are several."""
    _check_names(method, reg_type, arguments)
    kind = kind_of(M, a, b, c)
    costs = CostMatrix(kind.tensor(M, "M")).matrix
    a, b = (kind.weights(w, name, size) for w, name, size in zip((a, b), "ab", costs.shape, strict=True))
    is_many = b.ndim == 2
    reference = None if c is None else kind.tensor(c, "c")
    if is_many and reg_type.lower() == "kl":
        warn_user("Several histograms are regularised by the entropy: pass reg_type='entropy'.")
    if is_many or reg_type.lower() == "entropy":
        if c is not None:
            warn_user("With the entropy the matrix `c` is overwritten by ones.")
        reference = torch.ones_like(costs)
    reg = reg if isinstance(reg, Tensor) else float(reg)
    prices = price_pair(reg_m)
    histograms = list(b.T) if is_many else [b]
    terms = [
        unbalanced_term(_tilted(costs, reference, a, column, reg), a, column, reg, prices) for column in histograms
    ]
    stop = Stop(
        threshold=threshold * float(a.detach().sum()) / max(costs.shape), iterations=iterations, verbose=verbose
    )
    inits = [_potentials(warmstart, number(reg), k if is_many else None, costs) for k in range(len(terms))]
    results = solve_terms(terms, stop, inits)
    return [Referred(costs, reference, result) for result in results], kind, is_many


def _check_names(method: str, reg_type: str, arguments: dict[str, Any]) -> None:
    if method.lower() not in METHODS:
        msg = f"Unknown method {method!r}: expected one of {', '.join(METHODS)}. Choose one of these; one solver answers them all."
        raise ValueError(msg)
    if method.lower() == "sinkhorn_reg_scaling":
        warn_user("Method not implemented yet. One solver answers all methods.")
    if reg_type.lower() not in ("kl", "entropy"):
        msg = f"Unknown reg_type {reg_type!r}: expected 'kl' or 'entropy'. Choose one of these."
        raise ValueError(msg)
    warn_unknown(arguments, WITHOUT_EFFECT)


def _tilted(costs: Tensor, reference: Tensor | None, a: Tensor, b: Tensor, reg: Any) -> CostMatrix:
    """Costs for which the reference is a ⊗ b; a pair without reference mass costs more than any plan will pay."""
    if reference is None:
        return CostMatrix(costs)
    floor = torch.finfo(costs.dtype).tiny
    has_mass = (a > 0)[:, None] & (b > 0)
    product = torch.where(has_mass, a[:, None] * b, 1.0)
    return CostMatrix(costs - reg * (reference.clamp(min=floor) / product).log())


def _potentials(warmstart: Any, reg: float, column: int | None, like: Tensor) -> tuple[Tensor, Tensor] | None:
    """Potentials from log u and log v, of one histogram where there are several."""
    if warmstart is None:
        return None
    sides = (torch.as_tensor(side).detach().to(like) for side in warmstart)
    f, g = ((side if column is None else side[:, column]).mul(reg).nan_to_num(0.0, 0.0, 0.0) for side in sides)
    return f, g


def _entries(kind: ArrayKind, results: list[Referred], *, is_many: bool) -> dict[str, Any]:
    """What POT's logs hold, and the solution."""
    sides = zip(*(result.log_scalings for result in results), strict=True)
    log_u, log_v = (kind.export(torch.stack(side, 1) if is_many else side[0]) for side in sides)
    entries: dict[str, Any] = {"logu": log_u, "logv": log_v}
    entries["err"] = max((result.result.errors for result in results), key=len)
    if is_many:
        return entries | {"solution": [result.result.solution for result in results]}
    costs = {"cost": kind.export(results[0].cost), "total_cost": kind.export(results[0].objective)}
    return entries | costs | {"solution": results[0].result.solution}
