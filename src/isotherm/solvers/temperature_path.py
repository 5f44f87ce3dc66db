"""The dial: one problem at a sequence of temperatures, each solve starting from the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, overload

from isotherm._status import Outcome
from isotherm.solution import Solution
from isotherm.solvers.exact import Exact
from isotherm.solvers.solve import as_solver

if TYPE_CHECKING:
    from isotherm.geometry import Relative
    from isotherm.problem import Problem
    from isotherm.solvers.abstract import AbstractSolver
    from isotherm.solvers.stopping import Callback


@dataclass(frozen=True, eq=False)
class TemperaturePath(Sequence[Solution]):
    """Solutions of one problem at several temperatures, in the order they were asked for.

    Attributes:
        solutions: One `Solution` per temperature.
    """

    solutions: tuple[Solution, ...]

    def __len__(self) -> int:
        return len(self.solutions)

    @overload
    def __getitem__(self, index: int) -> Solution: ...
    @overload
    def __getitem__(self, index: slice) -> TemperaturePath: ...
    def __getitem__(self, index: int | slice) -> Solution | TemperaturePath:
        """One solution, or a shorter path."""
        return TemperaturePath(self.solutions[index]) if isinstance(index, slice) else self.solutions[index]

    def __iter__(self) -> Iterator[Solution]:
        return iter(self.solutions)

    @property
    def epsilons(self) -> tuple[float, ...]:
        """The temperatures, in units of cost."""
        return tuple(solution.epsilon for solution in self)

    @property
    def transport_costs(self) -> tuple[float, ...]:
        """<C, P> at each temperature; never decreasing in it."""
        return tuple(float(solution.transport_cost) for solution in self)

    @property
    def normalised_entropies(self) -> tuple[float, ...]:
        """Entropy of each coupling between a matching (0) and independence (1); never decreasing in temperature."""
        return tuple(solution.coupling.normalised_entropy() for solution in self)


def temperature_path(
    problem: Problem,
    epsilons: Sequence[float | Relative],
    *,
    solver: AbstractSolver | str | None = None,
    callback: Callback | None = None,
) -> TemperaturePath:
    """Solve a problem along the dial, from hot to cold, each temperature starting from the one before.

    Args:
        problem: What to solve; its own temperature plays no part.
        epsilons: Temperatures in units of cost or `Relative`, in any order; 0 is exact transport.
        solver: Solver for the temperatures above zero; `Auto()` when left out.
        callback: Called with a `Check` at each look at a residual.

    Returns:
        The solutions in the order of `epsilons`. Look at each `status`: nothing is raised or warned. After an interrupt
        only those that were reached, the coldest of them with the outcome `interrupted`.

    Raises:
        ValueError: No temperature, or one that is negative or not finite.

    Example:
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> path = temperature_path(Problem(CostMatrix([[0.0, 1.0], [1.0, 0.0]]), epsilon=1.0), [1.0, 0.0])
        >>> [round(cost, 3) for cost in path.transport_costs]
        [0.269, 0.0]
    """
    levels = [problem.at(epsilon).epsilon for epsilon in epsilons]
    if not levels:
        msg = "`epsilons` must hold at least one temperature: got none. Pass numbers in units of cost."
        raise ValueError(msg)
    chosen, found, last = as_solver(solver), dict[float, Solution](), None
    for epsilon in sorted(set(levels), reverse=True):
        if epsilon == 0:
            found[epsilon] = Exact().run(problem.at(0.0))
            continue
        last = found[epsilon] = chosen.run(problem.at(epsilon), init=last, callback=callback)
        if last.status.outcome is Outcome.INTERRUPTED:
            break
    return TemperaturePath(tuple(found[epsilon] for epsilon in levels if epsilon in found))
