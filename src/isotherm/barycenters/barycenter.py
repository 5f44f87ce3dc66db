"""The front door."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, to_tensor
from isotherm._checks import check_choice, check_count, check_epsilon, check_points, check_positive, check_warm
from isotherm._status import ConvergenceWarning
from isotherm.barycenters.fixed import BregmanIteration, iterate
from isotherm.barycenters.free import FreeSupport, move
from isotherm.barycenters.measures import on_grid, on_points
from isotherm.barycenters.result import Barycenter
from isotherm.barycenters.stop import Stop
from isotherm.geometry import AbstractCost, AbstractGeometry, Grid, PointCloud
from isotherm.solvers import Auto

if TYPE_CHECKING:
    from isotherm.solvers.stopping import Callback


@torch.no_grad()
def barycenter(  # noqa: PLR0913 - the front door names everything a barycenter is made of
    measures: Sequence[ArrayLike] | ArrayLike,
    weights: ArrayLike | None = None,
    *,
    epsilon: float,
    support: Grid | FreeSupport | ArrayLike,
    debiased: bool = True,
    cost: AbstractCost | str | Callable[[Tensor, Tensor], Tensor] = "sqeuclidean",
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    on_failure: str = "warn",
    callback: Callback | None = None,
) -> Barycenter:
    """The measure with the least mean transport cost to several others.

        min_a  sum_k w_k S_epsilon(a, b_k)            debiased: the Sinkhorn divergence, no blur
        min_a  sum_k w_k L_epsilon(a, b_k)            plain: entropic transport

    Where the masses are sought (a grid, or given points), plain means L_epsilon = min_P <C, P> - epsilon H(P), whose
    barycenters are blurred: that of one Gaussian has its variance plus epsilon / 2 (cost |x - y|^2). Where points move,
    it means OT_epsilon with KL(P | a ⊗ b), whose barycenters shrink: variance minus epsilon / 2. Debiased, that
    of one measure is the measure itself. The problem with moving points is not convex: the answer depends on where
    they start.

    Args:
        measures: On a grid, K images of its sizes; else K clouds of shape (M_k, D), or pairs (cloud, weights). All of
            one total mass, zero weights are legal.
        weights: Share of each measure, shape (K,), non-negative; rescaled to sum one, equal when left out.
        epsilon: Temperature > 0, units of cost.
        support: Where the barycenter may have mass: a `Grid`, points of shape (N, D), or `FreeSupport(points)` for
            points that move while their masses stay.
        debiased: Whether to take the bias of entropy out.
        cost: Cost between points; a grid has its own, and moving points are for the squared Euclidean one only.
        tolerance: On a fixed support, L1 error of the couplings' marginals per unit of mass; for moving points,
            the root mean square step over the spread of the data.
        max_iterations: Budget of updates.
        on_failure: What to do when the tolerance is not met: "warn" or "ignore".
        callback: Called with a `Check` after each update; raise from it to stop.

    Returns:
        A `Barycenter`; never a silent failure: its `status` says how it ended. Each update takes 2 K passes over the
        pairs, one more if debiased; on a grid axis by axis. Memory O(K N). Not differentiated.

    Raises:
        ValueError: Bad shapes, weights, masses, temperature, or a cost where it does not belong.

    Example:
        >>> grid = Grid((torch.arange(9.0),))
        >>> left, right = torch.zeros(9), torch.zeros(9)
        >>> left[1] = right[7] = 1.0
        >>> barycenter([left, right], epsilon=1.0, support=grid).weights.argmax()
        tensor(4)

    References:
        [AguehCarlier2011], [Benamou2015, section 3.2], [JanatiDebiased2020], [CuturiDoucet2014]
    """
    check_choice(on_failure, "on_failure", ("warn", "ignore"))
    epsilon = check_epsilon(epsilon)
    check_warm(epsilon)
    stop = Stop(check_positive(tolerance, "tolerance"), check_count(max_iterations, "max_iterations"), callback)
    started = time.perf_counter()
    if isinstance(support, Grid | FreeSupport) and cost != "sqeuclidean":
        msg = f"`cost` belongs to a support of fixed points: got {cost!r} with {type(support).__name__}. Leave it out; a grid has its own cost."
        raise ValueError(msg)
    bias = "debiased" if debiased else "with the bias of entropy"
    if isinstance(support, FreeSupport):
        clouds = on_points(measures, weights)
        solver = Auto(tolerance=min(1e-4, tolerance))
        mass, points, history, status = move(clouds, support, solver, epsilon=epsilon, debiased=debiased, stop=stop)
        error = history[-1].marginal_error
        sizes, namespace, method = mass.shape, clouds.namespace, f"moving points, {bias}"
    else:
        geometries: list[AbstractGeometry]
        if isinstance(support, Grid):
            given = on_grid(measures, weights, support)
            geometries = [support] * len(given.masses)
            sources = Grid(support.axes, support.cost) if debiased else None
            points, sizes = support.source_points, support.source_sizes
        else:
            given = on_points(measures, weights)
            like = given.points[0]
            points = check_points(to_tensor(support, "support", dtype=like.dtype, device=like.device), "support")
            geometries = [PointCloud(points, y, cost) for y in given.points]
            sources = PointCloud(points, points, cost) if debiased else None
            sizes = points.shape[:1]
        iteration = BregmanIteration(given, geometries, sources, epsilon)
        mass, history, status, error = iterate(iteration, stop)
        namespace, method = given.namespace, f"iterated Bregman projections, {bias}"
    if not status.is_converged and on_failure == "warn":
        warnings.warn(str(status), ConvergenceWarning, stacklevel=2)
    return Barycenter(
        mass=mass, support=points, sizes=torch.Size(sizes), status=status, error=error,
        history=history, tolerance=tolerance, iterations=len(history), epsilon=epsilon, method=method,
        seconds=time.perf_counter() - started, namespace=namespace,
    )  # fmt: skip
