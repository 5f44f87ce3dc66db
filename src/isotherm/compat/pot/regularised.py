"""One problem between stored costs as POT states it, and its result with derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._checks import check_count
from isotherm.compat.pot.result import OTResult
from isotherm.divergences import PotentialCache, entropic_value, transport
from isotherm.geometry import CostMatrix
from isotherm.problem import Problem
from isotherm.solvers import AbstractSolver, Auto, Exact, LogSinkhorn

if TYPE_CHECKING:
    from isotherm._arrays import Namespace
    from isotherm.solution import Solution

TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-5}  # L1 error of the marginals where none is asked for


@dataclass(frozen=True, eq=False, kw_only=True)
class Stated:
    """min <C, P> + reg R(P) + rho_a KL(P 1 | a) + rho_b KL(P' 1 | b).

    Attributes:
        costs: C, shape (N, M).
        a: Weights of the sources, shape (N,).
        b: Weights of the targets, shape (M,).
        epsilon: `reg`, zero for exact transport.
        rho_a: Price of the source marginal.
        rho_b: Price of the target marginal.
        regulariser: "kl" for R = KL(P | reference); "entropy" for sum P log P, unbalanced sum P log P - P.
        reference: c, shape (N, M), positive; a ⊗ b for None.
        grad: "autodiff" and "last_step" differentiate everything; "envelope" the value; "detach" nothing.
    """

    costs: Tensor
    a: Tensor
    b: Tensor
    epsilon: float
    rho_a: float = math.inf
    rho_b: float = math.inf
    regulariser: str = "kl"
    reference: Tensor | None = None
    grad: str = "autodiff"

    @property
    def is_balanced(self) -> bool:
        """Whether both marginals are enforced."""
        return math.isinf(self.rho_a) and math.isinf(self.rho_b)

    def detached(self) -> Stated:
        """The same outside every graph."""
        reference = None if self.reference is None else self.reference.detach()
        return replace(self, costs=self.costs.detach(), a=self.a.detach(), b=self.b.detach(), reference=reference)

    @cached_property
    def tilted(self) -> Tensor:
        """Costs with which the reference is a ⊗ b: C - reg log(c / (a ⊗ b))."""
        pairs = self.a[:, None] * self.b
        if self.regulariser == "entropy" and not self.is_balanced:
            return self.costs + self.epsilon * torch.where(pairs > 0, pairs, 1.0).log()
        if self.reference is None:
            return self.costs
        return self.costs - self.epsilon * torch.where(pairs > 0, self.reference / pairs, 1.0).log()

    @property
    def offset(self) -> Tensor | float:
        """What to add to the value with the tilted costs."""
        pairs = self.a.sum() * self.b.sum()
        if self.regulariser == "entropy":
            if not self.is_balanced:
                return -self.epsilon * pairs
            return entropy_offset(self.a, self.b, self.epsilon)
        return 0.0 if self.reference is None else self.epsilon * (self.reference.sum() - pairs)

    @property
    def problem(self) -> Problem:
        """For solvers."""
        now = self.detached()
        return Problem(CostMatrix(now.tilted), now.a, now.b, epsilon=self.epsilon, rho_a=self.rho_a, rho_b=self.rho_b)

    def start(self, potentials: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor] | None:
        """Potentials in units of cost from those of `OTResult`; zero where there is no mass."""
        if potentials is None or not self.epsilon:
            return None
        weights = (self.a, self.b) if self.is_balanced else (torch.ones_like(self.a), torch.ones_like(self.b))
        sides = [
            self.epsilon * torch.where(w > 0, u - torch.where(w > 0, w, 1.0).log(), 0.0)
            for u, w in zip(potentials, weights, strict=True)
        ]
        return sides[0].detach(), sides[1].detach()

    def result(self, solution: Solution, namespace: Namespace, tolerance: float | None = None) -> OTResult:
        """The original's view of a solution, differentiable as asked.

        Args:
            solution: Of `problem`.
            namespace: Library of the arrays in the result.
            tolerance: At which it was solved.

        Returns:
            The result.
        """
        make = self._exact if self.epsilon == 0 else self._entropic
        parts = make(solution, tolerance)
        exported = {name: namespace.export(part) for name, part in parts.items()}
        return OTResult(
            potentials=(exported.pop("u"), exported.pop("v")),
            status=str(solution.status),
            log={
                "niter": solution.iterations,
                "err": max(solution.marginal_error),
                "solution": solution,
            },
            **exported,
        )

    @property
    def _asks_for_derivative(self) -> bool:
        tensors = (self.costs, self.a, self.b)
        return torch.is_grad_enabled() and self.grad != "detach" and any(t.requires_grad for t in tensors)

    def _exact(self, solution: Solution, tolerance: float | None) -> dict[str, Any]:
        """The value has plan and prices as its derivatives; they themselves are constants."""
        del tolerance
        f, g = solution.potentials
        plan = solution.coupling.plan_rows(slice(None))
        given = self if self._asks_for_derivative else self.detached()
        value = (plan * given.costs).sum() + (given.a - self.a.detach()) @ f + (given.b - self.b.detach()) @ g
        return {"u": f, "v": g, "plan": plan, "value": value, "value_linear": value}

    def _entropic(self, solution: Solution, tolerance: float | None) -> dict[str, Any]:
        if not self._asks_for_derivative:
            return self.detached()._parts(*solution.potentials) | {
                "value": solution.value + self.detached().offset,
            }
        settings = {
            "epsilon": self.epsilon,
            "rho_a": self.rho_a,
            "rho_b": self.rho_b,
            "tolerance": tolerance,
            "on_failure": "ignore",
            "cache": warm_cache(solution),
        }
        geometry = CostMatrix(self.tilted)
        value = entropic_value(geometry, None, self.a, self.b, **settings) + self.offset
        if self.grad == "envelope":
            return self.detached()._parts(*solution.potentials) | {"value": value}
        moved = transport(geometry, None, self.a, self.b, **settings)
        return self._parts(moved.f, moved.g) | {"value": value}

    def _parts(self, f: Tensor, g: Tensor) -> dict[str, Any]:
        """Plan, its cost and the potentials by the original's convention, from ours."""
        plan = self.a[:, None] * self.b * ((f[:, None] + g - self.tilted) / self.epsilon).exp()
        u, v = f / self.epsilon, g / self.epsilon
        if self.is_balanced:
            u, v = u + self.a.log(), v + self.b.log()
        return {"u": u, "v": v, "plan": plan, "value_linear": (plan * self.costs).sum()}


def entropy_offset(a: Tensor, b: Tensor, epsilon: float) -> Tensor:
    """epsilon (sum P log P - KL(P | a ⊗ b)) for a plan that meets its marginals."""
    sums = sum(torch.where(w > 0, w * torch.where(w > 0, w, 1.0).log(), 0.0).sum() for w in (a, b))
    return epsilon * (sums + a.sum() - a.sum() * b.sum())


def warm_cache(solution: Solution) -> PotentialCache:
    """Losses of the same problem start from its solution.

    Args:
        solution: What was found.

    Returns:
        For one call of `entropic_value`, `transport` or `transport_cost`, or for several.
    """
    cache = PotentialCache()
    cache.keep(("cross", 0), solution)
    return cache


def chosen_solver(epsilon: float, dtype: torch.dtype, max_iter: int | None, tol: float | None) -> AbstractSolver:
    """Who solves, and how far.

    Args:
        epsilon: Temperature; zero for exact transport.
        dtype: Of the costs.
        max_iter: Most iterations of alternation; None leaves the method to `Auto`.
        tol: L1 error of the marginals, per unit of mass; None for `TOLERANCES`.

    Returns:
        The solver.
    """
    if epsilon == 0:
        return Exact()
    tolerance = TOLERANCES[dtype] if tol is None else tol
    if max_iter is None:
        return Auto().with_tolerance(tolerance)
    return LogSinkhorn(tolerance=tolerance, max_iterations=check_count(max_iter, "max_iter"))
