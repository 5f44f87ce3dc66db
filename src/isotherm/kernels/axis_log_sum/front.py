"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.axes import AxisCosts
from isotherm.kernels.dispatch import choose

from . import cpu, reference


def axis_log_sum(h: Tensor, costs: Tensor, *, epsilon: float, weights: Tensor | None = None) -> Tensor:
    """Smoothed maximum of potential minus cost along the middle axis of a tensor.

        out_oik = epsilon log sum_j w_ij exp((h_ojk - C_ij) / epsilon)

    One axis after the other, this is minus the softmin over a grid with a separable cost. Views of an image as
    (outer, m, inner) need no transposing copy.

    The compiled kernel splits the exponents of a tile of rows and columns into a part for each column, a part for each
    row and a remainder that all lines share, C_ij - C_i0j - C_ij0 + C_i0j0 for the tile's middle (i0, j0): a matrix
    product, with one exponential for each entry of the tile's edges. Rows of a tile are halved until the remainder is
    below 47 (float32) or 200 (float64) powers of two, which excludes over- and underflow whatever h is; down to one row,
    the exponent form with one exponential for each pair. Tiles too far below the largest exponent are left out. Beyond
    rounding the relative error is below m 2^-32 (float32) or m 2^-64 (float64); with weights, that share of max(w) times
    the sum without weights. The result does not depend on the number of threads.

    Args:
        h: Potential, shape (outer, m, inner), units of cost; -inf marks no mass.
        costs: C, shape (n, m), finite, units of cost.
        epsilon: Temperature > 0, units of cost.
        weights: Factors w, shape (n, m), non-negative; all one when left out.

    Returns:
        Shape (outer, n, inner), units of cost; -inf where every term vanishes. Time O(outer n m inner), memory that
        of the tensors. Differentiable in h, costs and weights, which plain torch does.

    References:
        [Solomon2015, section 4], [Schmitzer2019, section 3.3]

    Example:
        >>> import torch
        >>> axis_log_sum(torch.zeros(1, 3, 1), torch.zeros(2, 3), epsilon=1.0).flatten()  # log 3
        tensor([1.0986, 1.0986])
    """
    backend = choose((cpu, reference), AxisCosts(costs), h, weights)
    return backend.axis_log_sum(h, costs, epsilon=epsilon, weights=weights)
