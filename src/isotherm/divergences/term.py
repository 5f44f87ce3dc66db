"""One transport problem as a differentiable function of its points, weights, temperature, prices and cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from isotherm import kernels
from isotherm.geometry import CallableCost, Cosine, CostMatrix, PointCloud
from isotherm.kernels import Formula, row_blocks
from isotherm.kernels.pairs import MAX_DIFFERENCE_DIMENSION
from isotherm.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm.geometry import AbstractGeometry

Number = float | Tensor


def number(value: Number) -> float:
    """A number or a 0-d tensor as a number."""
    return float(value.detach()) if isinstance(value, Tensor) else float(value)


KEPT_ENTRIES = (
    1 << 22
)  # pairs whose costs autograd may keep; above it blocks of rows are computed again for a derivative


@dataclass(frozen=True, eq=False, kw_only=True)
class Term:
    """A transport problem whose tensors belong to somebody's autograd graph.

    Attributes:
        geometry: Costs, shape (N, M); its points, or its matrix, may ask for a derivative.
        a: Weights of the sources, shape (N,).
        b: Weights of the targets, shape (M,), of the same mass where both sides are balanced.
        epsilon: Temperature > 0, units of cost; a number or a 0-d tensor.
        rho_a: Price of the source marginal; a number or a 0-d tensor.
        rho_b: Price of the target marginal.
    """

    geometry: AbstractGeometry
    a: Tensor
    b: Tensor
    epsilon: Number
    rho_a: Number = math.inf
    rho_b: Number = math.inf

    @cached_property
    def problem(self) -> Problem:
        """The same problem outside every graph, for solvers."""
        numbers = {name: number(getattr(self, name)) for name in ("epsilon", "rho_a", "rho_b")}
        return Problem(self.geometry.detach(), self.a.detach(), self.b.detach(), **numbers)

    @cached_property
    def inputs(self) -> tuple[Any, ...]:
        """What may ask for a derivative: a, b, epsilon, rho_a, rho_b, points or matrix, then what a function hides."""
        return self.a, self.b, self.epsilon, self.rho_a, self.rho_b, *self._places, *self.hidden

    @property
    def asks_for_derivative(self) -> bool:
        """Whether autograd would record an operation on any of them."""
        return torch.is_grad_enabled() and any(isinstance(t, Tensor) and t.requires_grad for t in self.inputs)

    @property
    def _places(self) -> tuple[Tensor, ...]:
        match self.geometry:
            case PointCloud(x=x, y=y):
                return x, y
            case CostMatrix(matrix=matrix):
                return (matrix,)
        return ()

    @cached_property
    def hidden(self) -> tuple[Tensor, ...]:
        """Leaves that a user's cost function depends on, found in the graph of one pair's cost."""
        geometry = self.geometry
        if not (
            isinstance(geometry, PointCloud) and isinstance(geometry.cost, CallableCost) and torch.is_grad_enabled()
        ):
            return ()
        found, seen = list[Tensor](), set()
        heap = [geometry.cost.pairwise(geometry.x[:1].detach(), geometry.y[:1].detach()).grad_fn]
        while heap:
            node = heap.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if hasattr(node, "variable"):
                found.append(node.variable)  # pyright: ignore[reportAttributeAccessIssue]
            heap.extend(parent for parent, _ in node.next_functions)
        return tuple(found)

    def at(self, inputs: tuple[Any, ...]) -> Term:
        """The same function of other tensors, given in the order of `inputs`."""
        a, b, epsilon, rho_a, rho_b, *places = inputs
        geometry = self.geometry
        match geometry:
            case PointCloud():
                geometry = geometry.extend(places[0]).transpose().extend(places[1]).transpose()
            case CostMatrix():
                geometry = CostMatrix(places[0])
        term = Term(geometry=geometry, a=a, b=b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b)
        term.__dict__["hidden"] = tuple(places[len(self._places) :])
        return term

    def transpose(self) -> Term:
        """Sources and targets swapped."""
        return Term(
            geometry=self.geometry.transpose(),
            a=self.b,
            b=self.a,
            epsilon=self.epsilon,
            rho_a=self.rho_b,
            rho_b=self.rho_a,
        )

    def value(self, f: Tensor, g: Tensor, *, plan_mass: Tensor | None = None) -> Tensor:
        """The dual objective, phi_a(f) + phi_b(g) - epsilon (mass(P) - mass(a ⊗ b)), a scalar; sums in float64.

        Args:
            f: Potential of the sources, shape (N,), units of cost.
            g: Potential of the targets, shape (M,).
            plan_mass: Total mass of their plan, where it is known; else one pass.

        Returns:
            A scalar of the geometry's dtype, differentiable in everything.
        """
        mass = self.plan_sum(f, g) if plan_mass is None else plan_mass
        value = _marginal_dual(self.a, f, self.rho_a) + _marginal_dual(self.b, g, self.rho_b)
        reference = self.a.sum(dtype=torch.float64) * self.b.sum(dtype=torch.float64)
        return (value - self.epsilon * (mass - reference)).to(self.a.dtype)

    def soft_minimum(self, g: Tensor) -> Tensor:
        """The best potential of the sources for a potential of the targets, shape (N,), also where there is no mass.

        f_i = -epsilon log sum_j b_j exp((g_j - C_ij) / epsilon) / (1 + epsilon / rho_a)
        """
        q = _with_log_weights(g, self.b, self.epsilon)
        if self._scaled is not None:
            costs, offset, tau = self._scaled
            softmin = tau * kernels.softmin(costs, q / tau, epsilon=number(self.epsilon)) + offset
        elif self._goes_by_blocks:
            softmin = self._by_blocks(
                lambda scores, _: -self.epsilon * scores.logsumexp(1), q.new_zeros(self.a.shape), q
            )
        else:
            softmin = self.geometry.softmin(q, epsilon=number(self.epsilon))
        return softmin / (1.0 + self.epsilon / self.rho_a)

    def plan_apply(self, f: Tensor, g: Tensor, values: Tensor) -> Tensor:
        """P V, shape (N, K), for potentials f and g and V of shape (M, K)."""
        return self._apply(*self._weighted(f, g), values)

    def plan_sum(self, f: Tensor, g: Tensor, left: Tensor | None = None, right: Tensor | None = None) -> Tensor:
        """sum_ij P_ij sum_k left_ik right_jk, a float64 scalar; the total mass without factors.

        Points without mass add nothing, but the derivative by their weight is not zero: it is that of the first grain
        of mass. Left out is the mixed second derivative by two such weights, one of each side.
        """
        left = torch.ones_like(self.a)[:, None] if left is None else left  # (N, K)
        right = torch.ones_like(self.b)[:, None] if right is None else right  # (M, K)
        p, q = self._weighted(f, g)
        total = (left * self._apply(p, q, right)).sum(dtype=torch.float64)
        if _has_grains(self.a):
            grains = (left * self._apply(f.masked_fill(self.a > 0, -torch.inf), q, right)).sum(1)
            total = total + (self.a * grains).sum()
        if _has_grains(self.b):
            grains = (right * self.transpose()._apply(g.masked_fill(self.b > 0, -torch.inf), p, left)).sum(1)
            total = total + (self.b * grains).sum()
        return total

    def transport_cost(self, f: Tensor, g: Tensor) -> Tensor:
        """<C, P>, a scalar, in memory O(N + M) for costs that have a formula between points.

        Squared distances and inner products are sums of few products, C_ij = sum_k l_ik r_jk; in low dimension in
        float64, so that they lose no digits to differences. Distances go through Euler's identity for homogeneous
        functions, <C, P> = <x, dx> + <y, dy>, with dx and dy the derivatives by the points at a fixed plan: once
        differentiable by the points.
        """
        p, q = self._weighted(f, g)
        if self._scaled is None or self._scaled[0].y is None:
            rows = self._by_blocks(lambda scores, costs: (scores.exp() * costs).sum(1), p, q)
            return rows.sum(dtype=torch.float64).to(p.dtype)
        costs, offset, tau = self._scaled
        if costs.kind == "sqeuclidean" and costs.x.shape[1] <= MAX_DIFFERENCE_DIMENSION and p.dtype != torch.float64:
            return self._double().transport_cost(f.double(), g.double()).to(p.dtype)
        if costs.kind == "euclidean":
            by_x, by_y = kernels.plan_grad(costs, (p - offset) / tau, q / tau, epsilon=number(self.epsilon))
            total = (costs.x * by_x).sum(dtype=torch.float64) + (costs.tensors[1] * by_y).sum(dtype=torch.float64)
        else:
            total = self.plan_sum(f, g, *_factors(costs))
        constant = offset * self.plan_sum(f, g) if offset else 0.0
        return (tau * total + constant).to(p.dtype)

    def _double(self) -> Term:
        """The same problem in float64, differentiably."""
        return replace(self, geometry=self.geometry.double(), a=self.a.double(), b=self.b.double())

    def independent_cost(self) -> Tensor:
        """<a, C b>, the cost of the independent coupling, in plain torch."""
        zero = torch.zeros_like(self.a), torch.zeros_like(self.b)
        return (self.a * self._by_blocks(lambda _, costs: costs @ self.b, *zero)).sum()

    def _weighted(self, f: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """f + epsilon log a and g + epsilon log b."""
        return _with_log_weights(f, self.a, self.epsilon), _with_log_weights(g, self.b, self.epsilon)

    @cached_property
    def _scaled(self) -> tuple[Formula, float, Number] | None:
        """(formula of C', offset, tau) with C = tau C' + offset; None where the costs have no formula.

        Kernels take the temperature as a number. Where it asks for a derivative, tau = epsilon / float(epsilon), which
        is one, carries it: exp((p + q - C) / epsilon) = exp(((p - offset) / tau + q / tau - C') / float(epsilon)).
        """
        formula = self.geometry.formula()
        if formula is None:
            return None
        offset, places = formula.offset, formula.tensors
        tau: Number = 1.0
        if isinstance(self.epsilon, Tensor) and self.epsilon.requires_grad:
            tau = self.epsilon / number(self.epsilon)
            share = tau.sqrt() if formula.kind == "sqeuclidean" else tau
            places = (places[0] / share, *(y if formula.kind == "dot" else y / share for y in places[1:]))
        return Formula(formula.kind, *places, scale=formula.scale), offset, tau

    @property
    def has_known_points(self) -> bool:
        """Whether kernels know the costs by a formula of the points themselves, up to a shift."""
        match self.geometry:
            case PointCloud(cost=cost):
                return self.geometry.formula() is not None and not isinstance(cost, Cosine)  # which sees directions
        return False

    @property
    def _goes_by_blocks(self) -> bool:
        """Whether costs are taken a block of rows at a time in plain torch, which follows derivatives by anything."""
        is_differentiated = isinstance(self.epsilon, Tensor) and self.epsilon.requires_grad
        return self.geometry.formula() is None and (isinstance(self.geometry, PointCloud) or is_differentiated)

    def _apply(self, p: Tensor, q: Tensor, values: Tensor) -> Tensor:
        """sum_j exp((p_i + q_j - C_ij) / epsilon) V_jk, shape (N, K)."""
        if self._scaled is not None:
            costs, offset, tau = self._scaled
            return kernels.plan_apply(costs, (p - offset) / tau, q / tau, values, epsilon=number(self.epsilon))
        if self._goes_by_blocks:
            return self._by_blocks(lambda scores, _: scores.exp() @ values, p, q)
        return self.geometry.plan_apply(p, q, values, epsilon=number(self.epsilon))

    def _by_blocks(self, reduce: Callable[[Tensor, Tensor], Tensor], p: Tensor, q: Tensor) -> Tensor:
        """Reduce the exponents (p_i + q_j - C_ij) / epsilon and costs of each block of rows; one row for each source."""

        def block(rows: slice) -> Tensor:
            costs = self.geometry.block(rows)
            return reduce((p[rows, None] + q - costs) / self.epsilon, costs)

        sources, targets = self.geometry.shape
        if sources * targets <= KEPT_ENTRIES or not torch.is_grad_enabled():
            return torch.cat([block(rows) for rows in row_blocks(self.geometry)])
        return torch.cat([checkpoint(block, rows, use_reentrant=False) for rows in row_blocks(self.geometry)])


def _with_log_weights(potential: Tensor, weights: Tensor, epsilon: Number) -> Tensor:
    """potential + epsilon log(weights); -inf, with derivative zero, where there is no mass."""
    kept = weights > 0
    return torch.where(kept, potential + epsilon * torch.where(kept, weights, 1.0).log(), -torch.inf)


def _has_grains(weights: Tensor) -> bool:
    """Whether a derivative is asked for by the weight of a point without mass."""
    return torch.is_grad_enabled() and weights.requires_grad and bool((weights == 0).any())


def _marginal_dual(weights: Tensor, potential: Tensor, rho: Number) -> Tensor:
    """<w, f> where rho is infinite, else -rho <w, exp(-f / rho) - 1>; float64."""
    if math.isinf(number(rho)):
        return (weights.double() * potential.double()).sum()
    return -rho * (weights.double() * torch.expm1(-potential / rho).double()).sum()


def _factors(costs: Formula) -> tuple[Tensor, Tensor]:
    """left (N, K) and right (M, K) with C_ij = sum_k left_ik right_jk."""
    x, y = costs.tensors
    if costs.kind == "dot":
        return costs.scale * x, y
    squares = x.square().sum(1, keepdim=True), y.square().sum(1, keepdim=True)
    left = torch.cat([squares[0], torch.ones_like(squares[0]), -2.0 * x], 1)
    return costs.scale * left, torch.cat([torch.ones_like(squares[1]), squares[1], y], 1)
