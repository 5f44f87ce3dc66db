"""Small solved problems, made once for all tests of the report."""

from __future__ import annotations

import numpy as np
import pytest

import isotherm
from isotherm import CostMatrix, LogSinkhorn, PointCloud, Problem, Solution, TemperaturePath, temperature_path


@pytest.fixture(scope="session")
def points() -> tuple[np.ndarray, np.ndarray]:
    """Two clouds, 30 and 20 points in the plane."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(30, 2)), generator.normal(loc=1.0, size=(20, 2))


@pytest.fixture(scope="session")
def path(points: tuple[np.ndarray, np.ndarray]) -> TemperaturePath:
    """From exact transport to a hot plan, every temperature converged."""
    return temperature_path(Problem(PointCloud(*points), epsilon=1.0), [2.0, 0.0, 0.3, 20.0])


@pytest.fixture(scope="session")
def solution(path: TemperaturePath) -> Solution:
    """One converged solution."""
    return path[2]


@pytest.fixture(scope="session")
def unfinished(points: tuple[np.ndarray, np.ndarray]) -> Solution:
    """A solve that ran out of iterations."""
    solver = LogSinkhorn(max_iterations=2)
    return isotherm.solve(*points, epsilon=0.05, solver=solver, on_failure="ignore")


@pytest.fixture(scope="session")
def costs_only(points: tuple[np.ndarray, np.ndarray]) -> Solution:
    """A solution of a problem without coordinates."""
    return isotherm.solve(CostMatrix(np.square(points[0][:, None] - points[1]).sum(2)), epsilon=0.3)
