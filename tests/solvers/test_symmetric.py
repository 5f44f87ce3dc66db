"""A cloud against itself: few passes, one potential, the same answer."""

from __future__ import annotations

import math

import pytest
import torch

from isotherm import CostMatrix, Grid, LogSinkhorn, PointCloud, Problem, Relative, Symmetric
from isotherm.solvers.symmetric import why_not_symmetric
from isotherm.testing import check_bounds, check_solution, dense_dual_value, dense_solution


def cloud(n: int = 60, *, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("share", [1e-4, 1e-2, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_few_passes_at_every_temperature(share, dtype):
    solution = Symmetric(tolerance=1e-4).run(
        Problem(PointCloud(cloud(dtype=dtype), cloud(dtype=dtype)), epsilon=Relative(share))
    )
    check_solution(solution)
    assert solution.status.is_converged
    assert solution.iterations <= 15


@pytest.mark.parametrize("rho", [math.inf, 0.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_answer_is_that_of_alternation(rho, weighted):
    x = cloud(40)
    a = torch.rand(40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a[3] = 0
    a = a / a.sum() if weighted else None
    problem = Problem(PointCloud(x, x), a, a, epsilon=Relative(0.1), rho_a=rho, rho_b=rho)
    one = Symmetric(tolerance=1e-10).run(problem)
    two = LogSinkhorn(tolerance=1e-10).run(problem)
    check_solution(one, tolerance=1e-10)
    for p, q in zip(one.potentials, two.potentials, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-7)
    shift = one.f - one.g
    torch.testing.assert_close(shift, shift[:1].expand(40), rtol=0, atol=1e-12)
    truth = dense_solution(problem)
    check_bounds(one, value=dense_dual_value(problem, truth.f, truth.g))


def test_symmetric_takes_a_warm_start():
    problem = Problem(PointCloud(cloud(), cloud()), epsilon=Relative(0.1))
    first = Symmetric(tolerance=1e-8).run(problem)
    assert Symmetric(tolerance=1e-6).run(problem, init=first).iterations <= 2


def test_symmetry_is_seen_in_every_geometry():
    x, axis = cloud(8), torch.arange(3.0)
    c = torch.cdist(x, x)
    for geometry in (PointCloud(x, x), PointCloud(x, x.clone()), CostMatrix(c), Grid((axis, axis))):
        assert why_not_symmetric(Problem(geometry, epsilon=1.0)) == []


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem(PointCloud(cloud(4), cloud(5)), epsilon=1.0), "size"),
        (Problem(PointCloud(cloud(4), 2 * cloud(4)), epsilon=1.0), "not known to be symmetric"),
        (Problem(CostMatrix([[0.0, 1.0], [2.0, 0.0]]), epsilon=1.0), "not known to be symmetric"),
        (Problem(PointCloud(cloud(2), cloud(2)), [0.4, 0.6], [0.6, 0.4], epsilon=1.0), "weights or prices"),
        (Problem(PointCloud(cloud(2), cloud(2)), epsilon=1.0, rho_a=1.0), "weights or prices"),
        (Problem(PointCloud(cloud(2), cloud(2)), epsilon=1.0, reference=torch.ones(2, 2).double()), "reference"),
        (Problem(PointCloud(cloud(2), cloud(2), lambda x, y: x @ y.T), epsilon=1.0), "not known to be symmetric"),
    ],
)
def test_problems_without_symmetry_are_refused(problem, reason):
    with pytest.raises(ValueError, match=reason):
        Symmetric().run(problem)
