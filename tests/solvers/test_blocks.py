"""The alternation in blocks makes the iterates of the alternation."""

import math

import pytest
import torch

from isotherm import CostMatrix, Grid, LogSinkhorn, PointCloud, Problem, Relative, StopSolve, kernels
from isotherm.kernels import Formula, compiled, sinkhorn_sweeps
from isotherm.solution import marginal_error
from isotherm.solvers.blocks import BLOCKED_ENTRIES, BlockedAlternation, block_costs
from isotherm.solvers.log_sinkhorn import LogSweep
from isotherm.solvers.relaxation import Alternation
from isotherm.testing import check_solution, cube_to_blobs

needs_extension = pytest.mark.skipif(bool(compiled.why_missing()), reason="; ".join(compiled.why_missing()))


def hard_problem(**settings) -> Problem:
    problem = cube_to_blobs(90, generator=0, epsilon=0.004)
    return Problem(problem.geometry.double(), epsilon=0.004, **settings)


def advanced(iteration: BlockedAlternation, count: int, tolerance: float = -1.0) -> list[tuple[float, bool]]:
    """What `advance` returns, its sweeps made as asked."""
    work = iteration.advance(count, tolerance)
    with pytest.raises(StopIteration) as end:
        work.send(sinkhorn_sweeps([next(work)])[0])
    return end.value.value


def blocked(problem: Problem, relaxation: float | None = None) -> BlockedAlternation:
    costs = block_costs(problem)
    assert costs is not None
    return BlockedAlternation(problem, costs, None, relaxation)


def images(*sizes: int, epsilon: float = 0.002, zero: bool = False, **settings) -> Problem:
    """Random images on a grid of the unit cube, in float64."""
    generator = torch.Generator().manual_seed(2)
    a, b = (torch.rand(math.prod(sizes), generator=generator, dtype=torch.float64) ** 4 for _ in range(2))
    if zero:
        a[::3] = 0
        b[:17] = 0
    axes = [torch.linspace(0, 1, size, dtype=torch.float64) for size in sizes]
    return Problem(Grid(axes), a / a.sum(), b / b.sum(), epsilon=epsilon, **settings)


@pytest.mark.parametrize(
    "make", [hard_problem, pytest.param(lambda **prices: images(9, 13, **prices), marks=needs_extension)]
)
@pytest.mark.parametrize("relaxation", [None, 1.0, 1.6])
@pytest.mark.parametrize("prices", [{}, {"rho_a": 0.5, "rho_b": math.inf}, {"rho_a": 0.2, "rho_b": 0.1}])
def test_blocks_make_the_iterates_of_single_steps(relaxation, prices, make):
    problem = make(**prices)
    stepwise = Alternation(problem, LogSweep(problem), None, relaxation)
    blocks, told = blocked(problem, relaxation), []
    while len(told) < 80:
        told += advanced(blocks, 100)
    expected = []
    for _ in told:
        expected.append((stepwise.is_relaxed, float(stepwise.step())))
    assert [is_estimate for _, is_estimate in told] == [is_estimate for is_estimate, _ in expected]
    torch.testing.assert_close([r for r, _ in told], [r for _, r in expected], rtol=1e-5, atol=1e-12)
    torch.testing.assert_close(blocks.f, stepwise.f, rtol=0, atol=1e-10)
    torch.testing.assert_close(blocks.exact_g, stepwise.exact_g, rtol=0, atol=1e-10)
    assert blocks.relaxation.omega == pytest.approx(stepwise.relaxation.omega, rel=1e-4)


def test_single_step_is_a_block_of_one():
    problem = hard_problem()
    one, other = blocked(problem), blocked(problem)
    for _ in range(15):
        residual = one.step()
        ((told, _),) = advanced(other, 1)
        assert float(residual) == told
    assert torch.equal(one.f, other.f)


def test_block_ends_at_the_tolerance():
    every = advanced(blocked(hard_problem()), 10)
    some = advanced(blocked(hard_problem()), 10, tolerance=every[4][0])
    assert some == every[:5]


