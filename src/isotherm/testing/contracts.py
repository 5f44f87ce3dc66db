"""What every solver must do, clause by clause, on problems with known answers.

    check_solver(MySolver())        a solver for temperatures above zero
    check_exact_solver(MySolver())  a solver for temperature zero

A broken clause raises `ContractError`. `SOLVER_CONTRACT` and `EXACT_CONTRACT` hold the clauses by name, so that a test
suite can report them one by one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from isotherm._arrays import Namespace
from isotherm.geometry import CostMatrix, Grid, PointCloud
from isotherm.problem import Problem
from isotherm.solvers import AbstractSolver

from .checks import (
    ContractError,
    bound_slack,
    check_bounds,
    check_dual_feasible,
    check_solution,
    dense_plan,
    exponent_scale,
    l1_distance,
    largest,
    require,
)
from .dense import dense_dual_value, dense_solution, primal_values
from .generators import diracs, duplicates, known_problems, random_problem, sorted_line
from .planted import KnownProblem, plant

if TYPE_CHECKING:
    from isotherm.solution import Check, Solution

Solver = TypeVar("Solver", bound=AbstractSolver)
Clause = Callable[[AbstractSolver, torch.dtype], None]

TOLERANCE = MappingProxyType({torch.float32: 3e-5, torch.float64: 1e-9})  # asked of the solver, L1 per unit of mass
ACCURACY = MappingProxyType({torch.float32: 5e-4, torch.float64: 1e-7})  # asked of its answers, relative
TEMPERATURES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)  # in units of the mean cost


def check_solver(solver: AbstractSolver, *, dtype: torch.dtype = torch.float64) -> None:
    """The whole contract of a solver for temperatures above zero; a few seconds.

    Args:
        solver: Settings with a budget of some thousand iterations. Tolerances are set by the contract.
        dtype: Working precision.

    Raises:
        ContractError: A clause is broken.

    Example:
        >>> import isotherm
        >>> SOLVER_CONTRACT["single points"](isotherm.LogSinkhorn(), torch.float64)
    """
    for clause in SOLVER_CONTRACT.values():
        clause(solver, dtype)


def check_exact_solver(solver: AbstractSolver, *, dtype: torch.dtype = torch.float64) -> None:
    """The whole contract of a solver for temperature zero.

    Args:
        solver: Its settings.
        dtype: Working precision.

    Raises:
        ContractError: A clause is broken.
    """
    for clause in EXACT_CONTRACT.values():
        clause(solver, dtype)


def with_budget(solver: Solver, iterations: int) -> Solver:
    """The same solver with another iteration budget, also where it wraps another one.

    Args:
        solver: Its settings; without a field `max_iterations` nothing changes.
        iterations: The budget.

    Returns:
        A solver of the same kind.

    Example:
        >>> import isotherm
        >>> with_budget(isotherm.Annealed(), 3).solver.max_iterations
        3
    """
    assert is_dataclass(solver), "a solver is a frozen dataclass of settings"
    names = {setting.name for setting in fields(solver)}
    if "max_iterations" in names:
        return replace(solver, max_iterations=iterations)
    inner = getattr(solver, "solver", None)
    return solver if inner is None else replace(solver, solver=with_budget(inner, iterations))


def as_problem(known: KnownProblem, *, epsilon: float | None = None) -> Problem:
    """The question of a `KnownProblem`, without its answer.

    Args:
        known: A problem with a known answer.
        epsilon: Another temperature, in units of cost.

    Returns:
        The problem, on a `PointCloud` where there are points.

    Example:
        >>> as_problem(diracs(generator=0)).geometry.shape
        (1, 7)
    """
    if known.x is None or known.y is None:
        geometry = CostMatrix(known.cost_matrix.to(known.a.dtype))
    else:
        geometry = PointCloud(known.x, known.y, known.cost)
    return Problem(geometry, known.a, known.b, epsilon=known.epsilon if epsilon is None else epsilon)


def _known_answers(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Planted problems, closed forms, Diracs, permutations, lines, duplicates: the answer is the known one."""
    for known in known_problems(dtype=dtype):
        if known.cost_matrix.numel() <= 10_000:
            solution = _run(solver, as_problem(known), name=known.name)
            _check_answer(solution, known)


