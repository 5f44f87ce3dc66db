"""How far one crowd has to walk to become the other."""

from __future__ import annotations

import math
from typing import Any

from isotherm.divergences import wasserstein
from isotherm.models.metrics.inputs import both_vectors


def transport_distance(x: Any, y: Any) -> float:
    """Exact W2 between two samples.

        W_2 = sqrt( min_{P in U(1/n, 1/m)} sum_ij P_ij |x_i - y_j|^2 )

    Two samples of one law are not at distance zero: the floor falls like n^(-1/d) or slower. Compare only numbers with
    the same n and m, beside that floor. Needs isotherm[exact]; O(n^3) in the worst case, in memory O(n m).

    Args:
        x: Observations, shape (n, *shape).
        y: Others, shape (m, *shape).

    Returns:
        In units of the observations.

    Example:
        >>> transport_distance([[0.0], [1.0]], [[4.0], [3.0]])
        3.0

    References:
        [PeyreCuturi2019, chapter 2]
    """
    return math.sqrt(max(float(wasserstein(*both_vectors(x, y))), 0.0))
