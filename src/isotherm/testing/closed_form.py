"""Optimal transport problems solved by hand.

Every formula is for the convention of this package,

    OT_eps(a, b) = min_{P in U(a, b)} <C, P> + eps KL(P | a x b),
    P_ij = a_i b_j exp((f_i + g_j - C_ij) / eps),

with weights of mass one and the gauge <b, g> = 0. Work in float64: these are references, not solvers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class DiscreteSolution:
    """Everything known about a discrete entropic problem that was solved by hand.

    Attributes:
        plan: Optimal P, shape (N, M), mass; sums to a along rows and to b along columns.
        value: OT_eps = <C, P> + eps KL(P | a x b), units of cost.
        entropy_value: <C, P> - eps H(P) = value - eps (H(a) + H(b)), units of cost.
        transport_cost: <C, P>, units of cost.
        f: Source potential, shape (N,), units of cost.
        g: Target potential, shape (M,), units of cost, with <b, g> = 0.

    References:
        [PeyreCuturi2019, section 4]
    """

    plan: Tensor  # (N, M)
    value: float
    entropy_value: float
    transport_cost: float
    f: Tensor  # (N,)
    g: Tensor  # (M,)


@dataclass(frozen=True, eq=False)
class ExactSolution:
    """An unregularised optimum: the end of the dial at temperature zero.

    Attributes:
        plan: An optimal P, shape (N, M), mass.
        transport_cost: <C, P>, units of cost.
    """

    plan: Tensor  # (N, M)
    transport_cost: float


def two_by_two(epsilon: float, *, off_diagonal: float = 1.0) -> DiscreteSolution:
    """The worked example: two points on each side, symmetric in every way.

        a = b = (1/2, 1/2),   C = [[0, t], [t, 0]]
        P = [[p, q], [q, p]],   p = 1 / (2 (1 + exp(-t / eps))),   q = 1/2 - p,   f = eps log(4 p),   g = 0

    Args:
        epsilon: Temperature, 0 <= epsilon <= inf, units of cost; 0 and inf give the limits.
        off_diagonal: The cost t of moving to the other point; any finite sign.

    Returns:
        The solution in float64. entropy_value is -inf at epsilon = inf.

    Example:
        >>> two_by_two(1.0).plan
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]], dtype=torch.float64)
    """
    _check_temperature(epsilon)
    t = float(off_diagonal)
    if epsilon == 0 or math.isinf(epsilon) or t == 0:
        decay = float(epsilon > 0 or t == 0)
        value = t / 2 if epsilon > 0 else min(t, 0.0)
    else:
        decay = math.exp(-abs(t) / epsilon)  # mass on the dearer pair by mass on the cheaper one
        # eps log(4 p) through log1p keeps its digits when epsilon is huge and p is close to 1/4.
        value = min(t, 0.0) - epsilon * math.log1p(math.expm1(-abs(t) / epsilon) / 2)
    cheap = 0.5 / (1 + decay)
    p, q = (cheap, decay * cheap) if t >= 0 else (decay * cheap, cheap)
    half = torch.full((2,), 0.5, dtype=torch.float64)
    plan = torch.tensor([[p, q], [q, p]], dtype=torch.float64)
    cost = torch.tensor([[0.0, t], [t, 0.0]], dtype=torch.float64)
    return _solution(cost, half, half, plan, torch.full_like(half, value), torch.zeros_like(half), epsilon)


def two_points(cost_matrix: Tensor, a: Tensor, b: Tensor, *, epsilon: float) -> DiscreteSolution:
    """Any problem with two sources and two targets, from one quadratic equation.

        P_11 P_22 = k P_12 P_21,   k = exp(-(C_11 + C_22 - C_12 - C_21) / eps)

    has one root with P_12 = a_1 - P_11, P_21 = b_1 - P_11 and every entry positive.

    Args:
        cost_matrix: C, shape (2, 2), units of cost.
        a: Source weights, shape (2,), positive, sum 1.
        b: Target weights, shape (2,), positive, sum 1.
        epsilon: Temperature, 0 < epsilon < inf, units of cost.

    Returns:
        The solution in float64.

    Raises:
        ValueError: epsilon is not inside (0, inf), or the cost differences exceed 700 epsilon: k is then outside
            floating point.

    Example:
        >>> cost = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        >>> solution = two_points(cost, torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5]), epsilon=1.0)
        >>> round(solution.value, 4)
        0.3799
    """
    if not 0 < epsilon < math.inf:
        message = f"`epsilon` must be positive and finite: got {epsilon}. Use the limits of `two_by_two`."
        raise ValueError(message)
    cost, a, b = cost_matrix.double(), a.double(), b.double()
    log_k = float(cost[0, 1] + cost[1, 0] - cost[0, 0] - cost[1, 1]) / epsilon
    if abs(log_k) > 700:
        message = f"Cost differences must stay below 700 epsilon: got {abs(log_k):.0f}. Raise epsilon."
        raise ValueError(message)
    # Number rows and columns so that k <= 1 and P_11 is the smallest entry: then nothing cancels.
    columns = [1, 0] if log_k > 0 else [0, 1]
    rows = [0, 1]
    if float(a[0] + b[columns[0]]) > 1:
        rows, columns = rows[::-1], columns[::-1]
    k, p, q = math.exp(-abs(log_k)), float(a[rows[0]]), float(b[columns[0]])
    rest = max(float(a[rows[1]]) - q, 0.0)
    linear = rest + k * (p + q)
    smallest = 2 * k * p * q / (linear + math.sqrt(linear**2 + 4 * (1 - k) * k * p * q))
    plan = torch.empty(2, 2, dtype=torch.float64)
    ordered = [[smallest, p - smallest], [q - smallest, rest + smallest]]
    plan[torch.tensor(rows)[:, None], torch.tensor(columns)] = torch.tensor(ordered, dtype=torch.float64)
    total = cost + epsilon * torch.log(plan / torch.outer(a, b))  # (2, 2), f_i + g_j
    f = total @ b  # because <b, g> = 0
    return _solution(cost, a, b, plan, f, a @ total - a @ f, epsilon)


def independent(cost_matrix: Tensor, a: Tensor, b: Tensor) -> DiscreteSolution:
    """The limit of infinite temperature: the plan no longer sees the cost.

        P = a x b,   f_i = sum_j C_ij b_j,   g_j = sum_i a_i C_ij - <C, a x b>,   value = <C, a x b>

    The potentials are the limits of the entropic ones, which differ from them by O(1 / epsilon).

    Args:
        cost_matrix: C, shape (N, M), units of cost.
        a: Source weights, shape (N,), sum 1; zeros allowed.
        b: Target weights, shape (M,), sum 1; zeros allowed.

    Returns:
        The solution in float64; entropy_value is -inf unless a and b are both one point.

    Example:
        >>> independent(torch.ones(2, 2), torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).value
        1.0
    """
    return _product(cost_matrix, a, b, math.inf)


def dirac(cost_matrix: Tensor, a: Tensor, b: Tensor, *, epsilon: float) -> DiscreteSolution:
    """All mass at one point of one side: only one plan exists, at every temperature.

        N = 1 or M = 1:   P = a x b,   KL(P | a x b) = 0,   value = <C, a x b>

    Args:
        cost_matrix: C, shape (1, M) or (N, 1), units of cost.
        a: Source weights, shape (N,), sum 1; zeros allowed.
        b: Target weights, shape (M,), sum 1; zeros allowed.
        epsilon: Temperature, 0 <= epsilon <= inf; changes entropy_value only.

    Returns:
        The solution in float64.

    Raises:
        ValueError: Both sides have more than one point.

    Example:
        >>> dirac(torch.tensor([[1.0, 3.0]]), torch.ones(1), torch.tensor([0.5, 0.5]), epsilon=0.1).value
        2.0
    """
    if 1 not in cost_matrix.shape:
        message = f"`cost_matrix` must have one row or column: got {tuple(cost_matrix.shape)}. Use `two_points`."
        raise ValueError(message)
    _check_temperature(epsilon)
    return _product(cost_matrix, a, b, epsilon)


def permutation(cost_matrix: Tensor, sigma: Tensor) -> ExactSolution:
    """The matching i -> sigma_i of N sources to N targets of weight 1/N each.

        P_ij = 1/N if j = sigma_i else 0,   <C, P> = 1/N sum_i C_{i, sigma_i}

    If sigma is optimal, every temperature obeys <C, P> <= OT_eps <= <C, P> + eps log N.

    Args:
        cost_matrix: C, shape (N, N), units of cost.
        sigma: Target index of each source, shape (N,), a permutation. Its optimality is the caller's claim.

    Returns:
        The plan and its cost.

    Example:
        >>> permutation(torch.tensor([[5.0, 1.0], [2.0, 5.0]]), torch.tensor([1, 0])).transport_cost
        1.5
    """
    rows = torch.arange(len(sigma), device=sigma.device)
    plan = torch.zeros_like(cost_matrix)
    plan[rows, sigma] = 1 / len(sigma)
    return ExactSolution(plan, float(cost_matrix[rows, sigma].mean()))


def one_dimensional_plan(x: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Exact plan on the line, optimal for every convex cost of x - y.

        P_ij = |[A_{i-1}, A_i] ∩ [B_{j-1}, B_j]|,   A, B = cumulative weights of the sorted points

    This is the north-west corner rule, written as overlaps of quantile intervals. Time and memory O(N M).

    Args:
        x: Sources, shape (N,), any order.
        y: Targets, shape (M,), any order.
        a: Source weights, shape (N,), non-negative; zeros give zero rows.
        b: Target weights, shape (M,), non-negative, same mass as a.

    Returns:
        Plan of shape (N, M) in the order of the inputs.

    Example:
        >>> half = torch.tensor([0.5, 0.5])
        >>> one_dimensional_plan(torch.tensor([0.0, 1.0]), torch.tensor([3.0, 2.0]), half, half)
        tensor([[0.0000, 0.5000],
                [0.5000, 0.0000]])

    References:
        [Santambrogio2015, theorem 2.9], [PeyreCuturi2019, section 2.6]
    """
    rows, columns = torch.argsort(x), torch.argsort(y)
    edge_a, edge_b = (torch.cat([w.new_zeros(1), w.cumsum(0)]) for w in (a[rows], b[columns]))
    first, last = torch.maximum(edge_a[:-1, None], edge_b[:-1]), torch.minimum(edge_a[1:, None], edge_b[1:])
    overlap = last - first  # (N, M), negative where the intervals do not meet
    plan = torch.zeros_like(overlap)
    plan[rows[:, None], columns] = overlap.clamp(min=0)
    return plan


