"""Multiscale: the dense answer, an error that is never below the true one, and few pairs."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from isotherm import (
    CostMatrix,
    EntropicCoupling,
    LogSinkhorn,
    Multiscale,
    Outcome,
    PointCloud,
    Problem,
    StopSolve,
    kernels,
)
from isotherm.geometry import BlockSparse
from isotherm.testing import check_solution

compiled = pytest.mark.skipif(bool(kernels.backends()["cpu"]), reason="lists of pairs are read by compiled kernels")
SMALL = Multiscale(solver=LogSinkhorn(tolerance=1e-3), all_pairs=1, coarsest=100)


def draw(kind: str, sizes=(1001, 1203), dtype=torch.float64):
    """Two clouds of about unit size."""
    generator = torch.Generator().manual_seed(3)
    dimension = {"plane": 2, "line": 2, "clusters in 12-D": 12}.get(kind, 3)
    x, y = (torch.rand(size, dimension, generator=generator, dtype=torch.float64) for size in sizes)
    match kind:
        case "blobs":
            centres = torch.rand(5, 3, generator=generator, dtype=torch.float64)
            y = centres[torch.arange(sizes[1]) % 5] + 0.04 * torch.randn(y.shape, generator=generator, dtype=y.dtype)
        case "line":
            x[:, 1], y[:, 1] = 2 * x[:, 0], 2 * y[:, 0] + 0.1
        case "anisotropic":
            x[:, 2], y[:, 1] = 1e-3 * x[:, 2], 1e-3 * y[:, 1]
        case "far":
            x, y = x + 500.0, y + 500.0
        case "copies":
            x, y = x[torch.arange(sizes[0]) % 200], y[torch.arange(sizes[1]) % 300]
        case "clusters in 12-D":
            centres = torch.rand(8, 12, generator=generator, dtype=torch.float64)
            x, y = (centres[torch.arange(len(cloud)) % 8] + 0.05 * cloud for cloud in (x, y))
    return x.to(dtype), y.to(dtype)


def dense_errors(solution) -> list[float]:
    """L1 errors of both marginals over all pairs, in float64, from the potentials alone."""
    problem = solution.problem.double()
    problem = problem.on(problem.geometry.base)
    f, g = (potential.double() for potential in solution.potentials)
    coupling = EntropicCoupling(problem, f, g)
    wanted = problem.a * (-f / problem.rho_a).exp(), problem.b * (-g / problem.rho_b).exp()
    masses = coupling.row_mass(), coupling.transpose().row_mass()
    return [float((r - w).abs().sum() / w.sum()) for r, w in zip(masses, wanted, strict=True)]


@compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("kind", ["plane", "cube", "blobs", "line", "anisotropic", "far", "copies", "clusters in 12-D"])
def test_answer_is_the_dense_one(kind, dtype):
    x, y = draw(kind, dtype=dtype)
    problem = Problem(PointCloud(x, y), epsilon=0.2 if kind == "clusters in 12-D" else 0.01)
    solution = SMALL.run(problem)
    assert solution.status.outcome is Outcome.CONVERGED, solution.status
    assert isinstance(solution.problem.geometry, BlockSparse)
    rounding = 5e-5 if dtype == torch.float32 else 1e-12
    for true, claimed in zip(dense_errors(solution), solution.marginal_error, strict=True):
        assert true <= claimed + rounding
        assert claimed <= 1e-3
    precise = LogSinkhorn(tolerance=1e-3).run(problem.double(), init=[p.double() for p in solution.potentials])
    assert float(solution.value) == pytest.approx(float(precise.value), rel=2e-3)
    assert float(solution.transport_cost) == pytest.approx(float(precise.transport_cost), rel=5e-3)


@compiled
@pytest.mark.parametrize("cost", ["half_sqeuclidean", "euclidean", "cosine", "negative_dot"])
def test_every_cost_with_a_formula_works(cost):
    x, y = draw("cube", sizes=(900, 1100))
    solution = SMALL.run(Problem(PointCloud(x, y, cost), epsilon=0.02))
    assert solution.status.is_converged
    for true, claimed in zip(dense_errors(solution), solution.marginal_error, strict=True):
        assert true <= claimed + 1e-12


@compiled
@pytest.mark.parametrize("rhos", [(0.5, 0.5), (math.inf, 0.2), (0.05, 2.0)])
def test_unbalanced_and_weighted(rhos):
    x, y = draw("cube")
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(len(cloud), generator=generator, dtype=torch.float64) for cloud in (x, y))
    a[:80], b[50:90] = 0.0, 0.0
    cloud = PointCloud(x, y)
    problem = Problem(cloud, a / a.sum(), 1.7 * b / b.sum(), epsilon=0.01, rho_a=rhos[0], rho_b=rhos[1])
    solution = SMALL.run(problem)
    assert solution.status.is_converged
    for true, claimed in zip(dense_errors(solution), solution.marginal_error, strict=True):
        assert true <= claimed + 1e-12
    precise = LogSinkhorn(tolerance=1e-6).run(problem)
    assert float(solution.value) == pytest.approx(float(precise.value), rel=1e-3)
    assert bool(solution.potentials[0].isfinite().all())


@compiled
def test_pairs_are_left_out_and_the_bound_is_small():
    x, y = draw("plane", sizes=(5000, 5001))
    solution = SMALL.run(Problem(PointCloud(x, y), epsilon=0.002))
    geometry, problem = solution.problem.geometry, solution.problem
    assert geometry.pattern.density < 0.25
    bound = geometry.skipped_mass(*solution.potentials, problem.a, problem.b, epsilon=0.002)
    assert 0 < float(bound) < 1e-4  # of mass one; a tenth of the tolerance
    assert f"{geometry.pattern.density:.1%} of the pairs" in solution.method
    assert "4 levels from 79 x 79 points" in solution.method


@compiled
def test_last_level_takes_few_iterations():
    x, y = draw("blobs", sizes=(2000, 2000))
    problem = Problem(PointCloud(x, y), epsilon=0.01)
    solution = Multiscale(solver=LogSinkhorn(tolerance=1e-3), all_pairs=1, coarsest=250).run(problem)
    at_last = int(re.search(r"(\d+) iterations at the last", solution.method)[1])
    assert at_last < 0.5 * LogSinkhorn(tolerance=1e-3).run(problem).iterations
    assert at_last < solution.iterations


@compiled
def test_certificate_and_coupling_meet_the_same_pairs():
    x, y = draw("cube", sizes=(1000, 900))
    solution = SMALL.run(Problem(PointCloud(x, y), epsilon=0.02))
    dense = EntropicCoupling(solution.problem.on(solution.problem.geometry.base), *solution.potentials)
    bounds = solution.certificate
    precise = LogSinkhorn(tolerance=1e-7).run(dense.problem, init=solution)
    assert bounds.entropic_lower <= float(precise.value) <= bounds.entropic_upper
    assert bounds.exact_lower <= float(precise.transport_cost)
    mapped, truth = solution.coupling.barycentric_map(), dense.barycentric_map()
    assert torch.allclose(mapped, truth, atol=1e-3)
    p, q = (potential + log for potential, log in zip(solution.potentials, solution.problem.log_weights, strict=True))
    got = kernels.plan_grad(solution.problem.geometry, p, q, epsilon=0.02)
    true = kernels.plan_grad(dense.problem.geometry, p, q, epsilon=0.02)
    for one, other in zip(got, true, strict=True):
        assert float((one - other).norm()) <= 1e-4 * float(other.norm())


@compiled
def test_warm_start_skips_the_levels():
    x, y = draw("cube", sizes=(1000, 1000))
    first = SMALL.run(Problem(PointCloud(x, y), epsilon=0.01))
    again = SMALL.run(first.problem, init=first)
    assert again.iterations <= 2
    assert "1 levels" in again.method


@compiled
def test_short_budget_returns_bounds_that_hold():
    x, y = draw("cube", sizes=(600, 650))
    problem = Problem(PointCloud(x, y), epsilon=0.01)
    start = (torch.zeros(600, dtype=torch.float64), torch.zeros(650, dtype=torch.float64))
    value = float(LogSinkhorn(tolerance=1e-7).run(problem).value)
    for budget in (1, 3):
        hurried = replace(SMALL, solver=LogSinkhorn(tolerance=1e-6, max_iterations=budget))
        solution = hurried.run(problem, init=start)
        assert solution.status.outcome is Outcome.MAX_ITERATIONS
        assert solution.iterations == budget
        for true, claimed in zip(dense_errors(solution), solution.marginal_error, strict=True):
            assert true <= claimed + 1e-12
        assert solution.certificate.entropic_lower <= value <= solution.certificate.entropic_upper


def test_problems_without_cells_are_annealed():
    x, y = torch.rand(6, 2), torch.rand(7, 2)
    for geometry, reason in (
        (CostMatrix(torch.rand(6, 7)), "not a formula"),
        (PointCloud(x, y), "6 x 7 pairs are few"),
        (PointCloud(x, y, lambda x, y: torch.cdist(x, y) ** 3), "not a formula"),
    ):
        solution = Multiscale().run(Problem(geometry, epsilon=0.5))
        assert reason in solution.method
        check_solution(solution)


def test_settings_are_checked():
    with pytest.raises(TypeError, match="must be an entropic solver"):
        Multiscale(solver="log")
    for name in ("omitted", "ratio"):
        with pytest.raises(ValueError, match=f"`{name}` must lie between 0 and 1"):
            Multiscale(**{name: 1.5})
    assert Multiscale().with_tolerance(1e-2).solver.tolerance == 1e-2


SCRIPT = """
import json, resource, torch
from isotherm import LogSinkhorn, Multiscale, PointCloud, Problem

