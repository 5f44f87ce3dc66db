"""How far transports and gradients are from the answer, in dense float64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from benchmarks.workloads.judge import DENSE_PAIRS, judge

if TYPE_CHECKING:
    from torch import Tensor

    from benchmarks.losses.libraries import Step
    from benchmarks.losses.tasks import Training
    from benchmarks.workloads.tasks import Task

REFERENCES = 4  # members of a batch whose gradient is compared
EXACT = 1e-9  # L1 error of the reference
STANDS_FOR = 10.0  # times the tolerance is the gradient error asked of those who do not give their potentials


class Verdict(NamedTuple):
    """L1 error of the worst marginal of all transports, relative L2 error of the gradient."""

    error: float
    gradient_error: float | None
    is_sampled: bool

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {**self._asdict(), "gap": None}


def worst(tasks: list[Training], steps: list[Step]) -> Verdict:
    """The least right of the transports, and the gradient's error."""
    (task,), (step,) = tasks, steps
    wrong = None if task.pairs > 3 * len(task.x) * DENSE_PAIRS else gradient_error(task, step.gradient)
    if step.transports is None:
        return Verdict(float("nan") if wrong is None else wrong / STANDS_FOR, wrong, is_sampled=True)
    verdicts = [
        judge(transport, f, g)
        for k, potentials in enumerate(step.transports())
        for transport, (f, g) in zip(task.transports(k), potentials, strict=True)
    ]
    found = max(verdicts, key=lambda verdict: (verdict.error != verdict.error, verdict.error))
    return Verdict(found.error, wrong, found.is_sampled)


def gradient_error(task: Training, gradient: Tensor) -> float:
    """|found - exact| / |exact| over the first members."""
    exact = torch.stack([reference(task, k) for k in range(min(REFERENCES, len(task.x)))])
    return float((gradient[: len(exact)].double() - exact).norm() / exact.norm())


def reference(task: Training, k: int) -> Tensor:
    """dS / dx = 2 (P_xx x - P_xy y), shape (N, D), for marginals with the error `EXACT`."""
    across, own, _ = task.transports(k)
    return 2.0 * (plan(own) @ task.x[k] - plan(across) @ task.y[k])


def plan(task: Task) -> Tensor:
    """The optimal plan, shape (N, M), by plain alternation, its rows exact."""
    log_a, log_b = task.a.log(), task.b.log()
    scores = -task.costs(slice(None)) / task.epsilon
    g = torch.zeros_like(log_b)
    for _ in range(100_000):
        f = -(scores + g + log_b).logsumexp(1)
        if float(((scores + f[:, None] + g + log_a[:, None]).logsumexp(0).exp() - 1.0).abs() @ task.b) < EXACT:
            break
        g = -(scores + f[:, None] + log_a[:, None]).logsumexp(0)
        if task.x is task.y:  # alternation is slow there, the mean of both is not
            g = 0.5 * (f + g)
    return (scores + f[:, None] + g + log_a[:, None] + log_b).exp()
