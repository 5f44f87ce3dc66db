"""What every solver is: a frozen object of settings with one method, run(problem) -> Solution."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Self

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, to_tensor
from isotherm._checks import check_finite, check_warm
from isotherm.solution import Solution
from isotherm.solvers.stopping import AbstractIteration, Callback, StoppingRule, iterate

if TYPE_CHECKING:
    from isotherm.problem import Problem

Init = Solution | tuple[ArrayLike, ArrayLike]


class AbstractSolver(ABC):
    """A way to solve a `Problem`; subclasses are frozen dataclasses of settings."""

    @abstractmethod
    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem.

        Args:
            problem: What to solve.
            init: Where to start: an earlier `Solution` of the same sizes, or potentials (f, g).
            callback: Called with a `Check` each time the residual is looked at; raise from it to stop.

        Returns:
            A solution whose `status` says whether it converged; no exception is raised when it did not.
        """

    @abstractmethod
    def with_tolerance(self, tolerance: float) -> Self:
        """The same solver with another L1 tolerance."""


class AbstractSinkhorn(AbstractSolver):
    """A solver that alternates updates of two potentials until a `StoppingRule` is met.

    Final classes have the fields of `StoppingRule` and say how to start.
    """

    @abstractmethod
    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> AbstractIteration:
        """Begin iterating on a problem, from some potentials or from zero."""

    def rule(self) -> StoppingRule:
        """The tolerances and the budget among the settings; a ValueError if one is not positive."""
        return StoppingRule(**{setting.name: getattr(self, setting.name) for setting in fields(StoppingRule)})

    def with_tolerance(self, tolerance: float) -> Self:
        """The same settings with another tolerance."""
        return replace(self, tolerance=tolerance)  # pyright: ignore[reportArgumentType]

    @torch.no_grad()
    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem; see `AbstractSolver.run`. A ValueError at temperature zero."""
        check_warm(problem.epsilon)
        iteration = self.start(problem, initial_potentials(problem, init))
        method = f"{type(self).__name__}, as asked"
        return iterate(iteration, problem, self.rule(), method=method, callback=callback)


def initial_potentials(problem: Problem, init: Init | None) -> tuple[Tensor, Tensor] | None:
    """The potentials to start from.

    Args:
        problem: What will be solved.
        init: An earlier solution, potentials (f, g), or nothing.

    Returns:
        Tensors of the problem's dtype, shapes (N,) and (M,), or None.

    Raises:
        ValueError: They have the wrong length, or are not finite.
    """
    if init is None:
        return None
    pair = init.potentials if isinstance(init, Solution) else init
    dtype, device = problem.geometry.dtype, problem.geometry.device
    potentials = []
    for name, potential, size in zip(("init f", "init g"), pair, problem.geometry.shape, strict=True):
        tensor = to_tensor(potential, name, dtype=dtype, device=device)
        if tensor.shape != (size,):
            msg = f"`{name}` must have one entry per point, shape ({size},): got {tuple(tensor.shape)}. Start from a solution of the same sizes."
            raise ValueError(msg)
        check_finite(tensor, name)
        potentials.append(tensor)
    return potentials[0], potentials[1]
