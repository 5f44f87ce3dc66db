"""Log-sum along one axis in plain torch: the definition every faster version is tested against."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isotherm.kernels.axes import by_lines
from isotherm.kernels.softmin import log_sum_exp

if TYPE_CHECKING:
    from torch import Tensor


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def axis_log_sum(h: Tensor, costs: Tensor, *, epsilon: float, weights: Tensor | None = None) -> Tensor:
    """epsilon log sum_j w_ij exp((h_ojk - C_ij) / epsilon).

    Definition and arguments: `isotherm.kernels.axis_log_sum`.
    """
    log_kernel = costs / -epsilon if weights is None else weights.log() - costs / epsilon  # (n, m)
    return epsilon * by_lines(h / epsilon, costs, lambda lines: log_sum_exp(lines[:, None, :] + log_kernel))
