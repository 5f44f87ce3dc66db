"""The answer: potentials, coupling, values, bounds, and how it was found."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from isotherm.certificate import Certificate, certify, certify_exact
from isotherm.coupling import AbstractCoupling, EntropicCoupling, SparseCoupling
from isotherm.objective import dual_value, skipped_mass, soft_transform

if TYPE_CHECKING:
    from isotherm._status import Status
    from isotherm.problem import Problem


class MarginalError(NamedTuple):
    """L1 distance between the plan's marginals and the optimal ones, per unit of mass; plain numbers."""

    source: float
    target: float


class Check(NamedTuple):
    """One look at the residual during a solve.

    The error is that of the source marginal, the target marginal being exact at that moment.
    """

    iteration: int
    epsilon: float
    marginal_error: float


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Solution:
    """Solution of a transport problem, converged or not; everything in it is valid either way.

    Attributes:
        problem: What was asked, with the temperature in use as `problem.epsilon`.
        potentials: Potentials (f, g) as tensors, shapes (N,) and (M,), units of cost.
        coupling: The plan, as a lazy matrix.
        status: Outcome with advice; `status.is_converged` is the answer to "may I trust it".
        marginal_error: L1 error of both marginals, per unit of mass, recomputed from the returned potentials. In an
            unbalanced problem the optimal marginal a exp(-f / rho_a) stands for a.
        iterations: Updates of both potentials.
        history: The residual as it was looked at, over all temperatures of the solve.
        tolerance: The L1 marginal error that was asked for; None where there is none (exact transport).
        method: Which solver and why, in a sentence.
        seconds: Wall time.
    """

    problem: Problem
    potentials: tuple[Tensor, Tensor]
    coupling: EntropicCoupling | SparseCoupling
    status: Status
    marginal_error: MarginalError
    iterations: int
    history: tuple[Check, ...]
    tolerance: float | None
    method: str
    seconds: float

    def __repr__(self) -> str:
        return (
            f"Solution of {self.problem}\n"
            f"  value {float(self._value):.6g}, transport cost {float(self._transport_cost):.6g}\n"
            f"  {self.status}\n"
            f"  {self.iterations} iterations in {self.seconds:.2g} s; {self.method}"
        )

    @property
    def epsilon(self) -> float:
        """The temperature in use, in units of cost."""
        return self.problem.epsilon

    @property
    def f(self) -> Any:
        """Potential of the sources, shape (N,), units of cost; the price of one more unit of mass there.

        Balanced problems fix the free constant by <b, g> = 0.
        """
        return self._export(self.potentials[0])

    @property
    def g(self) -> Any:
        """Potential of the targets, shape (M,), units of cost."""
        return self._export(self.potentials[1])

    @property
    def value(self) -> Any:
        """The minimised objective, <C, P> + epsilon KL(P | kappa) + marginal prices; a scalar.

        Evaluated as the dual in float64 after one soft c-transform: a lower bound, the certificate's, whose error is of
        second order in that of the potentials.
        """
        return self._export(self._value)

    @property
    def transport_cost(self) -> Any:
        """<C, P>, the cost that the plan itself pays ("sharp" value); a scalar."""
        return self._export(self._transport_cost)

    @property
    def entropy_value(self) -> Any:
        """The objective in entropy form, <C, P> - epsilon H(P) + marginal prices; a scalar.

        The plan is that of `value`; for a balanced plan of mass one it is value - epsilon (H(a) + H(b)).
        """
        return self._export(self._entropy_value)

    @cached_property
    def certificate(self) -> Certificate:
        """Bounds on the entropic and on the exact value, valid whatever the status; about seven passes in float64."""
        if self.problem.epsilon == 0:
            return certify_exact(self.problem, self.potentials[1], self._transport_cost)
        return certify(self.problem, self.potentials[1])

    def _export(self, tensor: Tensor) -> Any:
        return self.problem.geometry.namespace.export(tensor.to(self.problem.geometry.dtype))

    @cached_property
    def _precise(self) -> EntropicCoupling:
        """The coupling after one soft c-transform, in float64: what `value` and `entropy_value` are computed from."""
        problem = self.problem.double()
        g = self.potentials[1].double()
        return EntropicCoupling(problem, soft_transform(problem, g)[0], g)

    @cached_property
    def _transport_cost(self) -> Tensor:
        if isinstance(self.coupling, EntropicCoupling):
            problem, (f, g) = self.problem.double(), self.potentials
            return EntropicCoupling(problem, f.double(), g.double()).transport_cost()
        pairs, geometry = self.coupling, self.problem.geometry.double()
        costs = [
            geometry.block(i).gather(1, j[:, None])[:, 0]
            for i, j in zip(pairs.sources.split(1024), pairs.targets.split(1024), strict=True)
        ]
        return torch.cat(costs) @ pairs.pair_mass.double()

    @cached_property
    def _value(self) -> Tensor:
        if self.problem.epsilon == 0:
            return self._transport_cost
        problem, f = self._precise.problem, self._precise.f
        mass = problem.a @ (-f / problem.rho_a).exp() + skipped_mass(problem, f, self._precise.g)
        return dual_value(problem, f, self._precise.g, mass)

    @cached_property
    def _entropy_value(self) -> Tensor:
        if self.problem.epsilon == 0:
            return self._transport_cost
        coupling, epsilon = self._precise, self.problem.epsilon
        row, column = coupling.masses()
        relative = row @ coupling.f + column @ coupling.g - coupling.transport_cost()  # epsilon sum P log(P / kappa)
        relative = relative + epsilon * (coupling.problem.reference_mass - row.sum())
        return self._value - relative - epsilon * coupling.plan_entropy()


def marginal_error(problem: Problem, potentials: tuple[Tensor, Tensor], coupling: AbstractCoupling) -> MarginalError:
    """L1 distance of a plan's marginals from the optimal ones, per unit of mass.

    Where the geometry leaves out pairs, what they may hold is added: an upper bound.

    Args:
        problem: Weights and their prices.
        potentials: (f, g), shapes (N,) and (M,), units of cost.
        coupling: The plan.

    Returns:
        The errors of both sides.
    """
    sides = zip((problem.a, problem.b), potentials, (problem.rho_a, problem.rho_b), strict=True)
    wanted = [w if math.isinf(rho) else w * (-potential / rho).exp() for w, potential, rho in sides]
    found = coupling.masses()
    skipped = skipped_mass(problem, *potentials)
    errors = [
        float((torch.linalg.vector_norm(r - w, 1, dtype=torch.float64) + skipped) / w.sum())
        for r, w in zip(found, wanted, strict=True)
    ]
    return MarginalError(*errors)
