"""Where a solve may start."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isotherm import CostMatrix, Exact, LogSinkhorn, Problem, Scaling
from isotherm.solvers.initial import initial_potentials
from isotherm.testing import as_problem, random_problem


@pytest.fixture(scope="module")
def problem() -> Problem:
    known = random_problem(6, 4, 2, generator=0)
    return as_problem(known, epsilon=0.4 * known.scale)


def test_no_start_is_no_start(problem):
    assert initial_potentials(problem, None, LogSinkhorn()) is None


def test_start_is_converted_to_the_problem(problem):
    f, g = initial_potentials(problem, (np.zeros(6, np.float32), [0, 0, 0, 1]), LogSinkhorn())
    assert f.dtype == g.dtype == torch.float64
    assert g.tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("solver", [LogSinkhorn(relaxation=1.0), Scaling(relaxation=1.0)])
def test_start_from_a_solution_of_another_temperature_is_shorter(problem, solver):
    solver = solver.with_tolerance(1e-8)
    warmer = solver.run(problem.at(1.05 * problem.epsilon))
    assert solver.run(problem, init=warmer).iterations < solver.run(problem).iterations


@pytest.mark.parametrize("solver", [LogSinkhorn(), Scaling()])
def test_start_from_an_exact_solution_is_legal(problem, solver):
    exact = Exact().run(problem.at(0.0))
    solution = solver.run(problem, init=exact)
    assert solution.status.is_converged


@pytest.mark.parametrize("solver", [LogSinkhorn(tolerance=1e-10), Scaling(tolerance=1e-10)])
def test_start_does_not_change_the_answer(problem, solver):
    generator = torch.Generator().manual_seed(1)
    init = tuple(torch.randn(size, generator=generator, dtype=torch.float64) for size in (6, 4))
    kept = [potential.clone() for potential in init]
    one, two = solver.run(problem), solver.run(problem, init=init)
    torch.testing.assert_close(one.f, two.f, rtol=0, atol=1e-7)
    assert all(torch.equal(now, then) for now, then in zip(init, kept, strict=True))


@pytest.mark.parametrize("solver", [LogSinkhorn(max_iterations=5), Scaling(max_iterations=5)])
def test_start_far_away_is_finite(solver):
    problem = Problem(CostMatrix(torch.rand(3, 3, generator=torch.Generator().manual_seed(0))), epsilon=1e-2)
    solution = solver.run(problem, init=(torch.tensor([1e3, 0.0, -1e3]), torch.zeros(3)))
    assert solution.f.isfinite().all()
    assert solution.g.isfinite().all()
    assert math.isfinite(float(solution.value))


@pytest.mark.parametrize(
    ("init", "message"),
    [
        ((torch.zeros(4), torch.zeros(6)), r"`init f` must have one entry per point, shape \(6,\): got \(4,\)"),
        ((torch.zeros(6), torch.zeros(3)), r"`init g` must have one entry per point, shape \(4,\): got \(3,\)"),
        ((torch.full((6,), math.nan), torch.zeros(4)), "`init f` must be finite"),
        ((torch.zeros(6), torch.full((4,), math.inf)), "`init g` must be finite"),
    ],
)
@pytest.mark.parametrize("solver", [LogSinkhorn(), Scaling()])
def test_start_that_does_not_fit_is_refused(problem, solver, init, message):
    with pytest.raises(ValueError, match=message):
        solver.run(problem, init=init)


def test_solvers_are_frozen_settings():
    for solver in (LogSinkhorn(), Scaling()):
        assert solver == type(solver)()
        assert hash(solver) == hash(type(solver)())
        changed = solver.with_tolerance(1e-7)
        assert (solver.tolerance, changed.tolerance) == (1e-4, 1e-7)
        with pytest.raises(TypeError):
            type(solver)(1e-3)
