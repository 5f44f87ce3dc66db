"""Distance between minibatches, as a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_positive
from isotherm.compat.torchcfm.plan_sampler import flat_points
from isotherm.geometry import Euclidean, SquaredEuclidean
from isotherm.solvers import solve


def wasserstein(
    x0: Tensor,
    x1: Tensor,
    method: str | None = None,
    reg: float = 0.05,
    power: int = 2,
    *,
    tolerance: float = 1e-7,
) -> float:
    """Wasserstein distance between equally weighted minibatches, W_2 or W_1, exact or by the entropic plan.

        (<C, P>)^(1 / power),    C = |x - y|^power

    Computed in float64. Time of a linear programme, O(N^3), or O(N M D) per iteration. Not differentiated.

    Args:
        x0: Sources, shape (N, ...).
        x1: Targets, shape (M, ...).
        method: "exact" or None, P the optimal plan; "sinkhorn", P the entropic plan at temperature `reg`.
        reg: Temperature > 0, units of C.
        power: 1 or 2.
        tolerance: L1 error of the entropic plan's marginals at which to stop. Not in the original.

    Returns:
        The distance, units of the points.

    Raises:
        ValueError: Another method or power.

    Example:
        >>> wasserstein(torch.zeros(2, 1), torch.tensor([[3.0], [4.0]]), power=1)
        3.5
    """
    check_choice(method or "exact", "method", ("exact", "sinkhorn"))
    if power not in (1, 2):
        msg = f"`power` must be 1 or 2: got {power!r}. Use isotherm.wasserstein with a cost for another one."
        raise ValueError(msg)
    points = flat_points(x0, "x0").to(torch.float64), flat_points(x1, "x1").to(torch.float64)
    cost = SquaredEuclidean() if power == 2 else Euclidean()
    if method == "sinkhorn":
        solution = solve(*points, cost=cost, epsilon=check_positive(reg, "reg"), tolerance=tolerance)
    else:
        solution = solve(*points, cost=cost, solver="exact")
    paid = float(solution.transport_cost)
    return math.sqrt(paid) if power == 2 else paid
