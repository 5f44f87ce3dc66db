"""The value with its derivative by the envelope theorem: potentials are held fixed, and no graph goes through a solver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm import kernels
from isotherm.divergences.implicit import implicit_potentials
from isotherm.divergences.partial import keep, kept, partials
from isotherm.divergences.term import KEPT_ENTRIES
from isotherm.geometry import CostMatrix
from isotherm.kernels.pairs import MAX_DIFFERENCE_DIMENSION

if TYPE_CHECKING:
    from isotherm.divergences.linear import LinearSettings
    from isotherm.divergences.term import Term
    from isotherm.geometry import AbstractGeometry


def envelope_value(term: Term, f: Tensor, g: Tensor, settings: LinearSettings) -> Tensor:
    """The minimised objective at optimal potentials.

        dV = partial derivative of the dual objective at fixed f and g:
        dV / dC = P,    dV / da = f,    dV / db = g,    dV / d epsilon = KL(P | a ⊗ b)      (masses one, balanced)

    The first derivative is one pass over the pairs. Its own derivative includes the potentials' response, through a
    linear system: exact, not that of frozen potentials.

    Args:
        term: The problem.
        f: The soft minimum for g, shape (N,), so that the source marginal is exact.
        g: Optimal potential of the targets, shape (M,).
        settings: Of the linear systems of second derivatives.

    Returns:
        A scalar.
    """
    with torch.no_grad():
        mass = (term.a.double() * (-f / term.rho_a).double().exp()).sum()
        value = term.value(f, g, plan_mass=mass)
    return _Value.apply(term, settings, value, f, g, *term.inputs) if term.asks_for_derivative else value


class _Value(torch.autograd.Function):
    """A known value with its partial derivatives."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, term: Term, settings: LinearSettings, value: Tensor, f: Tensor, g: Tensor, *inputs: Any
    ) -> Tensor:
        keep(ctx, f, g, *inputs)
        ctx.term, ctx.settings = term, settings
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        f, g, *inputs = kept(ctx)
        inputs, needs = tuple(inputs), ctx.needs_input_grad[5:]
        with torch.autocast(f.device.type, enabled=False):
            if torch.is_grad_enabled():
                f, g = implicit_potentials(ctx.term, f, g, ctx.settings, inputs)
                found, _ = partials(lambda term, f, g: term.value(f, g), ctx.term, inputs, (f, g))
            else:
                found = _first_derivatives(ctx.term, f, g, inputs, needs)
            scaled = (None if d is None else grads[0].to(d.dtype) * d for d in found)
        return None, None, None, None, None, *scaled


def _first_derivatives(
    term: Term, f: Tensor, g: Tensor, inputs: tuple[Any, ...], needs: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """The partial derivatives as numbers, by closed forms where there are some."""
    problem, epsilon = term.problem, term.problem.epsilon
    if problem.is_balanced:
        constant = (problem.b @ g) / problem.b.sum()
        f, g = f + constant, g - constant
    out: list[Tensor | None] = [None] * len(inputs)
    masses = problem.a.sum(), problem.b.sum()
    if needs[0]:
        out[0] = _by_weights(f, problem.rho_a, epsilon, masses[1])
    if needs[1]:
        out[1] = _by_weights(g, problem.rho_b, epsilon, masses[0])
    geometry = problem.geometry
    log_a, log_b = problem.log_weights
    p, q = f + log_a, g + log_b
    if any(needs[5:]) or needs[2]:
        is_matrix = isinstance(geometry, CostMatrix) and not needs[2]
        if term.has_known_points and not needs[2]:
            out[5], out[6] = _by_points(geometry, p, q, needs[5:7], epsilon)
        elif is_matrix:
            out[5] = kernels.plan_block(geometry, p, q, slice(None), epsilon=epsilon)
        else:
            found, _ = partials(lambda term, f, g: term.value(f, g), term, inputs, (f, g))
            out[2], out[5:] = found[2], found[5:]
    for place, (weights, potential, rho) in (
        (3, (problem.a, f, problem.rho_a)),
        (4, (problem.b, g, problem.rho_b)),
    ):
        if needs[place]:
            share = (-potential / rho).exp()
            out[place] = (weights * (share * (-potential / rho) - share + 1.0)).sum()  # KL(w exp(-f / rho) | w)
    return tuple(out)


def _by_points(
    geometry: AbstractGeometry, p: Tensor, q: Tensor, needs: tuple[bool, ...], epsilon: float
) -> tuple[Tensor | None, Tensor | None]:
    """See `isotherm.kernels.plan_grad`; of the sides that are asked for, where the plan is small enough to be kept."""
    formula = geometry.formula()
    is_small = geometry.shape[0] * geometry.shape[1] <= KEPT_ENTRIES
    is_product = formula is not None and formula.kind == "sqeuclidean" and formula.x.shape[1] > MAX_DIFFERENCE_DIMENSION
    if formula is None or not (is_small and is_product):
        return kernels.plan_grad(geometry, p, q, epsilon=epsilon)
    x, y = formula.tensors
    plan = kernels.plan_block(geometry.for_iteration(), p, q, slice(None), epsilon=epsilon)
    slope = 2.0 * formula.scale
    by_x = slope * (plan.sum(1)[:, None] * x - plan @ y) if needs[0] else None
    return by_x, slope * (plan.sum(0)[:, None] * y - plan.T @ x) if needs[1] else None


def _by_weights(potential: Tensor, rho: float, epsilon: float, other_mass: Tensor) -> Tensor:
    """rho (1 - exp(-f / rho)) - epsilon (exp(-f / rho) - other mass): the price of one more grain of mass."""
    if math.isinf(rho):
        return potential - epsilon * (1.0 - other_mass)
    lost = torch.expm1(-potential / rho)
    return -(rho + epsilon) * lost - epsilon * (1.0 - other_mass)