generator = torch.Generator().manual_seed(0)
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
def run(points):
    x, y = (torch.rand(points, 2, generator=generator) for _ in range(2))
    return Multiscale(solver=LogSinkhorn(tolerance=1e-2)).run(Problem(PointCloud(x, y), epsilon=0.001))
run(5_000)
start = peak()
assert run(20_000).status.is_converged
print(json.dumps(peak() - start))
"""


@compiled
def test_memory_is_that_of_the_points():
    run = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) < 200  # MiB; the matrix would take 1500


@compiled
@pytest.mark.parametrize("looks", [1, 40, 10_000])
def test_interrupt_returns_the_potentials_so_far_for_all_points(looks):
    x, y = draw("cube", sizes=(700, 650))
    problem = Problem(PointCloud(x, y), epsilon=0.005)
    seen = []

    def stop(check):
        seen.append(check)
        if len(seen) == looks:
            raise StopSolve

    solver = Multiscale(solver=LogSinkhorn(tolerance=1e-9, relaxation=1.0, max_iterations=80), all_pairs=1, coarsest=90)
    solution = solver.run(problem, callback=stop)
    assert len(seen) <= looks
    is_interrupted = len(seen) == looks
    assert (solution.status.outcome is Outcome.INTERRUPTED) == is_interrupted
    assert [p.shape for p in solution.potentials] == [(700,), (650,)]
    for true, claimed in zip(dense_errors(solution), solution.marginal_error, strict=True):
        assert true <= claimed + 1e-12
    value = float(LogSinkhorn(tolerance=1e-7).run(problem).value)
    assert solution.certificate.entropic_lower <= value <= solution.certificate.entropic_upper
