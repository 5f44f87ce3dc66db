"""How a loss is differentiated: a frozen object beside the solver, which knows nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from isotherm._checks import check_count, check_positive
from isotherm.divergences.linear import LinearReport, LinearSettings


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Derivative of the value at fixed potentials, exact at the optimum; no graph goes through the iterations.

    The first derivative takes one pass over the pairs, O(N M D) in memory O(N + M). The second includes the response
    of the potentials and takes a linear system, solved with the settings below. It is for the value alone: potentials,
    plan and transport cost need `Implicit` or `Unroll`.

    Attributes:
        tolerance: Relative residual of the linear systems of second derivatives; None is the dtype's rounding to the
            power 2/3. Where it is not reached a `ConvergenceWarning` says by how much.
        max_iterations: Most products with the Hessian in one system.
        report: Called with a `LinearReport` after each system.

    Example:
        >>> Envelope()
        Envelope(tolerance=None, max_iterations=1000, report=None)

    References:
        [Feydy2019, proposition 2], [PeyreCuturi2019, section 9.1.1]
    """

    tolerance: float | None = None
    max_iterations: int = 1000
    report: Callable[[LinearReport], None] | None = None

    def __post_init__(self) -> None:
        self.linear()

    def linear(self) -> LinearSettings:
        """The settings of the linear systems; a ValueError if one is not positive."""
        return _linear(self)


@dataclass(frozen=True, kw_only=True)
class Implicit:
    """Derivative of the optimal potentials, and of all that is made of them, by the implicit function theorem.

    Each backward pass solves one linear system with the dual's Hessian by conjugate gradients, two passes over the
    pairs per iteration, in memory O(N + M); the constant that balanced potentials are free up to is projected out.
    Second derivatives solve further systems. Exact at the optimum: solve to a small tolerance.

    Attributes:
        tolerance: Relative residual of the linear systems; None is the dtype's rounding to the power 2/3. Where it is
            not reached a `ConvergenceWarning` says by how much.
        max_iterations: Most products with the Hessian in one system.
        report: Called with a `LinearReport` after each system.

    Example:
        >>> import torch
        >>> import isotherm
        >>> reports = []
        >>> x = torch.zeros(1, 1, requires_grad=True)
        >>> cost = isotherm.transport_cost(x, torch.ones(1, 1), epsilon=1.0, differentiation=Implicit(report=reports.append))
        >>> cost.backward()
        >>> x.grad.round(decimals=4), len(reports)
        (tensor([[-2.]]), 1)

    References:
        [Luise2018], [Eisenberger2022]
    """

    tolerance: float | None = None
    max_iterations: int = 1000
    report: Callable[[LinearReport], None] | None = None

    def __post_init__(self) -> None:
        self.linear()

    def linear(self) -> LinearSettings:
        """The settings of the linear systems; a ValueError if one is not positive."""
        return _linear(self)


@dataclass(frozen=True)
class Unroll:
    """A fixed number of Sinkhorn's iterations, differentiated one by one.

    The value is that of the potentials reached, converged or not, and the derivative is exactly its own, to second
    order. Memory O(K (N + M)) for K steps; the solver, its tolerance and warm starts play no part.

    Attributes:
        steps: Updates of both potentials, K, from zero.

    Example:
        >>> Unroll(20)
        Unroll(steps=20)

    References:
        [Genevay2018, section 3]
    """

    steps: int

    def __post_init__(self) -> None:
        check_count(self.steps, "steps")


Differentiation = Envelope | Implicit | Unroll


def _linear(rule: Envelope | Implicit) -> LinearSettings:
    if rule.tolerance is not None:
        check_positive(rule.tolerance, "tolerance")
    check_count(rule.max_iterations, "max_iterations")
    return LinearSettings(tolerance=rule.tolerance, max_iterations=rule.max_iterations, report=rule.report)
