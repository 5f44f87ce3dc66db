"""Many problems together, each as by itself."""

import math
import warnings

import numpy as np
import pytest
import torch

import isotherm
from isotherm import (
    Annealed,
    ConvergenceError,
    ConvergenceWarning,
    CostMatrix,
    Exact,
    LogSinkhorn,
    Newton,
    Outcome,
    PointCloud,
    Problem,
    Relative,
    Scaling,
    StopSolve,
    kernels,
    solve,
    solve_batch,
)
from isotherm.solvers import work

SIZES = [(1, 1), (7, 130), (61, 47), (200, 150), (3, 2), (64, 64)]
EPSILON = [0.5, Relative(0.05), 0.02, Relative(0.004), 1.0, 10.0]
RHO_A = [math.inf, math.inf, 0.5, math.inf, 2.0, math.inf]
RHO_B = [math.inf, math.inf, 0.2, math.inf, math.inf, math.inf]


def clouds(dtype: torch.dtype = torch.float64) -> dict[str, list]:
    """Ragged clouds with weights, some of them zero."""
    generator = torch.Generator().manual_seed(0)
    x, y, a, b = [], [], [], []
    for n, m in SIZES:
        x.append(torch.rand(n, 3, generator=generator, dtype=torch.float64).to(dtype))
        y.append(torch.rand(m, 3, generator=generator, dtype=torch.float64).to(dtype))
        weights = torch.rand(m, generator=generator, dtype=torch.float64).to(dtype)
        weights[1::3] = 0
        a.append(None)
        b.append(weights / weights.sum())
    return {"x": x, "y": y, "a": a, "b": b}


