"""The value with its derivative by the envelope theorem: potentials are held fixed, and no graph goes through a solver."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from isotherm import kernels
from isotherm.divergences.implicit import implicit_potentials
from isotherm.divergences.partial import keep, kept, partials
from isotherm.divergences.term import KEPT_ENTRIES
from isotherm.geometry import CostMatrix
from isotherm.kernels.pairs import MAX_DIFFERENCE_DIMENSION
from isotherm.solvers.symmetric import why_not_symmetric

if TYPE_CHECKING:
    from isotherm.divergences.linear import LinearSettings
    from isotherm.divergences.term import Term
    from isotherm.geometry import AbstractGeometry
    from isotherm.problem import Problem


class Optimum(NamedTuple):
    """Optimal potentials as numbers, and the pairs of points that carry their plan."""

    f: Tensor  # (N,), the soft minimum for g, so that the source marginal is exact
    g: Tensor  # (M,)
    met: AbstractGeometry  # that of the problem, perhaps without pairs whose mass is bounded below what was asked for


def envelope_value(term: Term, found: Optimum, settings: LinearSettings) -> Tensor:
    """The minimised objective at optimal potentials.

        dV = partial derivative of the dual objective at fixed f and g:
        dV / dC = P,    dV / da = f,    dV / db = g,    dV / d epsilon = KL(P | a ⊗ b)      (masses one, balanced)

    The first derivative is one pass over the pairs that a solve met. Its own derivative includes the potentials' response, through a
    linear system: exact, not that of frozen potentials.

    Args:
        term: The problem.
        found: Optimal potentials.
        settings: Of the linear systems of second derivatives.

    Returns:
        A scalar.
    """
    f, g, met = found
    with torch.no_grad():
        mass = (term.a.double() * (-f / term.rho_a).double().exp()).sum()
        value = term.value(f, g, plan_mass=mass)
    return _Value.apply(term, met, settings, value, f, g, *term.inputs) if term.asks_for_derivative else value


class _Value(torch.autograd.Function):
    """A known value with its partial derivatives."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,
        term: Term,
        met: AbstractGeometry,
        settings: LinearSettings,
        value: Tensor,
        f: Tensor,
        g: Tensor,
        *inputs: Any,
    ) -> Tensor:
        keep(ctx, f, g, *inputs)
        ctx.term, ctx.met, ctx.settings = term, met, settings
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        f, g, *inputs = kept(ctx)
        inputs, needs = tuple(inputs), ctx.needs_input_grad[6:]
        with torch.autocast(f.device.type, enabled=False):
            if torch.is_grad_enabled():
                f, g = implicit_potentials(ctx.term, f, g, ctx.settings, inputs)
                found, _ = partials(lambda term, f, g: term.value(f, g), ctx.term, inputs, (f, g))
            else:
                found = _first_derivatives(ctx.term, ctx.met, f, g, inputs, needs)
            scaled = (None if d is None else grads[0].to(d.dtype) * d for d in found)
        return None, None, None, None, None, None, *scaled


def _first_derivatives(
    term: Term, met: AbstractGeometry, f: Tensor, g: Tensor, inputs: tuple[Any, ...], needs: tuple[bool, ...]
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
            out[5], out[6] = _by_points(problem, met, p, q, needs[5:7])
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
    problem: Problem, geometry: AbstractGeometry, p: Tensor, q: Tensor, needs: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None]:
    """See `isotherm.kernels.plan_grad`; of the sides that are asked for. Where a cloud meets itself both are one."""
    epsilon = problem.epsilon
    formula = geometry.formula()
    is_small = geometry.shape[0] * geometry.shape[1] <= KEPT_ENTRIES
    is_product = formula is not None and formula.kind == "sqeuclidean" and formula.x.shape[1] > MAX_DIFFERENCE_DIMENSION
    if formula is None or not (is_small and is_product):
        is_own = all(needs) and not why_not_symmetric(problem)
        if all(needs) and not is_own:
            return kernels.plan_grad(geometry, p, q, epsilon=epsilon)
        by_x = kernels.plan_grad_by_sources(geometry, p, q, epsilon=epsilon) if needs[0] else None
        if not needs[1] or is_own:
            return by_x, by_x if is_own else None
        return by_x, kernels.plan_grad_by_sources(geometry.transpose(), q, p, epsilon=epsilon)
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
