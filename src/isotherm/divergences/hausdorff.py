"""A Hausdorff-type divergence: how far each measure lies from the other, by self potentials alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm.divergences.computation import Computation
from isotherm.divergences.differentiation import Differentiation, Implicit
from isotherm.divergences.front import loss
from isotherm.divergences.inputs import pairs_of
from isotherm.divergences.term import number

if TYPE_CHECKING:
    from isotherm.divergences.cache import PotentialCache
    from isotherm.divergences.inputs import CostLike
    from isotherm.divergences.term import Number, Term
    from isotherm.geometry import Relative


@loss
def hausdorff_divergence(  # noqa: PLR0913 - a loss names everything a problem is made of
    x: Any,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: Number | Relative,
    cost: CostLike | None = None,
    rho: Number = math.inf,
    differentiation: Differentiation = Implicit(),
    tolerance: float | None = None,
    on_failure: str = "warn",
    cache: PotentialCache | None = None,
) -> Any:
    """Mean distance of each measure to the other one, smoothed: no mass is transported between them.

        H(a, b) = <a - b, s(f_b) - s(f_a)> / 2,    s(f) = f, unbalanced (rho + epsilon) (1 - exp(-f / rho))

    with f_a the potential of a against itself, extended to all of space. The symmetrised Bregman divergence of the
    Sinkhorn entropy: zero when the measures are equal, between the mean cost to the nearest point of the other measure
    (epsilon to 0) and half the squared maximum mean discrepancy of the kernel -c (epsilon to infinity). Its gradient
    takes two linear systems. Time and memory as `sinkhorn_divergence`.

    Args:
        x: Sources; see `sinkhorn_divergence` for all arguments.
        y: Targets.
        a: Weights of the sources.
        b: Weights of the targets.
        epsilon: Temperature > 0, units of cost.
        cost: Cost between points, symmetric.
        rho: Price of missing a marginal.
        differentiation: `Implicit()` or `Unroll(steps)`; `Envelope` is for values alone.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.

    Returns:
        A scalar, or shape (B,) for a batch; units of cost times mass.

    Example:
        >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
        >>> round(float(hausdorff_divergence(x, y, epsilon=1e-3)), 2)  # (4 + 1 + 1 + 4) / 4
        2.5

    References:
        [Feydy2019, section 3.2], [Sejourne2019]
    """
    how = Computation(differentiation=differentiation, tolerance=tolerance, on_failure=on_failure, cache=cache)
    given = pairs_of(x, y, a, b, cost, is_balanced=math.isinf(number(rho)))
    cross = [pair.term(epsilon, rho, rho) for pair in given.pairs]
    own = [pair.itself() for pair in given.pairs]
    self_a = [one.term(term.epsilon, rho, rho) for (one, _), term in zip(own, cross, strict=True)]
    self_b = [two.term(term.epsilon, rho, rho) for (_, two), term in zip(own, cross, strict=True)]
    potentials = how.potentials(self_a=self_a, self_b=self_b)
    return given.export([_divergence(*parts) for parts in zip(cross, *potentials, strict=True)])


def _divergence(cross: Term, of_a: tuple[Tensor, Tensor], of_b: tuple[Tensor, Tensor]) -> Tensor:
    """H from the self potentials; their mean is the symmetric one, whatever the gauge."""
    f_a, f_b = 0.5 * (of_a[0] + of_a[1]), 0.5 * (of_b[0] + of_b[1])
    at_x, at_y = cross.soft_minimum(f_b), cross.transpose().soft_minimum(f_a)
    slopes = (_slope(cross, f) for f in (at_x, f_a, at_y, f_b))
    b_at_x, a_at_x, a_at_y, b_at_y = slopes
    return 0.5 * ((cross.a * (b_at_x - a_at_x)).sum() + (cross.b * (a_at_y - b_at_y)).sum())


def _slope(term: Term, f: Tensor) -> Tensor:
    """Minus the derivative of the Sinkhorn entropy, up to a constant."""
    if math.isinf(number(term.rho_a)):
        return f
    return -(term.rho_a + term.epsilon) * torch.expm1(-f / term.rho_a)
