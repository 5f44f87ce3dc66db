"""POT's `dist` and `unif`: costs between points, equal weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, to_tensor
from isotherm._checks import check_choice, check_points, check_same_features
from isotherm._optional import require
from isotherm.compat.pot.arrays import kind_of
from isotherm.geometry import AbstractCost, Cosine, Euclidean, Manhattan, SquaredEuclidean

COSTS: dict[str, AbstractCost] = {
    "sqeuclidean": SquaredEuclidean(),
    "euclidean": Euclidean(),
    "cityblock": Manhattan(),
    "cosine": Cosine(),
}  # POT's names of costs that have a formula between points


def unif(n: int, type_as: ArrayLike | None = None) -> Any:
    """Equal weights that sum to one, shape (n,), in the library and dtype of `type_as`."""
    kind = kind_of(type_as)
    return kind.export(kind.weights(None, "weights", n))


def dist(
    x1: ArrayLike,
    x2: ArrayLike | None = None,
    metric: Any = "sqeuclidean",
    p: float = 2,
    w: ArrayLike | None = None,
    backend: str = "auto",
    nx: Any = None,
    use_tensor: bool = False,
) -> Any:
    """Costs between points, shape (N, M), as `ot.dist`.

    Args:
        x1: Sources, shape (N, D).
        x2: Targets, shape (M, D); the sources when left out.
        metric: "sqeuclidean", "euclidean", "cityblock", "minkowski", "cosine", "correlation"; with NumPy anything that
            SciPy's cdist takes.
        p: Exponent of "minkowski".
        w: Weight of each feature in "minkowski", shape (D,); with NumPy in what SciPy weighs.
        backend: "scipy" to insist on it.
        nx: Accepted, without effect.
        use_tensor: Accepted, without effect.

    Returns:
        The costs; differentiable with torch, with gradient zero at coincident points.

    Raises:
        NotImplementedError: A metric that only SciPy has, with tensors.

    Example:
        >>> dist([[0.0, 0.0]], [[3.0, 4.0]])
        array([[25.]])
    """
    del nx, use_tensor
    kind = kind_of(x1, x2)
    x2 = x1 if x2 is None else x2
    if backend == "scipy" or metric not in (*COSTS, "minkowski", "correlation"):
        return _scipy(x1, x2, metric, p, w, backend)
    x, y = check_points(kind.tensor(x1, "x1"), "x1"), check_points(kind.tensor(x2, "x2"), "x2")
    check_same_features(x, y, ("x1", "x2"))
    weights = None if w is None else kind.tensor(w, "w")
    costs = pairwise(x, y, metric, p, weights)
    if x2 is x1 and metric == "sqeuclidean":  # from inner products, where a point's distance to itself is rounding
        costs = costs * (1.0 - torch.eye(len(x), dtype=costs.dtype, device=costs.device))
    return kind.export(costs)


def pairwise(x: Tensor, y: Tensor, metric: str, p: float = 2, w: Tensor | None = None) -> Tensor:
    """Costs between tensors, shape (N, M).

    Args:
        x: Sources, shape (N, D).
        y: Targets, shape (M, D).
        metric: One of those that `dist` knows without SciPy.
        p: Exponent of "minkowski".
        w: Weight of each feature there, shape (D,).

    Returns:
        The costs.
    """
    if metric in COSTS:
        cost = COSTS[metric]
        middle = torch.cat([x, y]).detach().mean(0) if cost.is_translation_invariant else 0.0  # fewer digits cancel
        return cost.pairwise(x - middle, y - middle)
    check_choice(metric, "metric", (*COSTS, "minkowski", "correlation"))
    if metric == "correlation":
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        return Cosine().pairwise(x, y)
    scale = 1.0 if w is None else w ** (1.0 / p)
    return torch.cdist(x * scale, y * scale, p=float(p))


def _scipy(x1: ArrayLike, x2: ArrayLike, metric: Any, p: float, w: ArrayLike | None, backend: str) -> Any:
    """What only SciPy knows, for NumPy; for tensors too where it is asked for by name."""
    kind = kind_of(x1, x2)
    if kind.namespace is Namespace.TORCH and backend != "scipy":
        msg = f"`metric` {metric!r} is SciPy's alone: got tensors. Use one of {', '.join(COSTS)}, minkowski, correlation, or pass a function of your own to isotherm.solve."
        raise NotImplementedError(msg)
    distance = require("scipy.spatial.distance", extra="exact", why="compute costs by SciPy's names")
    options: dict[str, Any] = {} if w is None else {"w": w}
    if isinstance(metric, str) and metric.endswith("minkowski"):
        options["p"] = p
    x, y = (to_tensor(points, name).detach().cpu().numpy() for points, name in ((x1, "x1"), (x2, "x2")))
    return kind.export(torch.from_numpy(distance.cdist(x, y, metric=metric, **options)).to(kind.device))