def test_settled_alternation_takes_one_plain_sweep():
    iteration = blocked(hard_problem())
    while not iteration.is_relaxed:
        advanced(iteration, 100)
    iteration.settle()
    assert len(advanced(iteration, 100)) == 1
    iteration.resume()
    assert not advanced(iteration, 100)[0][1]


def test_callback_does_not_change_the_solution():
    problem, seen = hard_problem(), []
    watched = LogSinkhorn(tolerance=1e-3).run(problem, callback=seen.append)
    alone = LogSinkhorn(tolerance=1e-3).run(problem)
    assert tuple(seen) == watched.history == alone.history
    assert torch.equal(watched.f, alone.f)


def test_interrupt_within_a_block_returns_the_iterates_of_that_sweep():
    problem = hard_problem()

    def stop(check):
        if check.iteration == 25:
            raise StopSolve

    stopped = LogSinkhorn(tolerance=1e-9).run(problem, callback=stop)
    budget = LogSinkhorn(tolerance=1e-9, max_iterations=25).run(problem)
    assert stopped.iterations == len(stopped.history) == 25
    torch.testing.assert_close(stopped.f, budget.f, rtol=0, atol=1e-12)


def test_costs_for_blocks_are_formulas_of_small_problems():
    small = PointCloud(torch.rand(10, 2), torch.rand(20, 2))
    assert block_costs(Problem(small, epsilon=1.0)) is small.formula()
    named = block_costs(Problem(PointCloud(small.x, small.y, lambda x, y: (x[:, None] - y).abs().sum(2)), epsilon=1.0))
    assert isinstance(named, Formula)
    assert named.kind == "stored"
    large = torch.rand(BLOCKED_ENTRIES // 1000 + 1, 1)
    assert block_costs(Problem(PointCloud(large, torch.rand(1000, 1)), epsilon=1.0)) is None


@needs_extension
def test_costs_for_blocks_on_a_grid_are_those_of_its_axes(monkeypatch):
    grid = Grid((torch.linspace(0, 1, 4),) * 2)
    problem = Problem(grid, epsilon=1.0)
    assert block_costs(problem) is grid.axis_costs
    with kernels.use("reference"):
        assert block_costs(problem) is None  # single passes are axis by axis; the definition of sweeps is not
    assert block_costs(Problem(grid, epsilon=1.0, reference=torch.full((16, 16), 1 / 256))) is not grid.axis_costs
    monkeypatch.setattr("isotherm.solvers.blocks.BLOCKED_STEPS", 16 * 16 - 1)
    assert block_costs(problem) is None


@needs_extension
@pytest.mark.parametrize("prices", [{}, {"rho_a": 0.5, "rho_b": math.inf}, {"rho_a": 0.2, "rho_b": 0.1}])
@pytest.mark.parametrize(("sizes", "epsilon"), [((19, 23), 0.003), ((7, 8, 9), 0.03), ((19, 23), 50.0)])
def test_solves_on_grids_reach_tight_tolerances(sizes, epsilon, prices):
    """Whatever was made in blocks and in single precision, plain passes over all pairs find the marginals in place."""
    problem = images(*sizes, epsilon=epsilon, zero=True, **prices)
    assert blocked(problem).floor is not None
    solution = LogSinkhorn(tolerance=1e-9).run(problem)
    check_solution(solution, tolerance=1e-9)
    assert solution.status.is_converged
    with kernels.use("reference"):
        error = marginal_error(solution.problem, solution.potentials, solution.coupling)
    assert max(error) < 1.01e-9
    assert float(solution.coupling.apply(torch.ones(len(problem.b), 1, dtype=torch.float64))[::3].abs().max()) == 0


@needs_extension
def test_sweeps_on_a_grid_stop_where_a_callback_says_and_start_where_they_are_told():
    problem = images(9, 13)

    def stop(check):
        if check.iteration == 25:
            raise StopSolve

    stopped = LogSinkhorn(tolerance=1e-9).run(problem, callback=stop)
    budget = LogSinkhorn(tolerance=1e-9, max_iterations=25).run(problem)
    assert stopped.iterations == len(stopped.history) == 25
    torch.testing.assert_close(stopped.f, budget.f, rtol=0, atol=1e-12)
    solved = LogSinkhorn(tolerance=1e-9).run(problem)
    assert LogSinkhorn(tolerance=1e-8).run(problem, init=solved).iterations <= 2


def test_blocks_run_on_plain_torch():
    problem = hard_problem()
    fast = LogSinkhorn(tolerance=1e-3).run(problem)
    with kernels.use("reference"):
        plain = LogSinkhorn(tolerance=1e-3).run(problem)
    assert plain.iterations == fast.iterations
    torch.testing.assert_close(plain.f, fast.f, rtol=0, atol=1e-9)


def test_reference_coupling_forbids_pairs_in_blocks():
    reference = torch.full((6, 6), 1 / 36, dtype=torch.float64)
    reference[0, 1:3] = 0
    costs = torch.rand(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem = Problem(CostMatrix(costs), epsilon=0.3, reference=reference)
    plan = LogSinkhorn(tolerance=1e-10).run(problem).coupling.to_dense()
    assert plan[0, 1:3].max() == 0
    torch.testing.assert_close(plan.sum(1), problem.a, rtol=0, atol=1e-9)


def large_problem(share: float = 0.01, **settings) -> Problem:
    return Problem(
        cube_to_blobs(300, generator=0, epsilon=Relative(share)).geometry.double(), epsilon=Relative(share), **settings
    )


@needs_extension
def test_first_sweeps_in_double_precision_are_made_in_single():
    """Until the residual is as small as float32 can tell; then the precision of the problem takes over, and reaches it."""
    iteration = blocked(large_problem())
    floor, seen = iteration.floor, list[tuple[torch.dtype, float]]()
    assert floor is not None
    while len(seen) < 300 and (not seen or seen[-1][1] > 1e-13):
        dtype = iteration.sides.a.dtype
        seen += [(dtype, float(residual)) for residual, _ in advanced(iteration, 100)]
        assert iteration.potentials()[0].dtype == torch.float64
    single = [residual for dtype, residual in seen if dtype == torch.float32]
    double = [residual for dtype, residual in seen if dtype == torch.float64]
    assert len(single) > 10
    assert min(single[:-1]) > floor
    assert double[0] < 10 * floor
    assert double[-1] < 1e-3 * floor


@needs_extension
@pytest.mark.parametrize("prices", [{}, {"rho_a": 0.5, "rho_b": math.inf}, {"rho_a": 0.2, "rho_b": 0.1}])
@pytest.mark.parametrize("share", [0.002, 0.05, 1e3])
def test_solves_by_blocks_reach_tight_tolerances(share, prices):
    """Cut kernels and single precision on the way leave no trace in the answer."""
    problem = large_problem(share, **prices)
    solution = LogSinkhorn(tolerance=1e-9).run(problem)
    check_solution(solution, tolerance=1e-9)
    assert solution.status.is_converged
    with kernels.use("reference"):
        error = marginal_error(solution.problem, solution.potentials, solution.coupling)
    assert max(error) < 1.01e-9


@needs_extension
def test_single_precision_is_left_out_where_it_cannot_tell():
    assert blocked(large_problem(share=1e-6)).floor is None  # too cold
    assert blocked(hard_problem()).floor is None  # too small to gain
    points = torch.rand(300, 3, generator=torch.Generator().manual_seed(0))
    single = PointCloud(points, points + 1)
    assert blocked(Problem(single, epsilon=0.01)).floor is None


@needs_extension
def test_zero_weights_keep_their_place_in_the_order_of_cells():
    a = torch.rand(300, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    a[::4] = 0
    problem = large_problem(0.02, a=a / a.sum())
    solution = LogSinkhorn(tolerance=1e-8).run(problem)
    plan = solution.coupling.to_dense()
    assert float(plan[::4].abs().max()) == 0
    torch.testing.assert_close(plan.sum(1), problem.a, rtol=0, atol=1e-8)
    torch.testing.assert_close(plan.sum(0), problem.b, rtol=0, atol=1e-8)
