"""Temperatures in words: as they are, and as a share of the mean cost."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch

from isotherm.report.digits import number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.problem import Problem
    from isotherm.solution import Solution

EPSILON = "ε"

Item = TypeVar("Item")


def mean_cost(problem: Problem) -> float | None:
    """Mean of the cost if sources and targets were paired at random, units of cost; None where it is no scale.

    sum_ij a_i C_ij b_j over the masses of a and b. Costs that can be negative may have a mean of zero or below.

    Args:
        problem: Costs and weights.

    Returns:
        A positive finite number, or None.
    """
    mass = float(problem.a.sum(dtype=torch.float64) * problem.b.sum(dtype=torch.float64))
    double = problem.double()
    mean = float(double.geometry.product_cost(double.a, double.b)) / mass
    return mean if mean > 0 and math.isfinite(mean) else None


def relative_epsilon(solution: Solution) -> float | None:
    """Temperature as a share of the mean cost, without unit; None where the mean cost is no scale."""
    mean = mean_cost(solution.problem)
    return None if mean is None else solution.epsilon / mean


def epsilon_label(solution: Solution) -> str:
    """The temperature as a short label.

    Args:
        solution: Whose temperature.

    Returns:
        Text such as "ε = 0.05".
    """
    return f"{EPSILON} = 0 (exact)" if solution.epsilon == 0 else f"{EPSILON} = {number(solution.epsilon)}"


def epsilon_share(solution: Solution) -> str:
    """The temperature relative to the mean cost, as words; empty where that says nothing."""
    share = relative_epsilon(solution)
    if share is None or share == 0:
        return ""
    return f"{percent(share)} of mean cost" if share < 2 else f"{number(share, 2)} × mean cost"


def by_temperature(solutions: Sequence[Solution]) -> list[Solution]:
    """The solutions from cold to hot.

    Args:
        solutions: In any order.

    Returns:
        A new list; equal temperatures keep their order.

    Raises:
        ValueError: There is none.
    """
    if not solutions:
        msg = "`solutions` must hold at least one solution: got none. Pass [solution] or a TemperaturePath."
        raise ValueError(msg)
    return sorted(solutions, key=lambda solution: solution.epsilon)


def spread(items: Sequence[Item], most: int) -> list[Item]:
    """At most so many of some items, evenly spread and including both ends.

    Args:
        items: In order.
        most: How many, at least 2.

    Returns:
        A part of the items, in order.
    """
    count = len(items)
    if count <= most:
        return list(items)
    return [items[round(k * (count - 1) / (most - 1))] for k in range(most)]
