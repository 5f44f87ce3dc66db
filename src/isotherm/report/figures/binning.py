"""A plan of any size as a small picture, without forming the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from isotherm.kernels import BLOCK_ENTRIES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from isotherm.coupling import AbstractCoupling
    from isotherm.report.figures.ordering import PlanOrder

MOST_BINS = 256  # per side
MOST_PAIRS = 50_000_000  # above, only a share of the sources is looked at


class BinnedPlan(NamedTuple):
    """Mass of a plan in bins of neighbouring points.

    Attributes:
        mass: Shape (R, S), sums to one.
        shape: Numbers of sources and targets (N, M) that stand behind the bins.
        every: Each how-many-th source was looked at; 1 is all of them.
    """

    mass: NDArray[np.float64]
    shape: tuple[int, int]
    every: int

    def relative_to_independence(self) -> NDArray[np.float64]:
        """Mass of each bin over what independent sides would put there, shape (R, S); NaN where that is nothing.

        P_RS / (P_R P_S): 1 is independence, 0 no exchange at all.
        """
        expected = np.outer(self.mass.sum(1), self.mass.sum(0))
        return np.divide(self.mass, expected, out=np.full_like(expected, np.nan), where=expected > 0)


def binned_plan(coupling: AbstractCoupling, order: PlanOrder, bins: int = MOST_BINS) -> BinnedPlan:
    """Sum the plan over bins of equally many neighbouring points, a block of rows at a time.

    Time O(N M), about that of one iteration, memory O(bins^2) beyond a block. Above 5 x 10^7 pairs an evenly spread
    share of the sources stands for all of them.

    Args:
        coupling: The plan P, shape (N, M).
        order: The order of both sides.
        bins: Most bins per side; a side with fewer points has one bin per point.

    Returns:
        Masses of shape (R, S), each side min(bins, number of points).
    """
    sources, targets = coupling.shape
    every = max(1, -(-sources * targets // MOST_PAIRS))
    ranks = torch.arange(every // 2, sources, every)
    rows = min(bins, len(ranks))
    row_bins = torch.arange(len(ranks)) * rows // len(ranks)  # bin of each row looked at
    columns = min(bins, targets)
    column_bins = torch.empty(targets, dtype=torch.long)
    column_bins[order.targets] = torch.arange(targets) * columns // targets
    column_bins = column_bins.to(coupling.device)
    total = torch.zeros(rows, columns, dtype=torch.float64)
    step = max(1, BLOCK_ENTRIES // targets)
    for chosen, destination in zip(order.sources[ranks].split(step), row_bins.split(step), strict=True):
        plan = coupling.plan_rows(chosen.to(coupling.device)).detach()  # (n, M)
        folded = _sum_columns(plan, column_bins, columns)
        total.index_add_(0, destination, folded.cpu().double())
    mass = total.numpy()
    if mass.sum() > 0:
        mass = mass / mass.sum()
    return BinnedPlan(mass, (sources, targets), every)


def _sum_columns(plan: Tensor, column_bins: Tensor, columns: int) -> Tensor:
    """Columns of each bin added up, shapes (n, M) to (n, S)."""
    out = torch.zeros(plan.shape[0], columns, dtype=plan.dtype, device=plan.device)
    return out.index_add_(1, column_bins, plan)
