"""GeomLoss's names for costs and kernels."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from torch import Tensor

from isotherm.geometry import AbstractCost, Euclidean, HalfSquaredEuclidean, SquaredEuclidean, as_cost

Pairwise = Callable[[Tensor, Tensor], Tensor]

BY_POWER: dict[int, AbstractCost] = {1: Euclidean(), 2: HalfSquaredEuclidean()}
BY_FORMULA: dict[str, AbstractCost] = {  # KeOps formulas, without their spaces
    "Norm2(X-Y)": Euclidean(),
    "(SqDist(X,Y)/IntCst(2))": HalfSquaredEuclidean(),
    "SqDist(X,Y)/IntCst(2)": HalfSquaredEuclidean(),
    "(SqDist(X,Y)/2)": HalfSquaredEuclidean(),
    "SqDist(X,Y)": SquaredEuclidean(),
}


def ground_cost(p: float, cost: Any) -> AbstractCost:
    """The cost between two points.

    Args:
        p: 1 for |x - y|, 2 for |x - y|^2 / 2.
        cost: None; a function of clouds (B, N, D) and (B, M, D) with result (B, N, M); a KeOps formula in X and Y, one of
            `BY_FORMULA`; or a pair of a formula and a function.

    Returns:
        A cost.

    Raises:
        ValueError: Another exponent or formula.
        TypeError: Neither a formula nor a function.
    """
    if isinstance(cost, tuple | list) and len(cost) == 2:
        cost = cost[1]
    if cost is None:
        if p not in BY_POWER:
            msg = f"`p` must be 1 or 2: got {p!r}. Pass a function as `cost` for another cost."
            raise ValueError(msg)
        return BY_POWER[int(p)]
    if isinstance(cost, str):
        formula = "".join(cost.split())
        if formula not in BY_FORMULA:
            msg = f"`cost` must be one of {', '.join(BY_FORMULA)}: got {cost!r}. Pass a function of (x, y) instead: formulas are not compiled."
            raise ValueError(msg)
        return BY_FORMULA[formula]
    if callable(cost):
        return as_cost(_one_by_one(cast(Pairwise, cost)))
    msg = f"`cost` must be a function of two batches of clouds, a formula, or None: got {cost!r}. Pass one of these."
    raise TypeError(msg)


def loss_kernel(loss: str, kernel: Callable[..., Tensor] | None, blur: float) -> Pairwise:
    """The kernel of a loss that is a norm.

    Args:
        loss: "gaussian", exp(-|x - y|^2 / (2 blur^2)); "laplacian", exp(-|x - y| / blur); or "energy", -|x - y|.
        kernel: In its place, a function of (x, y, blur=..., use_keops=..., ranges=...) on batches of clouds.
        blur: Length.

    Returns:
        A function of clouds (n, D) and (m, D) with result (n, m).
    """
    if kernel is not None:
        return _one_by_one(partial(kernel, blur=blur, use_keops=False, ranges=None))
    return {
        "gaussian": lambda x, y: (-HalfSquaredEuclidean().pairwise(x / blur, y / blur)).exp(),
        "laplacian": lambda x, y: (-Euclidean().pairwise(x / blur, y / blur)).exp(),
        "energy": lambda x, y: -Euclidean().pairwise(x, y),
    }[loss]


def _one_by_one(function: Callable[[Tensor, Tensor], Tensor]) -> Pairwise:
    """A function of batches of clouds as a function of two clouds."""
    return lambda x, y: function(x[None], y[None])[0]
