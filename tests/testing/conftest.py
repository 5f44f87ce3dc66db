"""Independent float64 references for the oracles: a dense Sinkhorn loop, optimality conditions, an LP."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor


@pytest.fixture(scope="session")
def sinkhorn() -> Callable[..., SimpleNamespace]:
    """Dense log-domain Sinkhorn, run until the marginal error is at rounding."""

    def run(cost: Tensor, a: Tensor, b: Tensor, epsilon: float, *, steps: int = 5000) -> SimpleNamespace:
        cost, a, b = cost.double(), a.double() / a.double().sum(), b.double() / b.double().sum()
        log_a, log_b, g = a.log(), b.log(), torch.zeros_like(b)
        errors = []
        for _ in range(steps):
            f = -epsilon * torch.logsumexp(log_b + (g - cost) / epsilon, 1)
            new_g = -epsilon * torch.logsumexp(log_a[:, None] + (f[:, None] - cost) / epsilon, 0)
            errors.append(float((b * ((g - new_g) / epsilon).expm1()).abs().sum()))
            g = new_g
            if errors[-1] < 1e-14:
                break
        plan = torch.outer(a, b) * torch.exp((f[:, None] + g - cost) / epsilon)
        shift = b @ g
        value = float(a @ f + b @ g)
        transport_cost = float((plan * cost).sum())
        return SimpleNamespace(
            plan=plan, value=value, transport_cost=transport_cost, f=f + shift, g=g - shift, errors=errors
        )

    return run


@pytest.fixture(scope="session")
def assert_optimal() -> Callable[..., None]:
    """Optimality conditions, which say that a plan is the optimum and that each number belongs to it."""

    def check(problem: SimpleNamespace, known, *, tolerance: float = 1e-10) -> None:
        cost, a, b, epsilon = problem.cost.double(), problem.a.double(), problem.b.double(), problem.epsilon
        plan, unit = known.plan, tolerance * (1 + float(cost.abs().max()))
        assert float((plan.sum(1) - a).abs().sum()) < tolerance
        assert float((plan.sum(0) - b).abs().sum()) < tolerance
        gibbs = torch.outer(a, b) * torch.exp((known.f[:, None] + known.g - cost) / epsilon)
        assert float((plan - gibbs).abs().sum()) < tolerance
        assert abs(float(b @ known.g)) < unit
        transport_cost = float((plan * cost).sum())
        reference = torch.outer(a, b)
        ratio = torch.where(plan > 0, plan / torch.where(reference > 0, reference, 1), 1)
        penalty = float((plan * ratio.log() - plan + reference).sum())
        assert abs(known.transport_cost - transport_cost) < unit
        assert abs(known.value - (transport_cost + epsilon * penalty)) < unit * (1 + epsilon)

    return check


@pytest.fixture(scope="session")
def linear_programme() -> Callable[[Tensor, Tensor, Tensor], float]:
    """Exact optimal cost by SciPy's HiGHS."""

    def solve(cost: Tensor, a: Tensor, b: Tensor) -> float:
        n, m = cost.shape
        rows = np.kron(np.eye(n), np.ones((1, m)))
        columns = np.kron(np.ones((1, n)), np.eye(m))
        result = linprog(
            cost.double().numpy().ravel(),
            A_eq=np.concatenate([rows, columns[:-1]]),  # the last equation follows from the others
            b_eq=np.concatenate([a.double().numpy(), b.double().numpy()[:-1]]),
        )
        assert result.success, result.message
        return float(result.fun)

    return solve
