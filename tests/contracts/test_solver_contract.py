"""Every solver passes the contract, and the contract notices a solver that lies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from isotherm import (
    Annealed,
    Auto,
    Certificate,
    CostMatrix,
    EntropicCoupling,
    Exact,
    LogSinkhorn,
    Multiscale,
    Newton,
    PointCloud,
    Problem,
    Scaling,
    Solution,
    SparseCoupling,
    Status,
    TwoLevel,
)
from isotherm._arrays import Namespace
from isotherm.solution import MarginalError
from isotherm.solvers import AbstractSolver
from isotherm.testing import (
    EXACT_CONTRACT,
    SOLVER_CONTRACT,
    ContractError,
    as_problem,
    check_arrays,
    check_bounds,
    check_dual_feasible,
    check_exact_solver,
    check_finite,
    check_gauge,
    check_history,
    check_marginals,
    check_solution,
    check_solver,
    check_support,
    check_values,
    random_problem,
    with_budget,
    worked_example,
)

SOLVERS = {
    "scaling": Scaling(),
    "log": LogSinkhorn(),
    "auto": Auto(),
    "annealed log": Annealed(),
    "annealed scaling": Annealed(solver=Scaling()),
    "newton": Newton(),
    "two levels": TwoLevel(),
    "newton from the start": Newton(switch=1e3),
    "annealed newton": Annealed(solver=Newton()),
    "over-relaxed log": LogSinkhorn(relaxation=1.7),
    "multiscale": Multiscale(),
    "multiscale, always on cells": Multiscale(all_pairs=1, coarsest=3),
}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@pytest.mark.parametrize("clause", SOLVER_CONTRACT)
@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_solver_keeps_the_contract(solver, dtype, clause):
    SOLVER_CONTRACT[clause](solver, dtype)


@pytest.mark.parametrize("clause", EXACT_CONTRACT)
@pytest.mark.parametrize("algorithm", ["auto", "simplex"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_exact_solver_keeps_the_contract(algorithm, dtype, clause):
    EXACT_CONTRACT[clause](Exact(algorithm=algorithm), dtype)


# ------------------------------------------------------------------------------------- solvers that lie


@dataclass(frozen=True, kw_only=True)
class Liar(AbstractSolver):
    """Answers another question than the one asked, or spoils the answer."""

    ask: Callable[[Problem], Problem] = lambda problem: problem
    spoil: Callable[[Solution], Solution] = lambda solution: solution
    forgets: tuple[str, ...] = ()
    solver: Any = field(default_factory=LogSinkhorn)

    def with_tolerance(self, tolerance):
        return replace(self, solver=self.solver.with_tolerance(tolerance))

    def run(self, problem, *, init=None, callback=None):
        given = {"init": init, "callback": callback}
        given = {name: None if name in self.forgets else value for name, value in given.items()}
        return self.spoil(self.solver.run(self.ask(problem), **given))


def change(**changes) -> Callable[[Problem], Problem]:
    return lambda problem: problem._with(**{name: compute(problem) for name, compute in changes.items()})


def noisy(problem: Problem) -> Problem:
    cost = problem.geometry.block(slice(None))
    noise = torch.rand(cost.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(cost.dtype)
    return problem._with(geometry=CostMatrix(cost + 0.1 * noise))


def filled(weights: torch.Tensor) -> torch.Tensor:
    weights = weights.clamp(min=0.02)
    return weights / weights.sum()


def with_nan(solution: Solution) -> Solution:
    return with_potentials(solution, solution.potentials[0] * math.nan, solution.potentials[1])


def with_potentials(solution: Solution, f: torch.Tensor, g: torch.Tensor) -> Solution:
    return replace(solution, potentials=(f, g), coupling=EntropicCoupling(solution.problem, f, g))


def writes_to_input(problem: Problem) -> Problem:
    problem.a[0] += 1e-13
    return problem


def draws_globally(problem: Problem) -> Problem:
    torch.rand(1)
    return problem


def draws_globally_from_numpy(problem: Problem) -> Problem:
    np.random.random()
    return problem


def shivers(problem: Problem) -> Problem:
    generator = torch.Generator()
    generator.seed()
    return problem.at(problem.epsilon * (1 + 1e-6 * float(torch.rand(1, generator=generator))))


WARMER = change(epsilon=lambda p: 1.2 * p.epsilon)
LIES = {
    "known answers": (Liar(ask=WARMER), "the plan is"),
    "single points": (Liar(ask=change(b=lambda p: p.b.flip(0))), "from one point is a x b"),
    "zero weights": (Liar(ask=change(a=lambda p: filled(p.a), b=lambda p: filled(p.b))), "empty points must not"),
    "duplicates": (Liar(ask=noisy), "equal sources must have"),
    "swapped sides": (Liar(ask=noisy), "swapping sides must"),
    "cost scale": (Liar(ask=noisy), "must keep the plan"),
    "mass scale": (Liar(ask=change(a=lambda p: p.a / p.a.sum(), b=lambda p: p.b / p.b.sum())), "must scale the plan"),
    "every temperature": (Liar(spoil=lambda s: s if s.status.is_converged else with_nan(s)), "must be finite"),
    "hot limit": (Liar(ask=change(epsilon=lambda p: min(p.epsilon, 1.0))), "the hot plan is"),
    "cold limit": (Liar(ask=change(epsilon=lambda p: max(p.epsilon, 0.2))), "the cold plan is"),
    "unbalanced": (Liar(ask=change(rho_a=lambda p: 1.01 * p.rho_a)), "from the dense one"),
    "general reference": (Liar(ask=change(reference=lambda p: None)), "from the dense one"),
    "grids": (Liar(ask=WARMER), "from the dense one"),
    "repeatable": (Liar(ask=shivers), "the same bits"),
    "warm start": (Liar(forgets=("init",)), "must be over at once"),
    "callback": (Liar(forgets=("callback",)), "the callback sees"),
    "unconverged": (Liar(ask=change(epsilon=lambda p: 20 * p.epsilon)), "must not exceed the truth"),
}


@pytest.mark.parametrize("clause", SOLVER_CONTRACT)
def test_contract_notices_a_liar(clause):
    liar, message = LIES[clause]
    with pytest.raises(ContractError, match=message):
        SOLVER_CONTRACT[clause](liar, torch.float64)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (writes_to_input, "must not be written to"),
        (draws_globally, "torch's global random state"),
        (draws_globally_from_numpy, "NumPy's global random state"),
    ],
)
def test_contract_notices_side_effects(ask, message):
    with pytest.raises(ContractError, match=message):
        SOLVER_CONTRACT["repeatable"](Liar(ask=ask), torch.float64)


def test_contract_notices_a_swallowed_interruption():
    @dataclass(frozen=True, kw_only=True)
    class Deaf(Liar):
        def run(self, problem, *, init=None, callback=None):
            solution = super().run(problem, init=init)
            for check in solution.history:
                try:
                    callback(check)
                except InterruptedError:
                    break
            return solution

    with pytest.raises(ContractError, match="must reach the caller"):
        SOLVER_CONTRACT["callback"](Deaf(), torch.float64)


def test_contract_notices_an_unconverged_solver():
    with pytest.raises(ContractError, match="must converge"):
        check_solver(with_budget(LogSinkhorn(), 1))


@pytest.mark.parametrize(
    ("clause", "spoil", "message"),
    [
        (
            "cold answers",
            lambda s: replace(s, potentials=(s.potentials[0] + 1, s.potentials[1])),
            "must not exceed C_ij",
        ),
        (
            "cold symmetry",
            lambda s: faked(s, _transport_cost=s._transport_cost + s.f.abs().sum()),
            "keep the exact cost",
        ),
    ],
)
def test_exact_contract_notices_a_liar(clause, spoil, message):
    with pytest.raises(ContractError, match=message):
        EXACT_CONTRACT[clause](Liar(solver=Exact(), spoil=spoil), torch.float64)


def test_exact_contract_runs_every_clause():
    with pytest.raises(ValueError, match="positive"):
        check_exact_solver(LogSinkhorn())


def test_budget_reaches_wrapped_solvers():
    assert with_budget(Scaling(), 7).max_iterations == 7
    assert with_budget(Annealed(solver=Scaling()), 7).solver.max_iterations == 7
    assert with_budget(Exact(), 7) == Exact()


# ----------------------------------------------------------------------------------- solutions that lie


def faked(solution: Solution, **values) -> Solution:
    """A copy with some of what it computes lazily replaced."""
    copy = replace(solution)
    copy.__dict__.update(values)
    return copy


@pytest.fixture(scope="module")
def solution() -> Solution:
    known = random_problem(6, 5, 2, generator=0, zero_weights=True)
    solution = LogSinkhorn(tolerance=1e-9).run(as_problem(known))
    check_solution(solution, tolerance=1e-9)
    return solution


@pytest.fixture(scope="module")
def exact() -> Solution:
    return Exact().run(as_problem(random_problem(6, 5, 2, generator=0), epsilon=0.0))


def test_check_finite_can_fail(solution):
    with pytest.raises(ContractError, match="`f` must be finite"):
        check_finite(with_nan(solution))
    with pytest.raises(ContractError, match="`value` must be finite"):
        check_finite(faked(solution, _value=torch.tensor(math.inf)))
    with pytest.raises(ContractError, match="`marginal_error` must be finite"):
        check_finite(replace(solution, marginal_error=MarginalError(math.nan, 0.0)))
    nan = Certificate(entropic_lower=0.0, entropic_upper=math.nan, exact_lower=0.0, exact_upper=1.0)
    with pytest.raises(ContractError, match="bounds must not be NaN"):
        check_finite(faked(solution, certificate=nan))


def test_check_marginals_can_fail(solution):
    with pytest.raises(ContractError, match="was reported"):
        check_marginals(replace(solution, marginal_error=MarginalError(0.1, 0.0)))
    f, g = solution.potentials
    moved = with_potentials(solution, f + 0.1 * f.abs().max() * torch.linspace(0, 1, len(f)), g)
    plan = moved.coupling.to_dense()
    weights = solution.problem.a, solution.problem.b
    errors = [float((plan.sum(1 - k) - w).abs().sum()) for k, w in enumerate(weights)]
    with pytest.raises(ContractError, match="converged plan is off"):
        check_marginals(replace(moved, marginal_error=MarginalError(*errors)))

    class Crooked(SparseCoupling):
        def row_mass(self):
            return super().row_mass() * 1.01

    crooked = Crooked.from_matrix(solution.coupling.to_dense())
    with pytest.raises(ContractError, match="source marginal is"):
        check_marginals(replace(solution, coupling=crooked))


def test_check_support_can_fail(solution):
    plan = solution.coupling.to_dense()
    sparse = SparseCoupling.from_matrix(plan)
    with pytest.raises(ContractError, match="non-negative"):
        check_support(replace(solution, coupling=replace(sparse, pair_mass=-sparse.pair_mass)))
    with pytest.raises(ContractError, match="must get none"):
        check_support(replace(solution, coupling=SparseCoupling.from_matrix(plan + 1e-300)))
    forbidding = solution.problem._with(reference=torch.zeros_like(plan))
    with pytest.raises(ContractError, match="must get none"):
        check_support(replace(solution, problem=forbidding))


def test_check_gauge_can_fail(solution):
    f, g = solution.potentials
    with pytest.raises(ContractError, match="gauge"):
        check_gauge(with_potentials(solution, f + 1e-6, g - 1e-6))
    unbalanced = solution.problem._with(rho_a=1.0)
    check_gauge(replace(solution, problem=unbalanced, potentials=(f + 1e-6, g - 1e-6)))


@pytest.mark.parametrize("name", ["value", "entropy_value", "transport_cost"])
def test_check_values_can_fail(solution, name):
    wrong = getattr(solution, name) * (1 + 1e-7)
    with pytest.raises(ContractError, match=rf"^{name} is"):
        check_values(faked(solution, **{f"_{name}": wrong}))


def test_check_values_notices_a_plan_of_other_potentials(solution):
    f, g = solution.potentials
    with pytest.raises(ContractError, match="the plan must be kappa"):
        check_values(replace(solution, potentials=(f + 1e-6, g)))


def test_check_values_notices_a_false_convergence(solution):
    f, g = solution.potentials
    moved = with_potentials(solution, f + 0.1 * f.abs().max() * torch.linspace(0, 1, len(f)), g)
    with pytest.raises(ContractError, match="what the plan pays"):
        check_values(moved)


@pytest.mark.parametrize("name", ["value", "entropy_value"])
def test_check_values_at_zero_temperature_can_fail(exact, name):
    check_values(exact)
    with pytest.raises(ContractError, match=f"{name} is transport_cost"):
        check_values(faked(exact, **{f"_{name}": exact.value + 1}))


def test_check_bounds_can_fail(solution):
    bounds = solution.certificate
    with pytest.raises(ContractError, match="entropic_lower must not exceed entropic_upper"):
        check_bounds(faked(solution, certificate=replace(bounds, entropic_lower=bounds.entropic_upper + 1e-6)))
    with pytest.raises(ContractError, match="exact_lower must not exceed exact_upper"):
        check_bounds(faked(solution, certificate=replace(bounds, exact_upper=bounds.exact_lower - 1e-6)))
    with pytest.raises(ContractError, match="entropic_upper must not fall below the truth"):
        check_bounds(solution, value=bounds.entropic_upper + 1e-6)
    with pytest.raises(ContractError, match="exact_lower must not exceed the truth"):
        check_bounds(solution, exact_cost=bounds.exact_lower - 1e-6)
    fields = {
        name: getattr(bounds, name) for name in ("entropic_lower", "entropic_upper", "exact_lower", "exact_upper")
    }
    with pytest.raises(ContractError, match="relative_gap is"):
        check_bounds(faked(solution, certificate=SimpleNamespace(**fields, relative_gap=0.5)))


def test_check_arrays_can_fail(solution):
    single = SparseCoupling.from_matrix(solution.coupling.to_dense().float())
    with pytest.raises(ContractError, match=r"must be torch torch\.float64: got torch torch\.float32"):
        check_arrays(replace(solution, coupling=single))
    numpy_plan = replace(SparseCoupling.from_matrix(solution.coupling.to_dense()), _namespace=Namespace.NUMPY)
    with pytest.raises(ContractError, match=r"must be torch torch\.float64: got numpy float64"):
        check_arrays(replace(solution, coupling=numpy_plan))
    f, g = solution.potentials
    with pytest.raises(ContractError, match="`f` must have shape"):
        check_arrays(replace(solution, potentials=(f[:4], g), coupling=replace(numpy_plan, _namespace=Namespace.TORCH)))


def test_check_history_can_fail(solution):
    spoilt = {
        "must say something": replace(solution, status=Status(outcome=solution.status.outcome, advice=" ")),
        "must not be negative": replace(solution, seconds=-1.0),
        "at least one look": replace(solution, history=()),
        "must be in order": replace(solution, history=solution.history[::-1]),
        "history ends at": replace(solution, iterations=solution.iterations + 1),
        "problem's temperature": replace(
            solution, history=(*solution.history[:-1], solution.history[-1]._replace(epsilon=9.0))
        ),
        "must not rise": replace(solution, history=(solution.history[0]._replace(epsilon=1e-9), *solution.history[1:])),
    }
    for message, wrong in spoilt.items():
        with pytest.raises(ContractError, match=message):
            check_history(wrong)


def test_check_dual_feasible_can_fail(exact):
    f, g = exact.potentials
    check_dual_feasible(exact)
    with pytest.raises(ContractError, match="must not exceed C_ij"):
        check_dual_feasible(replace(exact, potentials=(f + 1e-6, g)))
    with pytest.raises(ContractError, match="must equal C_ij"):
        check_dual_feasible(replace(exact, potentials=(f - 1e-6, g)))


def test_contract_reads_numpy_and_matrix_problems():
    known = worked_example()
    cloud = PointCloud(known.x.numpy(), known.y.numpy())
    for geometry in (cloud, CostMatrix(known.cost_matrix.numpy())):
        check_solution(LogSinkhorn().run(Problem(geometry, epsilon=0.5)))
