"""The hot end of the dial: nothing is matched, only mean costs are compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm import kernels
from isotherm.divergences.front import loss
from isotherm.divergences.inputs import pairs_of
from isotherm.divergences.partial import keep, kept, partials
from isotherm.divergences.term import Term

if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm.divergences.inputs import CostLike, Pair

HOT = 1e18  # a temperature, per unit of cost, at which exp(-C / epsilon) is one to the last digit


@loss
def mmd(x: Any, y: Any = None, a: Any = None, b: Any = None, *, cost: CostLike | None = None) -> Any:
    """Half the squared maximum mean discrepancy of the kernel -c: the Sinkhorn divergence at infinite temperature.

        <a, C_xy b> - <a, C_xx a> / 2 - <b, C_yy b> / 2

    For the squared Euclidean cost this sees the means alone, |mean(a) - mean(b)|^2; take "euclidean" to tell measures
    apart. Time O((N^2 + N M + M^2) D), for squared distances O((N + M) D); memory O(N + M) for costs between points
    that have a formula. Twice differentiable in points and weights.

    Args:
        x: Sources, shape (N, D) or (N,); a batch (B, N, D); a list of B clouds; or a `PointCloud` or `Grid`.
        y: Targets, likewise.
        a: Weights of the sources, shape (N,) or (B, N), or a list; equal when left out. A zero masks a point.
        b: Weights of the targets, of the same mass.
        cost: Cost object, name, or function of two clouds, conditionally negative definite. Default: squared Euclidean.

    Returns:
        A scalar, or shape (B,) for a batch; units of cost times squared mass.

    Example:
        >>> mmd(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]]))
        tensor(4.)

    References:
        [Feydy2019, theorem 1]
    """
    given = pairs_of(x, y, a, b, cost, is_balanced=True)
    return given.export([_contrast(pair, rho=math.inf) for pair in given.pairs])


@loss
def kernel_norm(x: Any, y: Any, a: Any = None, b: Any = None, *, kernel: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """Half the squared norm of the difference of two measures, of any masses, in the space of a positive kernel.

        <a - b, k * (a - b)> / 2 = <a, K_xx a> / 2 + <b, K_yy b> / 2 - <a, K_xy b>

    `mmd` of the cost -k, without its condition on the masses. Time O((N^2 + N M + M^2) D); memory as for a cost function.
    Twice differentiable in points, weights and the kernel's parameters, where the kernel is.

    Args:
        x: Sources, shape (N, D) or (N,); a batch (B, N, D); or a list of B clouds.
        y: Targets, likewise.
        a: Weights of the sources, shape (N,) or (B, N), or a list; equal, of mass one, when left out.
        b: Weights of the targets.
        kernel: Symmetric positive function of two clouds (n, D) and (m, D), shape (n, m), of each pair alone.

    Returns:
        A scalar, or shape (B,) for a batch; units of the kernel times squared mass.

    Example:
        >>> x, y = torch.tensor([[0.0]]), torch.tensor([[1.0]])
        >>> kernel_norm(x, y, kernel=lambda x, y: torch.exp(-torch.cdist(x, y)))  # 1 - 1 / e
        tensor(0.6321)

    References:
        [Feydy2019, theorem 1]
    """
    given = pairs_of(x, y, a, b, lambda one, two: -kernel(one, two), is_balanced=False)
    return given.export([_contrast(pair, rho=1.0) for pair in given.pairs])


@loss
def energy_distance(x: Any, y: Any = None, a: Any = None, b: Any = None) -> Any:
    """Energy distance, 2 E|X - Y| - E|X - X'| - E|Y - Y'|: zero only when the measures are equal.

    Twice `mmd` for the Euclidean cost.

    Args:
        x: Sources; see `mmd` for all arguments.
        y: Targets.
        a: Weights of the sources.
        b: Weights of the targets.

    Returns:
        A scalar, or shape (B,) for a batch; units of length times squared mass.

    Example:
        >>> energy_distance(torch.tensor([[0.0]]), torch.tensor([[2.0]]))
        tensor(4.)

    References:
        [SzekelyRizzo2013]
    """
    return 2.0 * mmd(x, y, a, b, cost="euclidean")


def _contrast(pair: Pair, *, rho: float) -> Tensor:
    """<a, C_xy b> - <a, C_xx a> / 2 - <b, C_yy b> / 2; an infinite price gives b the mass of a."""
    across, of_a, of_b = (_independent_cost(p.term(1.0, rho, rho)) for p in (pair, *pair.itself()))
    return across - 0.5 * (of_a + of_b)


def _independent_cost(term: Term) -> Tensor:
    """<a, C b>, a scalar."""
    with torch.no_grad():
        problem = term.problem
        value = problem.geometry.product_cost(problem.a, problem.b)
    return _IndependentCost.apply(term, value, *term.inputs) if term.asks_for_derivative else value


class _IndependentCost(torch.autograd.Function):
    """The cost of the independent coupling, with its partial derivatives."""

    @staticmethod
    def forward(ctx: Any, term: Term, value: Tensor, *inputs: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        keep(ctx, *inputs)
        ctx.term = term
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        inputs, needs = kept(ctx), ctx.needs_input_grad[2:]
        with torch.autocast(grads[0].device.type, enabled=False):
            if torch.is_grad_enabled():
                found, _ = partials(Term.independent_cost, ctx.term, inputs, ())
            else:
                found = _first_derivatives(ctx.term, inputs, needs)
            scaled = (None if d is None else grads[0].to(d.dtype) * d for d in found)
        return None, None, *scaled


def _first_derivatives(term: Term, inputs: tuple[Any, ...], needs: tuple[bool, ...]) -> tuple[Tensor | None, ...]:
    """The plan at a temperature so high that it is a ⊗ b gives all of them by the kernels of transport."""
    out: list[Tensor | None] = [None] * len(inputs)
    geometry, a, b = term.problem.geometry, term.problem.a, term.problem.b
    epsilon = HOT * max(1.0, geometry.coordinate_scale)
    p, q, none = epsilon * a.log(), epsilon * b.log(), torch.zeros((), dtype=a.dtype, device=a.device)
    if needs[0]:
        out[0] = geometry.plan_cost(none.expand_as(p), q, epsilon=epsilon)
    if needs[1]:
        out[1] = geometry.transpose().plan_cost(none.expand_as(q), p, epsilon=epsilon)
    if any(needs[5:]):
        if term.has_known_points and not needs[2]:
            out[5], out[6] = kernels.plan_grad(geometry, p, q, epsilon=epsilon)
        else:
            out[5:] = partials(Term.independent_cost, term, inputs, ())[0][5:]
    return tuple(out)
