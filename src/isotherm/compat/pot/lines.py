"""Exact transport along lines: each coordinate, or many directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isotherm._arrays import to_tensor
from isotherm._checks import check_count, check_values
from isotherm.compat.pot.result import OTResult
from isotherm.divergences import wasserstein
from isotherm.geometry import Euclidean, SquaredEuclidean

if TYPE_CHECKING:
    from isotherm._arrays import Namespace

METHODS = ("1d", "sliced", "max_sliced")
POWERS = {"sqeuclidean": 2, "euclidean": 1, "cityblock": 1}


def line_result(
    clouds: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor], method: str, metric: str, directions: Tensor
) -> OTResult:
    """Costs along lines as the original returns them, in tensors.

        1d          W_p^p of each coordinate
        sliced      (mean over directions of W_p^p)^(1/p)
        max_sliced  (largest of them)^(1/p)

    Args:
        clouds: Points, shapes (N, D) and (M, D).
        weights: Of the points, shapes (N,) and (M,).
        method: One of `METHODS`.
        metric: "sqeuclidean" for p = 2; "euclidean" or "cityblock" for p = 1.
        directions: Unit vectors, shape (D, K); not used by "1d".

    Returns:
        A value, of shape (D,) for "1d", and a log with `projections` and `projected_emds`.

    Raises:
        NotImplementedError: Another metric.
    """
    if metric not in POWERS:
        msg = f"Along lines `metric` must be one of {', '.join(POWERS)}: got {metric!r}. Take one of these."
        raise NotImplementedError(msg)
    if method == "1d":
        costs = _along(clouds, weights, POWERS[metric])
        return OTResult(value=costs, value_linear=costs)
    x, y = (cloud @ directions for cloud in clouds)
    costs, p = _along((x, y), weights, POWERS[metric]), POWERS[metric]
    value = (costs.mean() if method == "sliced" else costs.max()) ** (1.0 / p)
    return OTResult(value=value, value_linear=value, log={"projections": directions, "projected_emds": costs})


def line_directions(projections: Any, count: int, seed: Any, like: Tensor) -> Tensor:
    """Directions as they are given, or drawn.

    Args:
        projections: Shape (D, K), or None.
        count: How many to draw.
        seed: A number, a `numpy.random.RandomState`, or None for fresh ones.
        like: Points whose dimension, dtype and device they have.

    Returns:
        Unit vectors, shape (D, K), where they are drawn.
    """
    if projections is not None:
        given = to_tensor(projections, "projections", dtype=like.dtype, device=like.device)
        return check_values(given, like.shape[1], "projections")
    source = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    drawn = torch.from_numpy(source.randn(like.shape[1], check_count(count, "n_projections")))
    return (drawn / drawn.norm(dim=0)).to(like)


def exported(result: OTResult, namespace: Namespace) -> OTResult:
    """Values and log in the library of the user's arrays.

    Args:
        result: In tensors.
        namespace: The library.

    Returns:
        The same, exported.
    """
    log = None if result.log is None else {name: namespace.export(part) for name, part in result.log.items()}
    value = namespace.export(result.value)
    return OTResult(value=value, value_linear=value, log=log)


def _along(clouds: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor], p: int) -> Tensor:
    """W_p^p along each of K columns, shape (K,)."""
    lines = [cloud.T[..., None] for cloud in clouds]  # (K, N, 1), (K, M, 1)
    a, b = (w.expand(cloud.shape[1], -1) for w, cloud in zip(weights, clouds, strict=True))
    return wasserstein(lines[0], lines[1], a, b, cost=SquaredEuclidean() if p == 2 else Euclidean())
