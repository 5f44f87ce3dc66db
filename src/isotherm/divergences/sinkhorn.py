"""The Sinkhorn divergence: entropic transport without its bias."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from isotherm.divergences.computation import Computation
from isotherm.divergences.dense import dense_divergence
from isotherm.divergences.differentiation import Differentiation, Envelope
from isotherm.divergences.exact import cold_end
from isotherm.divergences.front import loss
from isotherm.divergences.inputs import pairs_of
from isotherm.divergences.term import number
from isotherm.geometry import Relative
from isotherm.solvers import Auto
from isotherm.solvers.stopping import DEFAULT_TOLERANCE

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.divergences.cache import PotentialCache
    from isotherm.divergences.inputs import CostLike
    from isotherm.divergences.term import Number
    from isotherm.solvers import AbstractSolver


@loss
def sinkhorn_divergence(  # noqa: PLR0913 - a loss names everything a problem is made of
    x: Any,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: Number | Relative,
    cost: CostLike | None = None,
    rho: Number = math.inf,
    differentiation: Differentiation = Envelope(),
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    on_failure: str = "warn",
    cache: PotentialCache | None = None,
) -> Any:
    """How far two measures are apart: zero when they are equal, at any temperature.

        S(a, b) = V(a, b) - V(a, a) / 2 - V(b, b) / 2 + epsilon (mass(a) - mass(b))^2 / 2

    with V the `entropic_value`. Non-negative for costs |x - y|^p, 0 < p <= 2. Between exact transport (epsilon to 0)
    and half the squared maximum mean discrepancy of the kernel -c (`mmd`, epsilon to infinity). What comes out may be
    negative by the error of the solves, which is of second order in `tolerance`, and by rounding. Self terms take about
    ten passes over half the pairs (`Symmetric`), or over those that matter in many points of few dimensions. Time O((N^2 + N M + M^2) D) per iteration and for the gradient; memory O(N + M) for costs
    between points that have a formula.

    Args:
        x: Sources, shape (N, D) or (N,); a batch (B, N, D); a list of B clouds of any sizes; or a `PointCloud` or
            `Grid`, and then no `y`.
        y: Targets, likewise.
        a: Weights of the sources, shape (N,) or (B, N), or a list; equal when left out. A zero masks a point.
        b: Weights of the targets.
        epsilon: Temperature, units of cost: a number, a 0-d tensor, which may ask for a derivative, or `Relative` (to
            the cost between x and y), which is a constant of the derivative. Zero is exact transport.
        cost: Cost object, name, or function of two clouds. Default: squared Euclidean.
        rho: Price of missing a marginal, of both sides, units of cost; a number or a 0-d tensor. Infinity enforces them.
        differentiation: `Envelope()`, `Implicit()` (the same here) or `Unroll(steps)`.
        solver: Who solves between x and y; `Auto()` when left out.
        tolerance: L1 error of the marginals at which to stop, 1e-4 when left out.
        on_failure: What to do when the tolerance is not met: "warn", "raise" (`ConvergenceError`) or "ignore".
        cache: Where to start and to leave potentials; see `PotentialCache`.

    Returns:
        A scalar, or shape (B,) for a batch; units of cost times mass.

    Raises:
        ValueError: Bad shapes, weights, temperature, names; the message says what was expected, what came, what to do.
        TypeError: Not numbers, mixed libraries or dtypes, or a cost matrix, which lacks the costs of self terms.

    Example:
        >>> import torch
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
        >>> round(float(sinkhorn_divergence(x, y, epsilon=0.5)), 4), float(sinkhorn_divergence(x, x, epsilon=0.5))
        (4.0, 0.0)

    References:
        [Genevay2018], [Feydy2019, theorem 1], [Sejourne2019]
    """
    if not isinstance(epsilon, Relative) and number(epsilon) == 0.0:
        return cold_end(x, y, a, b, cost, rho)
    how = Computation(
        differentiation=differentiation, solver=solver, tolerance=tolerance, on_failure=on_failure, cache=cache
    )
    is_plain = solver is None and isinstance(differentiation, Envelope) and math.isinf(number(rho))
    if is_plain and not cache:  # one with potentials in it has seen problems that are better started warm
        settings = {"epsilon": epsilon, "cost": cost, "tolerance": tolerance}
        rule = {"differentiation": differentiation, "solver": Auto(), "on_failure": on_failure}

        def general(x: Tensor, y: Tensor) -> Tensor:
            return sinkhorn_divergence(x, y, a, b, **settings, **rule)

        limit = DEFAULT_TOLERANCE if tolerance is None else tolerance
        found = dense_divergence(x, y, (a, b), epsilon=epsilon, cost=cost, tolerance=limit, general=general)
        if found is not None:
            return found
    given = pairs_of(x, y, a, b, cost, is_balanced=math.isinf(number(rho)))
    cross = [pair.term(epsilon, rho, rho) for pair in given.pairs]
    own = [pair.itself() for pair in given.pairs]
    self_a = [one.term(term.epsilon, rho, rho) for (one, _), term in zip(own, cross, strict=True)]
    self_b = [two.term(term.epsilon, rho, rho) for (_, two), term in zip(own, cross, strict=True)]
    values = how.values(cross=cross, self_a=self_a, self_b=self_b)
    out = []
    for term, across, of_a, of_b in zip(cross, *values, strict=True):
        value = across - 0.5 * (of_a + of_b)
        if not math.isinf(number(rho)):
            value = value + 0.5 * term.epsilon * (term.a.sum() - term.b.sum()).square()
        out.append(value)
    return given.export(out)
