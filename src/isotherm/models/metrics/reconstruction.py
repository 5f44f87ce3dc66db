"""What is lost on the way through the code and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotherm._checks import check_count
from isotherm.models.metrics.inputs import both_vectors


def reconstruction_error(x: Any, reconstructed: Any) -> float:
    """Mean squared distance between observations and their reconstructions.

        mean_i |x_i - A(e(x_i))|^2

    Args:
        x: Observations, shape (n, *shape).
        reconstructed: In the same order.

    Returns:
        In squared units of the observations, summed over entries as in the models' costs.

    Raises:
        ValueError: Different numbers of observations.

    Example:
        >>> reconstruction_error([[0.0, 0.0]], [[3.0, 4.0]])
        25.0
    """
    first, second = both_vectors(x, reconstructed)
    if len(first) != len(second):
        msg = f"`reconstructed` must hold one for each observation, {len(first)}: got {len(second)}. Pass them in the same order."
        raise ValueError(msg)
    return float((first - second).square().sum(1).mean())


def principal_error(train: Any, test: Any, latent: int) -> float:
    """Reconstruction error of held-out observations from their first principal components: what linear codes lose.

    Args:
        train: Observations that mean and axes are taken from, shape (n, *shape).
        test: Held out, shape (m, *shape).
        latent: How many components; as many as there are entries, or more, lose nothing.

    Returns:
        In squared units of the observations.

    Example:
        >>> principal_error([[-1.0, 0.0], [1.0, 0.0]], [[5.0, 2.0]], 1)
        4.0

    References:
        [TippingBishop1999]
    """
    check_count(latent, "latent")
    learnt, held = both_vectors(train, test)
    if latent >= learnt.shape[1]:
        return 0.0
    mean: Tensor = learnt.mean(0)
    axes = torch.linalg.svd(learnt - mean, full_matrices=False).Vh[:latent]  # (latent, d)
    return reconstruction_error(held, mean + (held - mean) @ axes.T @ axes)