def one_by_one(given: dict[str, list], **settings) -> list[isotherm.Solution]:
    columns = zip(*given.values(), EPSILON, RHO_A, RHO_B, strict=True)
    return [
        solve(x, y, a, b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b, **settings)
        for x, y, a, b, epsilon, rho_a, rho_b in columns
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", [None, LogSinkhorn(), Scaling(), Annealed(), Newton()])
def test_problem_in_a_batch_is_solved_as_by_itself(solver, dtype):
    given = clouds(dtype)
    settings = {"solver": solver, "tolerance": 1e-3, "on_failure": "ignore"}  # scaling form underflows in float32
    batch = solve_batch(**given, epsilon=EPSILON, rho_a=RHO_A, rho_b=RHO_B, **settings)
    for found, alone in zip(batch, one_by_one(given, **settings), strict=True):
        assert found.status == alone.status
        assert found.status.is_converged or isinstance(solver, Scaling)
        assert found.iterations == alone.iterations
        assert found.history == alone.history
        assert found.method == alone.method
        assert torch.equal(found.f, alone.f)
        assert torch.equal(found.g, alone.g)
        assert found.f.dtype == dtype


def test_batch_in_plain_torch_is_that_of_the_compiled_kernels():
    given = clouds()
    fast = solve_batch(**given, epsilon=EPSILON, rho_a=RHO_A, rho_b=RHO_B, solver="log", tolerance=1e-4)
    with kernels.use("reference"):
        plain = solve_batch(**given, epsilon=EPSILON, rho_a=RHO_A, rho_b=RHO_B, solver="log", tolerance=1e-4)
    for one, other in zip(fast, plain, strict=True):
        assert one.iterations == other.iterations
        torch.testing.assert_close(one.f, other.f, rtol=0, atol=1e-8)


def test_finished_problems_leave_the_batch(monkeypatch):
    sizes, make = [], work.sinkhorn_sweeps

    def counted(problems):
        sizes.append(len(problems))
        return make(problems)

    monkeypatch.setattr(work, "sinkhorn_sweeps", counted)
    given = clouds()
    solve_batch(**given, epsilon=EPSILON, rho_a=RHO_A, rho_b=RHO_B, solver="log", tolerance=1e-6)
    assert sizes[0] == len(SIZES)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < len(SIZES)


def test_batch_takes_and_gives_numpy_arrays():
    rng = np.random.default_rng(0)
    x, y, b = rng.random((3, 20, 2)), rng.random((3, 30, 2)), rng.random((3, 30))
    b /= b.sum(1, keepdims=True)
    solutions = solve_batch(x, y, b=b, epsilon=0.1)
    for k, solution in enumerate(solutions):
        assert isinstance(solution.f, np.ndarray)
        np.testing.assert_array_equal(solution.f, solve(x[k], y[k], b=b[k], epsilon=0.1).f)


def test_batch_takes_problems_and_geometries():
    geometries = [CostMatrix(torch.rand(4, 5)), PointCloud(torch.rand(6, 2), torch.rand(3, 2), "euclidean")]
    by_geometry = solve_batch(geometries, epsilon=0.3)
    by_problem = solve_batch([Problem(geometry, epsilon=0.3) for geometry in geometries])
    for one, other in zip(by_geometry, by_problem, strict=True):
        assert torch.equal(one.f, other.f)


def test_batch_takes_other_solvers():
    x, y = torch.rand(2, 8, 1), torch.rand(2, 8, 1)
    assert [solution.epsilon for solution in solve_batch(x, y, solver=Exact())] == [0.0, 0.0]


def test_batch_of_nothing_is_nothing():
    assert solve_batch([]) == []
    assert solve_batch([], []) == []


def test_problem_that_fails_harms_no_other():
    given = clouds()
    asked = {"epsilon": [1e-5, 0.5, 0.5, 0.5, 0.5, 0.5], "solver": LogSinkhorn(max_iterations=60)}
    asked["epsilon"][0], asked["epsilon"][3] = 0.5, 1e-5
    with pytest.warns(ConvergenceWarning, match=r"1 of 6 problems did not converge \(3\)"):
        batch = solve_batch(**given, **asked)
    assert [solution.status.is_converged for solution in batch] == [k != 3 for k in range(6)]
    assert batch[3].iterations == 60
    assert batch[3].certificate.entropic_lower <= batch[3].certificate.entropic_upper
    with pytest.raises(ConvergenceError) as caught:
        solve_batch(**given, **asked, on_failure="raise")
    assert caught.value.solution.iterations == 60
    assert "problem 3 of 6" in caught.value.__notes__[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_batch(**given, **asked, on_failure="ignore")


@pytest.mark.parametrize("signal_", [StopSolve, KeyboardInterrupt])
def test_interrupt_ends_the_batch_with_what_was_reached(signal_):
    given, seen = clouds(), []

    def stop(k, check):
        seen.append(k)
        if k == 3 and check.iteration == 15:
            raise signal_

    batch = solve_batch(**given, epsilon=EPSILON, solver="log", tolerance=1e-12, callback=stop, on_failure="ignore")
    assert len(batch) == len(SIZES)
    assert batch[3].status.outcome is Outcome.INTERRUPTED
    assert batch[3].iterations == 15
    assert set(seen) == set(range(len(SIZES)))
    assert all(solution.f.isfinite().all() for solution in batch)


def test_batch_says_what_is_wrong():
    x, y = torch.rand(3, 5, 2), torch.rand(3, 4, 2)
    with pytest.raises(ValueError, match="`y` must hold one entry for each of the 3 problems: got 2"):
        solve_batch(x, y[:2])
    with pytest.raises(ValueError, match="`epsilon` must hold one entry for each of the 3 problems: got 2"):
        solve_batch(x, y, epsilon=[0.1, 0.2])
    with pytest.raises(TypeError, match="beside problems too"):
        solve_batch([Problem(PointCloud(x[0], y[0]), epsilon=0.1)], epsilon=0.1)
    with pytest.raises(TypeError, match="`y` must hold the targets"):
        solve_batch(x)
    with pytest.raises(ValueError, match="`on_failure` must be"):
        solve_batch(x, y, on_failure="shrug")