def _check_answer(solution: Solution, known: KnownProblem) -> None:
    accuracy = known.tolerance + ACCURACY[known.a.dtype]
    unit = accuracy * (known.scale + known.epsilon)
    if known.plan is not None:
        apart = l1_distance(dense_plan(solution), known.plan)
        require(apart <= accuracy, f"{known.name}: the plan is {apart:.1e} off in L1, {accuracy:.1e} allowed")
    for name in ("value", "transport_cost"):
        truth, got = getattr(known, name), float(getattr(solution, name))
        require(truth is None or abs(got - truth) <= unit, f"{known.name}: {name} is {truth}: got {got}")
    for name, weights in (("f", known.a), ("g", known.b)):
        truth = getattr(known, name)
        if truth is not None:
            got = torch.as_tensor(getattr(solution, name)).double()
            apart = float(weights.double() @ (got - truth).abs())
            require(apart <= 10 * unit, f"{known.name}: {name} is {apart:.1e} off in the mean, {unit:.1e} allowed")
    rounding = 4 * known.tolerance * known.scale if known.a.dtype == torch.float32 else 0.0
    bounds = solution.certificate
    for low, truth, high in (
        (bounds.entropic_lower, known.value, bounds.entropic_upper),
        (bounds.exact_lower, known.exact_cost, bounds.exact_upper),
    ):
        slack = rounding + bound_slack(solution) + known.tolerance * known.scale
        inside = truth is None or low - slack <= truth <= high + slack
        require(inside, f"{known.name}: {truth} must lie in [{low}, {high}]")


