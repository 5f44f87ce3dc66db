"""The best constant to move from one potential to the other in unbalanced problems."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from isotherm.problem import Problem


def optimal_translation(problem: Problem, f: Tensor, g: Tensor) -> Tensor:
    """The c that maximises the unbalanced dual at (f + c, g - c).

        c = log(<a, exp(-f / rho_a)> / <b, exp(-g / rho_b)>) / (1 / rho_a + 1 / rho_b)

    The plan does not see c, and plain alternation finds it at the slow rate epsilon / rho. In balanced problems it is
    free, and zero is returned. Time O(N + M).

    Args:
        problem: Weights and prices of the marginals.
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,), units of cost.

    Returns:
        A scalar, units of cost.

    References:
        [Sejourne2022, proposition 4]
    """
    if problem.is_balanced:
        return torch.zeros((), dtype=f.dtype, device=f.device)
    softness = 1.0 / problem.rho_a + 1.0 / problem.rho_b
    log_a, log_b = (_log_mass(*side) for side in ((problem.a, f, problem.rho_a), (problem.b, g, problem.rho_b)))
    return (log_a - log_b) / softness


def _log_mass(weights: Tensor, potential: Tensor, rho: float) -> Tensor:
    """log <w, exp(-potential / rho)>; the constant side of a balanced marginal is its mass."""
    return weights.sum().log() if math.isinf(rho) else torch.logsumexp(weights.log() - potential / rho, 0)
