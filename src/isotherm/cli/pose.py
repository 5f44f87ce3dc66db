"""Clouds and options to a problem and a solver, with messages in the words of the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from isotherm._checks import check_choice, check_count, check_equal_masses, check_positive
from isotherm.cli.read import Cloud
from isotherm.geometry import PointCloud, Relative
from isotherm.geometry.costs import NAMED_COSTS
from isotherm.problem import Problem
from isotherm.solvers import Annealed, Auto, Exact, LogSinkhorn, Newton, Scaling
from isotherm.solvers.solve import NAMED_SOLVERS
from isotherm.solvers.stopping import DEFAULT_TOLERANCE

DEFAULT_EPSILON = 0.05
UNITS = ("mean", "std", "absolute")

NamedSolver = Auto | LogSinkhorn | Scaling | Annealed | Newton | Exact


class Temperature(NamedTuple):
    """A temperature as it was asked for: a number and its unit, one of `UNITS`."""

    number: float
    unit: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked about two clouds, apart from the temperature.

    Attributes:
        cost: Name of a cost.
        rho_a: Price of missing the source weights; inf enforces them.
        rho_b: Price of missing the target weights.

    Raises:
        ValueError: Unknown cost, or a price that is not positive.
    """

    cost: str = "sqeuclidean"
    rho_a: float = math.inf
    rho_b: float = math.inf

    def __post_init__(self) -> None:
        check_choice(self.cost, "--cost", NAMED_COSTS)
        check_positive(self.rho_a, "--rho-a", allow_infinity=True)
        check_positive(self.rho_b, "--rho-b", allow_infinity=True)


def temperature_asked(number: float | None, unit: str, solver: NamedSolver) -> Temperature:
    """The temperature behind --epsilon and --epsilon-of.

    Args:
        number: As given; None for the default, which is zero for the exact solver.
        unit: One of `UNITS`.
        solver: Who will solve.

    Returns:
        Number and unit.

    Raises:
        ValueError: Not positive, not finite, unknown unit, or a temperature that the solver cannot have.
    """
    check_choice(unit, "--epsilon-of", UNITS)
    is_exact = isinstance(solver, Exact)
    if number is None:
        return Temperature(0.0 if is_exact else DEFAULT_EPSILON, unit)
    if is_exact and number != 0:
        msg = f"--solver exact answers at temperature 0: got --epsilon {number:g}. Leave --epsilon out, or choose another solver."
        raise ValueError(msg)
    if not is_exact and not (number > 0 and math.isfinite(number)):
        msg = (
            f"--epsilon must be positive and finite: got {number:g}. 0.05 means 5 % of the mean cost; "
            f"for exact transport, temperature 0, use --solver exact."
        )
        raise ValueError(msg)
    return Temperature(number, unit)


def solver_asked(name: str, *, tolerance: float | None, max_iterations: int | None) -> NamedSolver:
    """The solver behind --solver, with its settings.

    Args:
        name: As in `isotherm.solve`.
        tolerance: L1 error at which to stop; the solver's own when None.
        max_iterations: Budget; the solver's own when None.

    Returns:
        The solver, ready to run.

    Raises:
        ValueError: Unknown name, or a setting that is out of range or that the solver does not have.
    """
    solver = NAMED_SOLVERS[check_choice(name, "--solver", NAMED_SOLVERS)]
    assert isinstance(solver, NamedSolver)  # what the names stand for
    settings = {}
    if tolerance is not None:
        settings["tolerance"] = check_positive(tolerance, "--tolerance")
    if max_iterations is not None:
        settings["max_iterations"] = check_count(max_iterations, "--max-iterations")
    if not settings:
        return solver
    if isinstance(solver, Exact):
        msg = "--solver exact does not iterate: got --tolerance or --max-iterations. Leave them out."
        raise ValueError(msg)
    if isinstance(solver, Annealed):
        return replace(solver, solver=replace(solver.solver, **settings))  # pyright: ignore[reportArgumentType]
    return replace(solver, **settings)


def tolerance_of(solver: NamedSolver) -> float:
    """The L1 error at which a solver stops; the default for one that has none."""
    inner = solver.solver if isinstance(solver, Annealed) else solver
    return getattr(inner, "tolerance", DEFAULT_TOLERANCE)


def pose(source: Cloud, target: Cloud, question: Question) -> Problem:
    """The problem of coupling two clouds, at temperature 1 for now: see `at_temperature`.

    Args:
        source: Points to move from.
        target: Points to move to.
        question: What is asked.

    Returns:
        The problem, its weights in the dtype of the points.

    Raises:
        ValueError: The total weights differ although both are enforced.
    """
    geometry = PointCloud(source.points, target.points, question.cost)
    a, b = (
        torch.full((len(cloud.points),), 1.0 / len(cloud.points), dtype=torch.float64)
        if cloud.weights is None
        else torch.from_numpy(cloud.weights).double()
        for cloud in (source, target)
    )
    if math.isinf(question.rho_a) and math.isinf(question.rho_b):
        try:
            check_equal_masses(a, b)
        except ValueError as error:
            msg = (
                f"The weights of both files must have the same total: got {float(a.sum()):.6g} in {source.path.name} and "
                f"{float(b.sum()):.6g} in {target.path.name}. Use --normalise to scale both to 1, or --rho-a and --rho-b to "
                f"let mass stay unmatched."
            )
            raise ValueError(msg) from error
    a, b = a.to(geometry.dtype).numpy(), b.to(geometry.dtype).numpy()
    return Problem(geometry, a, b, epsilon=1.0, rho_a=question.rho_a, rho_b=question.rho_b)


def at_temperature(problem: Problem, temperature: Temperature) -> Problem:
    """The same problem at the temperature that was asked for.

    Args:
        problem: At any temperature.
        temperature: Number and unit; zero is exact transport in every unit.

    Returns:
        The problem with its `epsilon` in units of cost.

    Raises:
        ValueError: The cost has no positive mean or spread for the temperature to be a share of.
    """
    number, unit = temperature
    if unit == "absolute" or number == 0:
        return problem.at(number)
    try:
        return problem.at(Relative(number, unit).resolve(problem.geometry, problem.a, problem.b))
    except ValueError as error:
        other = "absolute" if unit == "std" else "std, or absolute"
        msg = (
            f"--epsilon is a share of the {unit} of the cost, which must be positive: it is not for these points at this "
            f"cost. Use --epsilon-of {other}."
        )
        raise ValueError(msg) from error


def in_words(temperature: Temperature, problem: Problem) -> str:
    """How the temperature was asked for and what it is in units of cost."""
    number, unit = temperature
    if number == 0:
        return "0: exact transport"
    if unit == "absolute":
        return f"{number:g} in units of cost, as asked"
    scale = "mean cost" if unit == "mean" else "standard deviation of the cost"
    return f"{problem.epsilon:.4g} in units of cost: {100 * number:g} % of the {scale}, {problem.epsilon / number:.4g}"
