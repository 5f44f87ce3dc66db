"""A transport problem that carries its own answer.

Most answers are planted: the last iterate of any Sinkhorn run is the exact solution for its own target
weights, whatever the cost, the points and the temperature. So a few steps are run towards the weights
wanted, and the weights reached are taken instead. The answer is exact to rounding, and no solver is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

import torch
from torch import Tensor

COSTS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "sqeuclidean": lambda x, y: (x[:, None] - y).square().sum(-1),
        "half_sqeuclidean": lambda x, y: (x[:, None] - y).square().sum(-1) / 2,
        "euclidean": lambda x, y: (x[:, None] - y).square().sum(-1).sqrt(),
        "negative_dot": lambda x, y: -(x @ y.T),
    }
)
"""Dense costs by name, (N, D), (M, D) -> (N, M), from differences of coordinates."""


@dataclass(frozen=True, eq=False)
class KnownProblem:
    """A transport problem and what is known about its answer; None where nothing is.

    The problem (x, y, a, b) has the dtype asked for; cost_matrix and the answers are float64 references for
    the points and the source weights as rounded to that dtype. The target weights are rounded afterwards,
    which is why tolerance grows in float32.

    Attributes:
        name: What is special about it, in a word for test ids.
        x: Sources, shape (N, D); None where only a cost matrix exists.
        y: Targets, shape (M, D); None where only a cost matrix exists.
        a: Source weights, shape (N,), sum 1 up to rounding; zeros mark points without mass.
        b: Target weights, shape (M,), sum 1 up to rounding; zeros mark points without mass.
        cost: Name of the cost, a key of COSTS; "matrix" where only a cost matrix exists.
        epsilon: Temperature > 0, units of cost.
        cost_matrix: C, shape (N, M), float64.
        tolerance: Accuracy of the answers: of values relative to scale, of plans in mass (L1),
            of potentials in the mean under a and b, relative to scale. A solver's own error comes on top.
        plan: Entropic plan, shape (N, M).
        value: OT_eps in the KL form.
        transport_cost: <C, P> of the entropic plan.
        f: Source potential, shape (N,), in the gauge <b, g> = 0.
        g: Target potential, shape (M,).
        exact_plan: An optimal plan at temperature zero, shape (N, M).
        exact_cost: The optimal cost at temperature zero.
    """

    name: str
    x: Tensor | None  # (N, D)
    y: Tensor | None  # (M, D)
    a: Tensor  # (N,)
    b: Tensor  # (M,)
    cost: str
    epsilon: float
    cost_matrix: Tensor  # (N, M)
    tolerance: float
    plan: Tensor | None = None  # (N, M)
    value: float | None = None
    transport_cost: float | None = None
    f: Tensor | None = None  # (N,)
    g: Tensor | None = None  # (M,)
    exact_plan: Tensor | None = None  # (N, M)
    exact_cost: float | None = None

    @property
    def scale(self) -> float:
        """Mean of |C| under a x b, the unit in which errors of values and potentials are judged."""
        return float(self.a.double() @ self.cost_matrix.abs() @ self.b.double())

    def to(self, device: torch.device | str) -> KnownProblem:
        """The same problem with every tensor on another device."""
        tensors = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: t.to(device) for name, t in tensors.items() if isinstance(t, Tensor)})


def plant(problem: KnownProblem, *, steps: int = 30) -> KnownProblem:
    """The same problem with target weights close to those given, for which the answer is known exactly.

        h_j = log b_j;   repeat: f = softmin(h),  g = softmin(f),  h_j = log b_j + g_j / eps
        keep h, take b_j := sum_i P_ij,   P_ij = a_i exp((f_i - C_ij) / eps + h_j)

    P has the form of an optimum and the marginals (a, new b), hence is the optimum between them: convergence
    plays no part. Time O(steps N M), memory O(N M), in float64.

    Args:
        problem: Weights, temperature and cost matrix; answers in it are ignored. Zero weights stay zero.
        steps: Sinkhorn steps towards b; the fewer, the further the new b is from the one wished for.

    Returns:
        The problem with b, plan, value, transport_cost, f and g replaced; exact answers are dropped.

    Example:
        >>> half = torch.tensor([0.5, 0.5], dtype=torch.float64)
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
        >>> plant(KnownProblem("mine", None, None, half, half, "matrix", 1.0, cost, 1e-11)).plan
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]], dtype=torch.float64)
    """
    epsilon, cost = problem.epsilon, problem.cost_matrix / problem.epsilon
    a = problem.a.double()
    log_a, log_b = a.log()[:, None], problem.b.double().log()
    h = log_b
    for _ in range(steps):
        f = -torch.logsumexp(h - cost, 1)
        h = log_b - torch.logsumexp(log_a + f[:, None] - cost, 0)
    f = -torch.logsumexp(h - cost, 1)
    g = -torch.logsumexp(log_a + f[:, None] - cost, 0)
    plan = torch.exp(log_a + f[:, None] + h - cost)  # (N, M)
    b = plan.sum(0)
    shift = b @ g / b.sum()
    f, g = epsilon * (f + shift), epsilon * (g - shift)
    return replace(
        problem, b=b.to(problem.a.dtype), plan=plan, value=float(a @ f + b @ g),
        transport_cost=float((plan * problem.cost_matrix).sum()), f=f, g=g, exact_plan=None, exact_cost=None,
    )  # fmt: skip