def one_dimensional_cost(x: Tensor, y: Tensor, a: Tensor, b: Tensor, *, p: float = 2.0) -> float:
    """Exact transport cost on the line for |x - y|^p, p >= 1.

        W_p^p = integral_0^1 |F_x^{-1}(u) - F_y^{-1}(u)|^p du

    Sorts once: time O((N + M) log(N + M)), memory O(N + M). W_p is its p-th root.

    Args:
        x: Sources, shape (N,), any order.
        y: Targets, shape (M,), any order.
        a: Source weights, shape (N,), non-negative.
        b: Target weights, shape (M,), non-negative, same mass as a.
        p: Exponent >= 1, where the cost is convex and the sorted plan optimal.

    Returns:
        The cost, in units of length to the power p times mass.

    Raises:
        ValueError: p < 1; the sorted plan is then not optimal.

    Example:
        >>> half = torch.tensor([0.5, 0.5])
        >>> one_dimensional_cost(torch.tensor([0.0, 1.0]), torch.tensor([3.0, 2.0]), half, half, p=1)
        2.0
    """
    if p < 1:
        message = f"`p` must be at least 1, where the cost is convex: got {p}. Solve a linear programme."
        raise ValueError(message)
    rows, columns = torch.argsort(x), torch.argsort(y)
    end_a, end_b = a[rows].cumsum(0), b[columns].cumsum(0)
    levels = torch.cat([end_a, end_b]).sort().values  # (N + M,), both quantile functions are constant between
    width = torch.diff(levels, prepend=levels.new_zeros(1))
    middle = levels - width / 2
    i = torch.searchsorted(end_a, middle).clamp(max=len(x) - 1)
    j = torch.searchsorted(end_b, middle).clamp(max=len(y) - 1)
    return float((width * (x[rows][i] - y[columns][j]).abs() ** p).sum())


def _product(cost_matrix: Tensor, a: Tensor, b: Tensor, epsilon: float) -> DiscreteSolution:
    cost, a, b = cost_matrix.double(), a.double(), b.double()
    f = cost @ b
    return _solution(cost, a, b, torch.outer(a, b), f, a @ cost - a @ f, epsilon)


def _solution(
    cost: Tensor, a: Tensor, b: Tensor, plan: Tensor, f: Tensor, g: Tensor, epsilon: float
) -> DiscreteSolution:
    value = float(a @ f + b @ g)  # the dual value; its last term vanishes when the masses agree
    entropy = float(torch.special.entr(a).sum() + torch.special.entr(b).sum())
    penalty = epsilon * entropy if entropy > 0 else 0.0  # 0 * inf is 0 here: a Dirac has no entropy to lose
    return DiscreteSolution(plan, value, value - penalty, float((cost * plan).sum()), f, g)


def _check_temperature(epsilon: float) -> None:
    if not epsilon >= 0:
        message = f"`epsilon` must be at least 0: got {epsilon}. Use 0 for exact transport, inf for none."
        raise ValueError(message)
