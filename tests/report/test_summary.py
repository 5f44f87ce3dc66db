"""The summary says what the solution says, in words that JSON knows."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import isotherm
from isotherm import CostMatrix, NegativeDot, PointCloud, Problem
from isotherm.report import summarise, summary_table
from isotherm.report.temperature import by_temperature, epsilon_share, mean_cost, spread
from isotherm.solution import MarginalError

if TYPE_CHECKING:
    from isotherm import Solution, TemperaturePath


def test_summary_round_trips_through_json(path: TemperaturePath, unfinished: Solution, costs_only: Solution) -> None:
    for solution in (*path, unfinished, costs_only):
        summary = summarise(solution)
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_summary_of_the_worked_example() -> None:
    solution = isotherm.solve(CostMatrix([[0.0, 1.0], [1.0, 0.0]]), epsilon=1.0)
    summary = summarise(solution)
    assert summary["epsilon"] == {"absolute": 1.0, "relative_to_mean_cost": 2.0}
    assert summary["transport_cost"] == pytest.approx(1.0 / (math.e + 1.0))
    assert summary["problem"]["sources"] == summary["problem"]["targets"] == 2
    assert summary["problem"]["rho_a"] == "inf"
    assert summary["status"]["is_converged"] is True
    assert summary["certificate"]["entropic_lower"] <= summary["certificate"]["entropic_upper"]


def test_summary_writes_nan_as_null(solution: Solution) -> None:
    broken = replace(solution, marginal_error=MarginalError(math.nan, math.inf))
    assert summarise(broken)["marginal_error"] == {"source": None, "target": "inf"}


def test_summary_table_rows_share_their_headers(path: TemperaturePath, unfinished: Solution) -> None:
    rows = summary_table([*path, unfinished])
    assert len({tuple(row) for row in rows}) == 1
    assert [row["status"] for row in rows] == ["converged", "exact", "converged", "converged", "NOT CONVERGED"]


def test_mean_cost_is_that_of_independent_pairing() -> None:
    costs = CostMatrix([[0.0, 1.0], [1.0, 2.0]])
    assert mean_cost(Problem(costs, [3.0, 1.0], [1.0, 3.0], epsilon=1.0)) == pytest.approx(1.0)


def test_mean_cost_is_no_scale_where_costs_are_negative() -> None:
    solution = isotherm.solve(PointCloud([1.0, 2.0], [1.0, 2.0], NegativeDot()), epsilon=1.0)
    assert mean_cost(solution.problem) is None
    assert epsilon_share(solution) == ""
    assert summarise(solution)["epsilon"]["relative_to_mean_cost"] is None


def test_by_temperature_sorts_and_refuses_nothing_at_all(path: TemperaturePath) -> None:
    assert [solution.epsilon for solution in by_temperature(path)] == [0.0, 0.3, 2.0, 20.0]
    with pytest.raises(ValueError, match="at least one solution"):
        by_temperature([])


def test_spread_keeps_both_ends() -> None:
    assert spread(list(range(20)), 3) == [0, 10, 19]