def _single_points(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """N = 1, M = 1 and both: the plan is a x b at every temperature."""
    for known in (diracs(generator=1, dtype=dtype), diracs(1, generator=2, dtype=dtype)):
        for epsilon in (0.3, 1.0, 100.0):
            for problem in (as_problem(known, epsilon=epsilon), as_problem(known, epsilon=epsilon).transpose()):
                solution = _run(solver, problem, name=f"{problem.geometry.shape} at epsilon = {epsilon}")
                apart = l1_distance(dense_plan(solution), torch.outer(problem.a, problem.b))
                require(apart <= ACCURACY[dtype], f"a plan from one point is a x b: it is {apart:.1e} off")


def _zero_weights(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Points without mass get none, keep a finite potential, and change nothing for the others."""
    known = _warm(random_problem(9, 8, 2, generator=3, zero_weights=True, dtype=dtype))
    require(bool((known.a == 0).any() and (known.b == 0).any()), "the generator must make zero weights")
    full = _run(solver, as_problem(known), name="zero weights")
    assert known.x is not None, "the generator gives points; this is our bug"
    assert known.y is not None, "the generator gives points; this is our bug"
    i, j = known.a > 0, known.b > 0
    kept = Problem(PointCloud(known.x[i], known.y[j]), known.a[i], known.b[j], epsilon=known.epsilon)
    thin = _run(solver, kept, name="without the empty points")
    apart = l1_distance(dense_plan(full)[i][:, j], dense_plan(thin))
    require(apart <= ACCURACY[dtype], f"empty points must not change the plan of the others: it is {apart:.1e} off")


def _duplicates(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Equal points get equal potentials and proportional rows."""
    solution = _run(solver, as_problem(duplicates(generator=4, dtype=dtype)), name="duplicates")
    f, laws = torch.as_tensor(solution.f), dense_plan(solution) / solution.problem.a.double()[:, None]
    unit = ACCURACY[dtype] * (1 + exponent_scale(solution))
    require(largest(f[:5] - f[5:10]) <= unit, "equal sources must have equal potentials")
    require(largest(laws[:5] - laws[5:10]) <= unit, "equal sources must have equal conditional laws")


def _swapped_sides(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Swapping sides transposes the plan, swaps the potentials up to their constant, and keeps the value."""
    for rho in (math.inf, 2.0):
        known = _warm(random_problem(9, 6, 2, generator=5, dtype=dtype))
        problem = as_problem(known)
        problem = Problem(problem.geometry, problem.a, problem.b, epsilon=problem.epsilon, rho_a=rho, rho_b=3 * rho)
        one, two = _run(solver, problem, name="as asked"), _run(solver, problem.transpose(), name="swapped")
        unit = ACCURACY[dtype] * (1 + exponent_scale(one))
        require(l1_distance(dense_plan(one), dense_plan(two).T) <= unit, "swapping sides must transpose the plan")
        require(abs(float(one.value) - float(two.value)) <= unit, "swapping sides must keep the value")
        shift = one.potentials[0] - two.potentials[1]
        shift = shift - shift.mean() if problem.is_balanced else shift
        require(largest(shift) <= 10 * unit, "swapping sides must swap the potentials")


def _cost_scale(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """C -> c C with epsilon -> c epsilon keeps the plan and scales value, f and g by c; C -> C + c adds c to the value."""
    known = _warm(random_problem(8, 6, 2, generator=6, dtype=dtype))
    cost, epsilon = known.cost_matrix.to(dtype), known.epsilon
    one = _run(solver, Problem(CostMatrix(cost), known.a, known.b, epsilon=epsilon), name="as asked")
    for factor in (1e-3, 7.0, 1e4):
        scaled = Problem(CostMatrix(factor * cost), known.a, known.b, epsilon=factor * epsilon)
        two = _run(solver, scaled, name=f"costs times {factor}")
        unit = ACCURACY[dtype] * (1 + exponent_scale(one))
        require(l1_distance(dense_plan(one), dense_plan(two)) <= unit, f"costs times {factor} must keep the plan")
        for name in ("value", "entropy_value", "transport_cost", "f", "g"):
            apart = torch.as_tensor(getattr(one, name)) - torch.as_tensor(getattr(two, name)) / factor
            require(largest(apart) <= 10 * unit, f"costs times {factor} must scale {name} by it")
    shifted = Problem(CostMatrix(cost + 3.0), known.a, known.b, epsilon=epsilon)
    two = _run(solver, shifted, name="costs plus 3")
    require(l1_distance(dense_plan(one), dense_plan(two)) <= unit, "a constant in the cost must keep the plan")
    require(abs(float(two.value) - float(one.value) - 3.0) <= unit, "a constant in the cost must be added to the value")


def _mass_scale(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Weights may sum to anything: times m, the plan is m times itself."""
    known = _warm(random_problem(7, 8, 2, generator=7, dtype=dtype))
    one = _run(solver, as_problem(known), name="mass one")
    for mass in (1e-3, 50.0):
        heavy = Problem(as_problem(known).geometry, mass * known.a, mass * known.b, epsilon=known.epsilon)
        two = _run(solver, heavy, name=f"mass {mass}")
        unit = ACCURACY[dtype] * (1 + exponent_scale(two))
        require(
            l1_distance(dense_plan(one), dense_plan(two) / mass) <= unit,
            f"{mass} times the weights must scale the plan by it",
        )


def _every_temperature(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """From 1e-4 to 1e4 times the mean cost, with a small budget: a status and finite answers, never NaN."""
    hurried = with_budget(solver.with_tolerance(TOLERANCE[dtype]), 8)
    for zero_weights in (False, True):
        known = random_problem(7, 6, 2, generator=8, zero_weights=zero_weights, dtype=dtype)
        for share in TEMPERATURES:
            solution = hurried.run(as_problem(known, epsilon=share * known.scale))
            _explain(f"epsilon = {share} x mean cost", check_solution, solution, tolerance=TOLERANCE[dtype])


def _hot_limit(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """As epsilon grows the plan tends to a x b and every value to the cost of a x b."""
    known = random_problem(8, 6, 2, generator=9, dtype=dtype)
    a, b = known.a.double(), known.b.double()
    mean = float(a @ known.cost_matrix @ b)
    for share in (1e2, 1e4):
        solution = _run(solver, as_problem(known, epsilon=share * mean), name=f"{share} x mean cost")
        apart = l1_distance(dense_plan(solution), torch.outer(a, b))
        require(apart <= 3 / share + ACCURACY[dtype], f"the hot plan is a x b: it is {apart:.1e} off at {share}")
        cost = float(solution.transport_cost)
        require(abs(cost - mean) <= (3 / share + ACCURACY[dtype]) * mean, f"the hot cost is {mean:.6g}: got {cost:.6g}")


def _cold_limit(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """As epsilon falls the plan tends to the largest entropy among the exact optima: independence within blocks."""
    groups_a, groups_b = torch.tensor([0, 0, 0, 1, 1, 2]), torch.tensor([0, 1, 1, 1, 2, 2, 0])
    shares = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    generator = torch.Generator().manual_seed(10)
    sides = []
    for groups in (groups_a, groups_b):
        raw = 0.1 + torch.rand(len(groups), generator=generator, dtype=torch.float64)
        totals = torch.zeros(3, dtype=torch.float64).index_add(0, groups, raw)
        sides.append(shares[groups] * raw / totals[groups])
    a, b = sides
    inside = groups_a[:, None] == groups_b
    expected = torch.where(inside, torch.outer(a, b) / shares[groups_a][:, None], 0.0)
    cost = torch.where(inside, 0.0, 1.0).to(dtype)
    solution = _run(solver, Problem(CostMatrix(cost), a.to(dtype), b.to(dtype), epsilon=0.03), name="cold blocks")
    apart = l1_distance(dense_plan(solution), expected)
    require(apart <= ACCURACY[dtype], f"the cold plan is the exact one of largest entropy: it is {apart:.1e} off")


def _unbalanced(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Finite rho on either side: the dense answer, the enforced side exact, and balanced transport as rho grows."""
    known = _warm(random_problem(7, 5, 2, generator=11, zero_weights=True, dtype=dtype))
    geometry, epsilon = as_problem(known).geometry, known.epsilon
    inf, scale = math.inf, known.scale
    for rho_a, rho_b in ((scale, scale), (0.1 * scale, 3 * scale), (inf, scale), (scale, inf), (1e-3 * scale,) * 2):
        for heavier in (1.0, 1.7):
            problem = Problem(geometry, heavier * known.a, known.b, epsilon=epsilon, rho_a=rho_a, rho_b=rho_b)
            name = f"rho = ({rho_a:.3g}, {rho_b:.3g}), masses {heavier} and 1"
            solution = _run(solver, problem, name=name)
            _check_dense(solution, problem, name)
    balanced = _run(solver, as_problem(known), name="balanced")
    for rho in (10.0, 100.0):
        problem = Problem(geometry, known.a, known.b, epsilon=epsilon, rho_a=rho * scale, rho_b=rho * scale)
        solution = _run(solver, problem, name=f"rho = {rho} x scale")
        apart = l1_distance(dense_plan(solution), dense_plan(balanced))
        allowed = 3 / rho + 10 * ACCURACY[dtype]
        require(apart <= allowed, f"rho -> inf must give balanced transport: {apart:.1e} off at {rho}")


def _general_reference(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """A product reference is the default one; a general one gives the dense answer, and nothing where it is zero."""
    known = _warm(random_problem(6, 7, 2, generator=12, dtype=dtype))
    geometry, a, b, epsilon = as_problem(known).geometry, known.a, known.b, known.epsilon
    product = Problem(geometry, a, b, epsilon=epsilon, reference=torch.outer(a, b))
    one, two = _run(solver, as_problem(known), name="default"), _run(solver, product, name="product reference")
    unit = ACCURACY[dtype] * (1 + exponent_scale(one))
    require(
        l1_distance(dense_plan(one), dense_plan(two)) <= unit,
        "the reference a x b is the default one: the plans differ",
    )
    require(abs(float(one.value) - float(two.value)) <= unit, "the reference a x b is the default: the values differ")
    generator = torch.Generator().manual_seed(13)
    reference = torch.rand(6, 7, generator=generator, dtype=torch.float64).to(dtype)
    reference[torch.rand(6, 7, generator=generator) < 0.2] = 0
    reference[:, 0], reference[0] = 0.2, 0.1  # every balanced problem stays feasible
    for rho in (math.inf, known.scale):
        problem = Problem(geometry, a, b, epsilon=epsilon, rho_a=rho, rho_b=rho, reference=reference)
        name = f"general reference, rho = {rho}"
        _check_dense(_run(solver, problem, name=name), problem, name)


def _grids(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Grids of one to three unequal axes, balanced and not, nodes without mass: the dense answer."""
    generator = torch.Generator().manual_seed(19)
    for sizes in (((7,), (5,)), ((3, 4), (5, 2)), ((2, 3, 2), (3, 1, 2))):
        axes, target_axes = (
            [torch.rand(n, generator=generator, dtype=torch.float64).to(dtype) for n in side] for side in sizes
        )
        for cost, rho in (("sqeuclidean", math.inf), ("manhattan", 0.5)):
            geometry = Grid(axes, cost, target_axes)
            a, b = (0.2 + torch.rand(size, generator=generator, dtype=torch.float64) for size in geometry.shape)
            a[::3] = b[1::3] = 0.0
            a, b = (a / a.sum()).to(dtype), (b / b.sum()).to(dtype)
            problem = Problem(geometry, a, b, epsilon=0.1, rho_a=rho, rho_b=2 * rho)
            name = f"{geometry}, rho = {rho}"
            _check_dense(_run(solver, problem, name=name), problem, name)


def _repeatable(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Twice the same gives the same bits; input and global random state stay as they were."""
    for namespace in Namespace:
        known = _warm(random_problem(8, 7, 3, generator=14, dtype=dtype))
        assert known.x is not None, "the generator gives points; this is our bug"
        assert known.y is not None, "the generator gives points; this is our bug"
        given = [t.numpy().copy() if namespace is Namespace.NUMPY else t for t in (known.x, known.y, known.a, known.b)]
        before = [array.copy() if isinstance(array, np.ndarray) else array.clone() for array in given]
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
        problem = Problem(PointCloud(given[0], given[1]), given[2], given[3], epsilon=known.epsilon)
        one, two = _run(solver, problem, name="once"), _run(solver, problem, name="twice")
        untouched = all(np.array_equal(now, then) for now, then in zip(given, before, strict=True))
        require(untouched, "input arrays must not be written to")
        require(torch.equal(torch_state, torch.get_rng_state()), "torch's global random state must not change")
        same = np.array_equal(numpy_state["state"]["key"], np.random.get_state(legacy=False)["state"]["key"])
        same = same and numpy_state["state"]["pos"] == np.random.get_state(legacy=False)["state"]["pos"]
        require(same, "NumPy's global random state must not change")
        same = all(torch.equal(p, q) for p, q in zip(one.potentials, two.potentials, strict=True))
        require(same and one.iterations == two.iterations, "two runs must give the same bits")


def _warm_start(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """A solution, or its potentials in the user's library, starts a solve that is over at once."""
    problem = as_problem(_warm(random_problem(10, 8, 2, generator=15, dtype=dtype)))
    first = _run(solver, problem, name="cold start")
    starts: tuple[Any, ...] = (first, first.potentials, tuple(potential.numpy() for potential in first.potentials))
    for start in starts:
        again = solver.with_tolerance(10 * TOLERANCE[dtype]).run(problem, init=start)
        require(again.iterations <= 3, f"a warm start must be over at once: it took {again.iterations} iterations")
        check_solution(again, tolerance=10 * TOLERANCE[dtype])


def _callback(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """The callback sees every entry of the history, in order, and may stop the solve by raising."""
    problem = as_problem(_warm(random_problem(6, 6, 2, generator=16, dtype=dtype)))
    seen: list[Check] = []
    solution = solver.run(problem, callback=seen.append)
    require(seen == list(solution.history), "the callback sees the history, iteration numbers included")

    def stop(check: Check) -> None:
        raise InterruptedError

    try:
        solver.run(problem, callback=stop)
    except InterruptedError:
        return
    raise ContractError("an exception from the callback must reach the caller")  # noqa: EM101


def _unconverged(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Out of budget: a status with advice, and bounds that hold all the same."""
    known = sorted_line(9, 7, generator=17, dtype=dtype)
    problem = as_problem(known, epsilon=0.02 * known.scale)
    truth = dense_solution(problem)
    value, exact = dense_dual_value(problem, truth.f, truth.g), known.exact_cost
    slack = 4 * known.tolerance * known.scale if dtype == torch.float32 else 0.0
    for budget in (1, 2, 3):
        solution = with_budget(solver.with_tolerance(TOLERANCE[dtype]), budget).run(problem)
        check_solution(solution, tolerance=TOLERANCE[dtype])
        check_bounds(solution, value=value)
        bounds = solution.certificate
        inside = exact is None or bounds.exact_lower - slack - 1e-9 <= exact <= bounds.exact_upper + slack + 1e-9
        require(inside, f"the exact cost {exact} must lie in [{bounds.exact_lower}, {bounds.exact_upper}]")


def _cold_answers(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Temperature zero: known exact costs, tight and feasible duals, all clauses of a solution."""
    for known in known_problems(dtype=dtype):
        if known.cost_matrix.numel() > 10_000:
            continue
        solution = _explain(known.name, solver.run, as_problem(known, epsilon=0.0))
        _explain(known.name, check_solution, solution)
        _explain(known.name, check_dual_feasible, solution)
        if known.exact_cost is not None:
            cost, unit = float(solution.transport_cost), (1e-9 + 4 * known.tolerance) * known.scale
            require(
                abs(cost - known.exact_cost) <= unit, f"{known.name}: the exact cost is {known.exact_cost}: got {cost}"
            )


def _cold_symmetry(solver: AbstractSolver, dtype: torch.dtype) -> None:
    """Temperature zero: swapping sides and scaling costs do to the value what they must."""
    known = random_problem(9, 7, 2, generator=18, zero_weights=True, dtype=dtype)
    problem = as_problem(known, epsilon=0.0)
    one, two = solver.run(problem), solver.run(problem.transpose())
    unit = 100 * torch.finfo(dtype).eps * known.scale
    require(abs(float(one.value) - float(two.value)) <= unit, "swapping sides must keep the exact cost")
    cost = problem.geometry.block(slice(None))
    three = solver.run(Problem(CostMatrix(7 * cost), known.a, known.b, epsilon=0.0))
    require(abs(float(three.value) - 7 * float(one.value)) <= 7 * unit, "costs times 7 must scale the exact cost by 7")


SOLVER_CONTRACT: Mapping[str, Clause] = MappingProxyType(
    {
        "known answers": _known_answers,
        "single points": _single_points,
        "zero weights": _zero_weights,
        "duplicates": _duplicates,
        "swapped sides": _swapped_sides,
        "cost scale": _cost_scale,
        "mass scale": _mass_scale,
        "every temperature": _every_temperature,
        "hot limit": _hot_limit,
        "cold limit": _cold_limit,
        "unbalanced": _unbalanced,
        "general reference": _general_reference,
        "grids": _grids,
        "repeatable": _repeatable,
        "warm start": _warm_start,
        "callback": _callback,
        "unconverged": _unconverged,
    }
)
"""Clauses for solvers at temperatures above zero: functions of (solver, dtype) that raise `ContractError`."""

EXACT_CONTRACT: Mapping[str, Clause] = MappingProxyType(
    {"cold answers": _cold_answers, "cold symmetry": _cold_symmetry}
)
"""Clauses for solvers at temperature zero."""


def _run(solver: AbstractSolver, problem: Problem, *, name: str) -> Solution:
    """Solve to the contract's tolerance; the status must be converged, and the solution in order."""
    tolerance = TOLERANCE[problem.geometry.dtype]
    solution = _explain(name, solver.with_tolerance(tolerance).run, problem)
    require(solution.status.is_converged, f"{name}: must converge to {tolerance}: {solution.status}")
    _explain(name, check_solution, solution, tolerance=tolerance)
    return solution


def _explain(name: str, function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """Call, and say on which problem a clause broke."""
    try:
        return function(*args, **settings)
    except ContractError as error:
        message = f"{name}: {error}"
        raise ContractError(message) from error


def _check_dense(solution: Solution, problem: Problem, name: str) -> None:
    """The answer is that of the dense float64 iteration."""
    dtype = problem.geometry.dtype
    truth = dense_solution(problem)
    mass, unit = float(truth.plan.sum()), ACCURACY[dtype] * (1 + exponent_scale(solution))
    apart = l1_distance(dense_plan(solution), truth.plan) / mass
    require(apart <= 10 * unit, f"{name}: the plan is {apart:.1e} from the dense one")
    paid = primal_values(problem, truth.plan)
    for key in ("value", "entropy_value", "transport_cost"):
        expected, got = getattr(paid, key), float(getattr(solution, key))
        require(abs(expected - got) <= 10 * unit * (1 + mass), f"{name}: {key} is {expected:.10g}: got {got:.10g}")
    check_bounds(solution, value=dense_dual_value(problem, truth.f, truth.g))


def _warm(known: KnownProblem) -> KnownProblem:
    """The same problem at 0.4 of its mean cost, where a few dozen steps are enough."""
    return plant(replace(known, epsilon=0.4 * known.scale))
