"""POT's entropic transport between points: `empirical_sinkhorn`, `empirical_sinkhorn2`, `empirical_sinkhorn_divergence`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from isotherm.compat.pot.arrays import ArrayKind, kind_of
from isotherm.compat.pot.entropic import Entropic, Stop, balanced_term, potentials_of_scalings, solve_terms
from isotherm.compat.pot.sinkhorn import sinkhorn, sinkhorn2
from isotherm.compat.pot.utils import COSTS, dist, pairwise
from isotherm.geometry import PointCloud

if TYPE_CHECKING:
    from isotherm._arrays import ArrayLike


@dataclass(frozen=True, eq=False)
class LazyPlan:
    """A plan between points whose entries are computed where they are asked for.

    Attributes:
        shape: (N, M).
    """

    shape: tuple[int, int]
    _result: Entropic
    _kind: ArrayKind

    def __getitem__(self, key: Any) -> Any:
        """Rows, or rows and columns; a whole number keeps its axis, as in POT."""
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        rows, columns = (slice(k, k + 1 or None) if isinstance(k, int) else k for k in (rows, columns))
        log_u, log_v = self._result.log_scalings
        term = self._result.term
        costs = term.geometry.block(rows)[:, columns]
        return self._kind.export((log_u[rows, None] + log_v[columns] - costs / term.epsilon).exp())


def empirical_sinkhorn(
    X_s: ArrayLike,
    X_t: ArrayLike,
    reg: Any,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    metric: str = "sqeuclidean",
    numIterMax: int = 10000,
    stopThr: float = 1e-9,
    isLazy: bool = False,
    batchSize: int | tuple[int, int] = 100,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """Entropic transport between points, as `ot.bregman.empirical_sinkhorn`.

    Args:
        X_s: Sources, shape (N, D).
        X_t: Targets, shape (M, D).
        reg: Temperature, units of cost.
        a: Weights of the sources, shape (N,); equal when left out.
        b: Weights of the targets, shape (M,).
        metric: As for `dist`.
        numIterMax: Most updates of both scalings.
        stopThr: L1 distance of the marginals at which to stop.
        isLazy: Whether costs are computed pass by pass, in memory O(N + M), and log scalings are returned.
        batchSize: Accepted, without effect: passes choose their own blocks.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning.
        warmstart: log u and log v to start from.
        **kwargs: As for `sinkhorn`.

    Returns:
        The plan, shape (N, M); lazily log u (N,) and log v (M,) instead, P = exp(log u_i + log v_j - C_ij / reg), and
        with `log` a dictionary that holds `u`, `v`, `err`, `niter` and the `lazy_plan`, which is sliced like an array.

    Raises:
        ValueError: Masses that differ; a batch size that is no number.

    Example:
        >>> empirical_sinkhorn([[0.0], [1.0]], [[0.0], [1.0]], 1.0).round(3)
        array([[0.366, 0.134],
               [0.134, 0.366]])
    """
    if not isLazy:
        costs = dist(X_s, X_t, metric=metric)
        a, b = (() if weights is None else weights for weights in (a, b))
        return sinkhorn(
            a, b, costs, reg, numItermax=numIterMax, stopThr=stopThr, verbose=verbose, log=log, warn=warn,
            warmstart=warmstart, **kwargs,
        )  # fmt: skip
    stop = Stop(threshold=stopThr, iterations=numIterMax, warn=warn, verbose=verbose)
    kind, result = _lazily(X_s, X_t, reg, a, b, metric, batchSize, stop, warmstart)
    log_u, log_v = (kind.export(side) for side in result.log_scalings)
    return (log_u, log_v, _entries(kind, result)) if log else (log_u, log_v)


def empirical_sinkhorn2(
    X_s: ArrayLike,
    X_t: ArrayLike,
    reg: Any,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    metric: str = "sqeuclidean",
    numIterMax: int = 10000,
    stopThr: float = 1e-9,
    isLazy: bool = False,
    batchSize: int | tuple[int, int] = 100,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """Cost of the entropic plan between points, <P, C>, as `ot.bregman.empirical_sinkhorn2`.

    Args:
        X_s: Sources, shape (N, D); see `empirical_sinkhorn` for all arguments.
        X_t: Targets, shape (M, D).
        reg: Temperature, units of cost.
        a: Weights of the sources.
        b: Weights of the targets.
        metric: As for `dist`.
        numIterMax: Most updates of both scalings.
        stopThr: L1 distance of the marginals at which to stop.
        isLazy: Whether costs are computed pass by pass, in memory O(N + M); gradients reach the points too.
        batchSize: Accepted, without effect.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning.
        warmstart: log u and log v to start from.
        **kwargs: As for `sinkhorn2`.

    Returns:
        A scalar; with `log` a pair.

    Example:
        >>> round(float(empirical_sinkhorn2([[0.0], [1.0]], [[0.0], [1.0]], 1.0)), 6)
        0.268941
    """
    if not isLazy:
        costs = dist(X_s, X_t, metric=metric)
        a, b = (() if weights is None else weights for weights in (a, b))
        return sinkhorn2(
            a, b, costs, reg, numItermax=numIterMax, stopThr=stopThr, verbose=verbose, log=log, warn=warn,
            warmstart=warmstart, **kwargs,
        )  # fmt: skip
    stop = Stop(threshold=stopThr, iterations=numIterMax, warn=warn, verbose=verbose)
    kind, result = _lazily(X_s, X_t, reg, a, b, metric, batchSize, stop, warmstart)
    cost = kind.export(result.term.transport_cost(result.f, result.g))
    return (cost, _entries(kind, result)) if log else cost


def empirical_sinkhorn_divergence(
    X_s: ArrayLike,
    X_t: ArrayLike,
    reg: Any,
    a: ArrayLike | None = None,
    b: ArrayLike | None = None,
    metric: str = "sqeuclidean",
    numIterMax: int = 10000,
    stopThr: float = 1e-9,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    warmstart: Any = None,
    **kwargs: Any,
) -> Any:
    """Debiased cost of the entropic plan, as `ot.bregman.empirical_sinkhorn_divergence`.

        max(0, <P_ab, C> - <P_aa, C> / 2 - <P_bb, C> / 2)

    This difference of costs, unlike that of values (`isotherm.sinkhorn_divergence`), can be negative, and POT clips it.

    Args:
        X_s: Sources, shape (N, D); see `empirical_sinkhorn` for all arguments.
        X_t: Targets, shape (M, D).
        reg: Temperature, units of cost.
        a: Weights of the sources.
        b: Weights of the targets.
        metric: As for `dist`.
        numIterMax: Most updates of both scalings.
        stopThr: L1 distance of the marginals at which to stop.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning.
        warmstart: log u and log v to start from.
        **kwargs: As for `sinkhorn2`.

    Returns:
        A scalar; with `log` a pair, the dictionary holding `sinkhorn_loss_ab`, `_a`, `_b` and `log_sinkhorn_ab`, `_a`, `_b`.

    Example:
        >>> float(empirical_sinkhorn_divergence([[0.0], [1.0]], [[0.0], [1.0]], 1.0))
        0.0
    """
    u, v = (None, None) if warmstart is None else warmstart
    sides = {
        "ab": (X_s, X_t, a, b, warmstart),
        "a": (X_s, X_s, a, a, None if u is None else (u, u)),
        "b": (X_t, X_t, b, b, None if v is None else (v, v)),
    }
    losses, logs = {}, {}
    for name, (x, y, one, other, start) in sides.items():
        losses[name], logs[name] = empirical_sinkhorn2(
            x, y, reg, one, other, metric=metric, numIterMax=numIterMax, stopThr=stopThr, verbose=verbose, log=True,
            warn=warn, warmstart=start, **kwargs,
        )  # fmt: skip
    kind = kind_of(X_s, X_t)
    difference = losses["ab"] - 0.5 * (losses["a"] + losses["b"])
    clipped = kind.export(kind.tensor(difference, "difference").clamp(min=0.0))
    if not log:
        return clipped
    entries = {f"sinkhorn_loss_{name}": loss for name, loss in losses.items()}
    return clipped, entries | {f"log_sinkhorn_{name}": found for name, found in logs.items()}


def _lazily(
    X_s: ArrayLike,
    X_t: ArrayLike,
    reg: Any,
    a: ArrayLike | None,
    b: ArrayLike | None,
    metric: str,
    batch_size: Any,
    stop: Stop,
    warmstart: Any,
) -> tuple[ArrayKind, Entropic]:
    """The solved problem between points, whose costs are never stored."""
    sizes = batch_size if isinstance(batch_size, tuple) else (batch_size, batch_size)
    if len(sizes) != 2 or not all(isinstance(size, int) for size in sizes):
        msg = f"Batch size must be in integer or a tuple of two integers: got {batch_size!r}. Leave it out; it has no effect."
        raise ValueError(msg)
    kind = kind_of(X_s, X_t, a, b)
    cost = COSTS.get(metric, lambda x, y: pairwise(x, y, metric))
    geometry = PointCloud(kind.tensor(X_s, "X_s"), kind.tensor(X_t, "X_t"), cost)
    a, b = kind.weights(a, "a", geometry.shape[0]), kind.weights(b, "b", geometry.shape[1])
    term = balanced_term(geometry, a, b, reg if isinstance(reg, Tensor) else float(reg))
    return kind, solve_terms([term], stop, [potentials_of_scalings(term, warmstart)])[0]


def _entries(kind: ArrayKind, result: Entropic) -> dict[str, Any]:
    log_u, log_v = (kind.export(side) for side in result.log_scalings)
    return {
        "u": log_u,
        "v": log_v,
        "err": result.errors,
        "niter": result.solution.iterations,
        "lazy_plan": LazyPlan(result.term.geometry.shape, result, kind),
        "solution": result.solution,
    }
