"""The front door: what it accepts, what it hands on, what it says."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import isotherm
from isotherm import (
    Auto,
    ConvergenceError,
    ConvergenceWarning,
    CostMatrix,
    Exact,
    Grid,
    LogSinkhorn,
    PointCloud,
    Problem,
    Relative,
    Scaling,
    solve,
)
from isotherm.solvers.solve import as_geometry, as_solver
from isotherm.testing import check_solution, random_problem

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(7, 2)), RNG.normal(size=(5, 2)) + 1
FEW = LogSinkhorn(max_iterations=2)


def test_solve_takes_points_with_sensible_defaults():
    solution = solve(X, Y)
    mean = ((X[:, None] - Y) ** 2).sum(-1).mean()
    assert solution.epsilon == pytest.approx(0.05 * mean)
    assert solution.status.is_converged
    assert max(solution.marginal_error) <= 1e-4
    check_solution(solution)


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor, np.ndarray.tolist])
def test_solve_takes_arrays_tensors_and_lists(kind):
    solution = solve(kind(X), kind(Y), epsilon=1.0)
    assert isinstance(solution.f, torch.Tensor if kind is torch.as_tensor else np.ndarray)
    np.testing.assert_allclose(np.asarray(solution.f), solve(X, Y, epsilon=1.0).f, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_solve_keeps_dtype_and_device(dtype):
    solution = solve(torch.tensor(X, dtype=dtype), torch.tensor(Y, dtype=dtype))
    for output in (solution.f, solution.g, solution.value, solution.coupling.to_dense()):
        assert output.dtype == dtype
        assert output.device.type == "cpu"


def test_solve_reads_vectors_as_points_on_a_line():
    one, two = solve(X[:, 0], Y[:, 0], epsilon=1.0), solve(X[:, :1], Y[:, :1], epsilon=1.0)
    np.testing.assert_array_equal(one.f, two.f)


@pytest.mark.parametrize(
    ("geometry", "shape"),
    [
        (CostMatrix(np.abs(X[:, :1] - Y[:, 0])), (7, 5)),
        (PointCloud(X, Y, "euclidean"), (7, 5)),
        (Grid((np.arange(3.0), np.arange(2.0))), (6, 6)),
    ],
)
def test_solve_takes_a_geometry(geometry, shape):
    solution = solve(geometry, epsilon=Relative(0.5))
    assert solution.coupling.shape == shape
    check_solution(solution)


def test_solve_hands_everything_on():
    a, b = np.full(7, 2 / 7), np.full(5, 1 / 5)
    reference = RNG.random((7, 5))
    seen = []
    solution = solve(
        X, Y, a, b, epsilon=0.7, cost="euclidean", rho_a=1.0, rho_b=2.0, reference=reference, solver="log",
        tolerance=1e-8, init=(np.zeros(7), np.zeros(5)), callback=seen.append,
    )  # fmt: skip
    problem = Problem(PointCloud(X, Y, "euclidean"), a, b, epsilon=0.7, rho_a=1.0, rho_b=2.0, reference=reference)
    direct = LogSinkhorn(tolerance=1e-8).run(problem, init=(np.zeros(7), np.zeros(5)))
    np.testing.assert_array_equal(solution.f, direct.f)
    assert seen == list(solution.history) == list(direct.history)


@pytest.mark.parametrize(
    ("name", "solver"), [("auto", Auto()), ("log", LogSinkhorn()), ("scaling", Scaling()), ("exact", Exact())]
)
def test_solve_takes_solvers_by_name(name, solver):
    assert as_solver(name) == solver
    assert as_solver(solver) is solver
    assert type(solver).__name__ in solve(X, Y, solver=name).method


def test_solve_exactly_needs_no_temperature():
    assert solve(X, Y, solver=Exact()).epsilon == 0.0
    assert solve(X, Y, solver="exact", epsilon=0.0).epsilon == 0.0


def test_solve_takes_a_function_as_cost():
    by_name = solve(X, Y, epsilon=1.0, cost="sqeuclidean")
    by_function = solve(X, Y, epsilon=1.0, cost=lambda x, y: (x[:, None] - y).square().sum(-1))
    assert by_function.value == pytest.approx(by_name.value, rel=1e-12)


# ------------------------------------------------------------------------------------------ not converged


def test_failure_warns_by_default():
    with pytest.warns(ConvergenceWarning, match="max_iterations: L1 marginal error"):
        solution = solve(X, Y, solver=FEW)
    assert not solution.status.is_converged


def test_failure_warning_points_at_the_caller():
    with pytest.warns(ConvergenceWarning) as caught:
        solve(X, Y, solver=FEW)
    assert caught[0].filename == __file__


def test_failure_raises_with_the_solution_inside():
    with pytest.raises(ConvergenceError, match="max_iterations") as caught:
        solve(X, Y, solver=FEW, on_failure="raise")
    check_solution(caught.value.solution)


def test_failure_can_be_ignored():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = solve(X, Y, solver=FEW, on_failure="ignore")
        assert solve(X, Y).status.is_converged
    check_solution(solution)


def test_runs_of_a_solver_never_warn_or_raise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not FEW.run(Problem(PointCloud(X, Y), epsilon=0.1)).status.is_converged


def test_solve_does_not_catch_an_exception_of_the_callback():
    def fail(check):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        solve(X, Y, callback=fail)


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"on_failure": "wran"}, "`on_failure` must be one of .* Did you mean 'warn'"),
        ({"solver": "sinkhorn"}, "`solver` must be one of .*'auto'.*'log'.*: got 'sinkhorn'"),
        ({"solver": "anealed"}, "Did you mean 'annealed'"),
        ({"cost": "euclidea"}, "Did you mean 'euclidean'"),
        ({"epsilon": 0.0}, r"positive for an entropic solver: got 0\.0.*solver=Exact\(\)"),
        ({"epsilon": -1.0}, "`epsilon` must be positive"),
        ({"epsilon": float("nan")}, "`epsilon` must be positive"),
        ({"tolerance": 0.0}, "`tolerance` must be positive"),
        ({"solver": "exact", "epsilon": 0.1}, "solves the problem at epsilon = 0"),
        ({"x": np.full((2, 2), np.nan)}, "`x` must be finite"),
        ({"y": np.ones((5, 3))}, "same number of features: got 2 and 3"),
        ({"x": np.ones((0, 2))}, "at least one point"),
        ({"x": np.ones((2, 2, 2))}, "must have shape"),
    ],
)
def test_solve_refuses_bad_values_before_work_starts(given_, message):
    given_ = {"x": X, "y": Y} | given_
    with pytest.raises(ValueError, match=message):
        solve(given_.pop("x"), given_.pop("y"), **given_)


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"y": None}, "`y` must hold the targets"),
        ({"y": torch.tensor(Y)}, "must come from one library"),
        ({"y": Y.astype(np.float32)}, "same dtype"),
        ({"x": np.array([["a"]])}, "`x` must hold real numbers"),
        ({"solver": 3}, "`solver` must be a solver object.*: got 3"),
        ({"cost": 3}, "`cost` must be a cost object"),
        ({"epsilon": "low"}, "`epsilon` must be a number"),
        ({"x": CostMatrix(np.ones((2, 2)))}, "already holds both sides"),
        ({"x": CostMatrix(np.ones((2, 2))), "y": None, "cost": "euclidean"}, "already holds both sides and the cost"),
    ],
)
def test_solve_refuses_bad_types_before_work_starts(given_, message):
    given_ = {"x": X, "y": Y} | given_
    with pytest.raises(TypeError, match=message):
        solve(given_.pop("x"), given_.pop("y"), **given_)


def test_geometry_behind_the_arguments():
    cloud = PointCloud(X, Y)
    assert as_geometry(cloud, None, None) is cloud
    assert as_geometry(X, Y, None).cost.name == "sqeuclidean"
    assert as_geometry(X, Y, "cosine").cost.name == "cosine"


def test_solve_is_exported_and_leaves_its_inputs():
    known = random_problem(6, 5, 2, generator=0)
    arrays = [t.numpy() for t in (known.x, known.y, known.a, known.b)]
    for array in arrays:
        array.flags.writeable = False  # writing would raise
    state = np.random.get_state(legacy=False)["state"]["key"].copy(), torch.get_rng_state()
    isotherm.solve(*arrays).certificate  # noqa: B018 - computed lazily
    np.testing.assert_array_equal(state[0], np.random.get_state(legacy=False)["state"]["key"])
    assert torch.equal(state[1], torch.get_rng_state())
