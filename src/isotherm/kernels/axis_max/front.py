"""The public face of this reduction: documents it, and lets the fastest backend that can do it."""

from torch import Tensor

from isotherm.kernels.axes import AxisCosts
from isotherm.kernels.dispatch import choose

from . import cpu, reference


def axis_max(h: Tensor, costs: Tensor) -> Tensor:
    """Largest difference of potential and cost along the middle axis of a tensor.

        out_oik = max_j h_ojk - C_ij

    Args:
        h: Potential, shape (outer, m, inner), units of cost; -inf marks no mass.
        costs: C, shape (n, m), finite, units of cost.

    Returns:
        Shape (outer, n, inner), units of cost; -inf where every h is -inf. Time O(outer n m inner).

    Example:
        >>> import torch
        >>> axis_max(torch.tensor([0.0, 2.0]).reshape(1, 2, 1), torch.tensor([[0.0, 1.0]])).flatten()
        tensor([1.])
    """
    return choose((cpu, reference), AxisCosts(costs), h).axis_max(h, costs)
