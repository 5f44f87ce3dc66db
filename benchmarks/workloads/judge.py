"""How far potentials are from the answer, in dense float64: no formula is shared with a library under test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from benchmarks.workloads.tasks import Task

BLOCK = 1 << 22  # pairs at a time
DENSE_PAIRS = 5e8  # pairs up to which all of them are visited, some four times
SAMPLE = 500  # rows and columns visited otherwise


class Verdict(NamedTuple):
    """L1 errors of both marginals per unit of mass, relative gap between the bounds, and how many rows were seen."""

    row_error: float
    column_error: float
    gap: float | None
    is_sampled: bool

    @property
    def error(self) -> float:
        """The larger error."""
        return max(self.row_error, self.column_error)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {"error": self.error, "gap": self.gap, "is_sampled": self.is_sampled}


def judge(task: Task, f: Tensor, g: Tensor) -> Verdict:
    """Recompute the plan a_i b_j exp((f_i + g_j - C_ij) / epsilon) and compare its marginals with the optimal ones.

    Args:
        task: The problem.
        f: Potential of the sources, shape (N,), in the convention above.
        g: Potential of the targets, shape (M,).

    Returns:
        Errors and gap; errors from `SAMPLE` random rows and columns, and no gap, where there are too many pairs.
    """
    f, g = f.double(), g.double()
    f, g = (torch.where(w > 0, p, 0.0) for w, p in ((task.a, f), (task.b, g)))
    if task.pairs > DENSE_PAIRS:
        generator = torch.Generator().manual_seed(0)
        row_error = sampled_error(task, f, g, generator)
        column_error = sampled_error(task.transpose(), g, f, generator)
        return Verdict(row_error, column_error, None, is_sampled=True)
    columns, row_miss = torch.zeros_like(task.b), 0.0
    for rows in blocks(task):
        plan = entries(task, rows, f, g)
        columns += plan.sum(0)
        row_miss += float((plan.sum(1) - wanted(task.a[rows], f[rows], task.rho_a)).abs().sum())
    column_want = wanted(task.b, g, task.rho_b)
    row_error = row_miss / float(wanted(task.a, f, task.rho_a).sum())
    column_error = float((columns - column_want).abs().sum() / column_want.sum())
    gap = relative_gap(task, g) if task.is_balanced else None
    return Verdict(row_error, column_error, gap, is_sampled=False)


def wanted(weights: Tensor, potential: Tensor, rho: float) -> Tensor:
    """The marginal that optimal potentials have: the weights, times exp(-f / rho) where missing them has a price."""
    return weights * (-potential / rho).exp()


def blocks(task: Task) -> Iterator[slice]:
    """Rows, some at a time."""
    n, m = task.shape
    step = max(1, BLOCK // m)
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def entries(task: Task, rows: slice | Tensor, f: Tensor, g: Tensor) -> Tensor:
    """Rows of the plan."""
    scores = (f[rows, None] + g - task.costs(rows)) / task.epsilon
    return task.a[rows, None] * scores.exp_() * task.b


def sampled_error(task: Task, f: Tensor, g: Tensor, generator: torch.Generator) -> float:
    """L1 error of the source marginal from random rows, each as likely as it has mass; unbiased, not a bound."""
    rows = torch.multinomial(task.a, SAMPLE, replacement=True, generator=generator)
    want = wanted(task.a[rows], f[rows], task.rho_a)
    found = torch.cat([entries(task, part, f, g).sum(1) for part in rows.split(max(1, BLOCK // len(task.b)))])
    total = wanted(task.a, f, task.rho_a).sum() / task.a.sum()
    return float(((found - want).abs() / task.a[rows]).mean() / total)


def relative_gap(task: Task, g: Tensor) -> float:
    """(upper - lower) / |lower| of the entropic value of a balanced problem.

    Lower: the dual after one exact update of the sources. Upper: the objective of that plan with columns scaled down
    to their weights and the missing mass added as a product, entry by entry.
    """
    f = torch.empty_like(task.a)
    columns = torch.zeros_like(task.b)
    for rows in blocks(task):
        scores = (g - task.costs(rows)) / task.epsilon + task.b.log()
        f[rows] = -task.epsilon * scores.logsumexp(1)
        columns += entries(task, rows, f, g).sum(0)
    lower = float(task.a @ f + task.b @ g)
    shrink = torch.where(columns > 0, (task.b / columns).clamp(max=1.0), 0.0)
    missing_columns = task.b - shrink * columns
    missing_rows = torch.cat([task.a[rows] - entries(task, rows, f, g) @ shrink for rows in blocks(task)])
    missing = missing_rows.sum()
    upper = 0.0
    for rows in blocks(task):
        plan = entries(task, rows, f, g) * shrink
        if missing > 0:
            plan += missing_rows[rows, None] * (missing_columns / missing)
        reference = task.a[rows, None] * task.b
        relative = torch.where(plan > 0, plan * (plan / reference).log(), 0.0) - plan + reference
        upper += float((plan * task.costs(rows)).sum() + task.epsilon * relative.sum())
    return (upper - lower) / abs(lower)
