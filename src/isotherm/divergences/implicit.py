"""Potentials as a differentiable function of the problem: the implicit function theorem."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm.divergences.linear import LinearSettings, solve_curvature
from isotherm.divergences.partial import keep, kept, partials
from isotherm.divergences.term import number

if TYPE_CHECKING:
    from isotherm.divergences.term import Term


def implicit_potentials(
    term: Term, f: Tensor, g: Tensor, settings: LinearSettings, inputs: tuple[Any, ...] | None = None
) -> tuple[Tensor, Tensor]:
    """The optimal potentials, with their derivatives by everything that the problem is made of.

        d(f, g) = H^-1 d(gradient of the dual at fixed f, g),    H minus the Hessian of the dual

    Args:
        term: The problem.
        f: Optimal potential of the sources, found by a solver, shape (N,).
        g: Optimal potential of the targets, shape (M,).
        settings: Of the linear solve, one for each backward pass.
        inputs: The problem's tensors, if not `term.inputs`.

    Returns:
        The same numbers; balanced, in the gauge <b, g> = 0.
    """
    inputs = term.inputs if inputs is None else inputs
    at = term.at(inputs)
    f, g = _Potentials.apply(term, settings, f, g, *inputs)
    if bool((term.a == 0).any()) or bool((term.b == 0).any()):  # their potentials follow from those of the others
        f, g = torch.where(at.a > 0, f, at.soft_minimum(g)), torch.where(at.b > 0, g, at.transpose().soft_minimum(f))
    return fix_gauge(at, f, g)


def fix_gauge(term: Term, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Balanced potentials are free up to (f + c, g - c); choose <b, g> = 0, differentiably."""
    if not (math.isinf(number(term.rho_a)) and math.isinf(number(term.rho_b))):
        return f, g
    constant = (term.b * g).sum() / term.b.sum()
    return f + constant, g - constant


class _Potentials(torch.autograd.Function):
    """Potentials found elsewhere, with the derivative that their optimality implies."""

    @staticmethod
    def forward(ctx: Any, term: Term, settings: LinearSettings, f: Tensor, g: Tensor, *inputs: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        f, g = f.clone(), g.clone()
        keep(ctx, f, g, *inputs)
        ctx.term, ctx.settings = term, settings
        ctx.set_materialize_grads(False)
        return f, g

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        term, settings = ctx.term, ctx.settings
        f, g, *inputs = kept(ctx)
        if all(d is None for d in grads):  # a closed gate above: nothing to solve
            return None, None, None, None, *(None for _ in inputs)
        grads = _filled(grads, (f, g))
        inputs = tuple(inputs)
        with torch.autocast(f.device.type, enabled=False):
            u, v = _Solve.apply(term, settings, *grads, f, g, *inputs)
            found, _ = partials(_stationarity, term, inputs, (f, g, u, v))
        return None, None, None, None, *found


class _Solve(torch.autograd.Function):
    """The solution of the linear system with minus the dual's Hessian."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, term: Term, settings: LinearSettings, by_f: Tensor, by_g: Tensor, f: Tensor, g: Tensor, *inputs: Any
    ) -> Any:
        wanted = torch.where(term.a > 0, by_f, 0.0).detach(), torch.where(term.b > 0, by_g, 0.0).detach()
        u, v = solve_curvature(term, f.detach(), g.detach(), wanted, settings)
        keep(ctx, f, g, u, v, *inputs)
        ctx.term, ctx.settings = term, settings
        ctx.set_materialize_grads(False)
        return u, v

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        """d(H^-1 w) = H^-1 dw - H^-1 dH H^-1 w."""
        term, settings = ctx.term, ctx.settings
        f, g, u, v, *inputs = kept(ctx)
        if all(d is None for d in grads):
            return None, None, None, None, None, None, *(None for _ in inputs)
        grads = _filled(grads, (f, g))
        inputs = tuple(inputs)
        with torch.autocast(f.device.type, enabled=False):
            s, t = _Solve.apply(term, settings, *grads, f, g, *inputs)
            found, (by_f, by_g, *_) = partials(_curvature, term, inputs, (f, g, u, v, s, t))
        negative = (None if d is None else -d for d in (by_f, by_g, *found))
        return None, None, s, t, *negative


def _filled(grads: tuple[Tensor | None, ...], like: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Zeros for the derivatives that nobody sent."""
    return tuple(torch.zeros_like(t) if d is None else d for d, t in zip(grads, like, strict=True))


def _stationarity(term: Term, f: Tensor, g: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """<u, dD / df> + <v, dD / dg>, with D the dual objective."""
    left, right = torch.stack([u, torch.ones_like(u)], 1), torch.stack([torch.ones_like(v), v], 1)
    wanted = (u * term.a * (-f / term.rho_a).exp()).sum() + (v * term.b * (-g / term.rho_b).exp()).sum()
    return wanted - term.plan_sum(f, g, left, right)


def _curvature(term: Term, f: Tensor, g: Tensor, u: Tensor, v: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """<(s, t), H (u, v)>, with H minus the Hessian of the dual objective."""
    left = torch.stack([s * u, s, u, torch.ones_like(u)], 1)
    right = torch.stack([torch.ones_like(v), v, t, t * v], 1)
    of_a = (term.a * (-f / term.rho_a).exp() * s * u).sum() / term.rho_a
    of_b = (term.b * (-g / term.rho_b).exp() * t * v).sum() / term.rho_b
    return term.plan_sum(f, g, left, right) / term.epsilon + of_a + of_b
