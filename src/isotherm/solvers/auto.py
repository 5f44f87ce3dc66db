"""The default solver: a short table of rules that explains its choice."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch

from isotherm.geometry import Grid
from isotherm.solvers.abstract import AbstractSolver, Init
from isotherm.solvers.annealed import Annealed
from isotherm.solvers.exact import Exact
from isotherm.solvers.log_sinkhorn import LogSinkhorn
from isotherm.solvers.scaling import Scaling
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, StoppingRule

if TYPE_CHECKING:
    from isotherm.problem import Problem
    from isotherm.solution import Solution
    from isotherm.solvers.stopping import Callback

SCALING_ENTRIES = 1 << 22  # pairs up to which a stored kernel is worth its memory
COLD = 0.02  # epsilon over mean cost below which annealing pays


class Choice(NamedTuple):
    """A solver and the reason for it."""

    solver: AbstractSolver
    reason: str


@dataclass(frozen=True, kw_only=True)
class Auto(AbstractSolver):
    """Scaling form where it provably neither under- nor overflows, else the log domain, annealed when cold.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of updates of both potentials.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.

    Raises:
        ValueError: A setting is not positive.

    Example:
        >>> import torch
        >>> from isotherm.geometry import PointCloud
        >>> from isotherm.problem import Problem
        >>> cloud = PointCloud(torch.zeros(3, 1), torch.arange(4.0))
        >>> Auto().choose(Problem(cloud, epsilon=1.0)).reason
        'range(C) / epsilon is small enough for exp(-C / epsilon) in torch.float32'
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None

    def __post_init__(self) -> None:
        StoppingRule(**self._settings())

    def _settings(self) -> dict[str, Any]:
        return {setting.name: getattr(self, setting.name) for setting in fields(self)}

    def with_tolerance(self, tolerance: float) -> Self:
        """The same settings with another tolerance."""
        return replace(self, tolerance=tolerance)

    @torch.no_grad()
    def choose(self, problem: Problem) -> Choice:
        """Which solver would run, and why. Costs at most one pass over the costs.

        Args:
            problem: What would be solved.

        Returns:
            The solver and a reason in words.
        """
        if problem.epsilon == 0:
            return Choice(Exact(), "epsilon is zero")
        scaling, log_domain = Scaling(**self._settings()), LogSinkhorn(**self._settings())
        sources, targets = problem.geometry.shape
        if isinstance(problem.geometry, Grid):
            obstacles = ["a grid has faster passes of its own, axis by axis"]
        elif sources * targets > SCALING_ENTRIES:
            obstacles = [f"{sources} x {targets} costs are recomputed rather than stored"]
        else:
            obstacles = scaling.why_not(problem, problem.geometry.for_iteration().cost_range())
        if not obstacles:
            dtype = problem.geometry.dtype
            return Choice(scaling, f"range(C) / epsilon is small enough for exp(-C / epsilon) in {dtype}")
        annealed = Annealed(solver=log_domain)
        if len(annealed.schedule_from(_mean_cost(problem) * COLD, to=problem.epsilon)) > 1:
            return Choice(annealed, f"{obstacles[0]}; epsilon is below {COLD:.0%} of the mean cost")
        return Choice(log_domain, obstacles[0])

    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem with the chosen solver; see `AbstractSolver.run`."""
        choice = self.choose(problem)
        solution = choice.solver.run(problem, init=init, callback=callback)
        described = solution.method.removesuffix(", as asked")
        return replace(solution, method=f"Auto chose {described}: {choice.reason}")


def _mean_cost(problem: Problem) -> float:
    return float(problem.geometry.product_cost(problem.a, problem.b) / (problem.a.sum() * problem.b.sum()))
