"""How true an answer is: some of its rows against dense arithmetic in float64."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.inputs import Inputs, inputs_of
from isotherm.geometry import PointCloud

if TYPE_CHECKING:
    from benchmarks.cases import Case

SAMPLE = 32  # rows, and where there are any columns, that are computed again


def error(case: Case, answer: tuple[Tensor, ...]) -> float:
    """Largest error on a sample of rows, relative to the largest exact entry in it.

    Args:
        case: What was computed.
        answer: All that the implementation returned, in the order of the arguments below.

    Returns:
        max |answer - exact| / max |exact|, the worst over all outputs; NaN if one is not finite.
    """
    inputs = inputs_of(case)
    index = torch.linspace(0, case.n - 1, min(SAMPLE, case.n)).long()
    worst = 0.0
    for got, exact in zip(answer, exact_rows(case, inputs, index, answer), strict=True):
        difference = (got[index].double() - exact).abs().max() / exact.abs().max()
        worst = max(worst, float(difference)) if bool(torch.isfinite(difference)) else torch.nan
    return worst


def exact_rows(  # noqa: PLR0911  one return for each kind of output
    case: Case, inputs: Inputs, index: Tensor, answer: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The sampled rows of every output, from the inputs as rounded to the case's dtype."""
    epsilon, costs = inputs.epsilon, inputs.rows(index)
    h, p = inputs.h.double(), inputs.p.double()
    if case.operation == "hard_min":
        return ((costs - h).amin(1),)
    scores = (h - costs) / epsilon  # (n, M)
    raw = -epsilon * scores.logsumexp(1)  # (n,)
    if case.operation in {"softmin", "softmin_cold"}:
        return (raw,)
    if case.operation == "conditional_mean":
        return (scores.softmax(1) @ points(inputs)[1],)
    if case.operation == "step":  # the columns are judged by the row update that was returned
        updated, columns = answer[1].double() + inputs.log_a.double(), inputs.columns(index)
        return raw, raw, -epsilon * ((updated[:, None] - columns) / epsilon).logsumexp(0)
    plan = (scores + p[index, None] / epsilon).exp()
    if case.operation == "plan_cost":
        return ((plan * costs).sum(1),)
    if case.operation == "plan_grad":
        x, y = points(inputs)
        columns = ((p[:, None] + h[index] - inputs.columns(index)) / epsilon).exp()  # (N, n)
        by_x = 2.0 * (plan.sum(1, keepdim=True) * x[index] - plan @ y)
        return by_x, 2.0 * (columns.sum(0)[:, None] * y[index] - columns.T @ x)
    return (plan @ inputs.values[:, : int(case.operation[-1])].double(),)


def points(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Both clouds in float64."""
    assert isinstance(inputs.costs, PointCloud), "this is our bug: a stored matrix has no points"
    return inputs.costs.x.double(), inputs.costs.y.double()
