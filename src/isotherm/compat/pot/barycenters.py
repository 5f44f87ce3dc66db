"""POT's barycenters of histograms, images and clouds, by isotherm's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace
from isotherm._checks import check_positive, check_warm, check_weights
from isotherm._status import ConvergenceWarning
from isotherm.barycenters.fixed import BregmanIteration, iterate
from isotherm.barycenters.measures import with_shares
from isotherm.barycenters.stop import Stop
from isotherm.compat.pot.arrays import ArrayKind, kind_of
from isotherm.compat.pot.entropic import print_history
from isotherm.compat.pot.sinkhorn import sinkhorn
from isotherm.compat.pot.utils import dist
from isotherm.compat.pot.warn import warn_unknown, warn_user
from isotherm.geometry import AbstractGeometry, CostMatrix, Grid

METHODS = ("sinkhorn", "sinkhorn_stabilized", "sinkhorn_log")
WITHOUT_EFFECT = {"tau", "stabThr"}


def barycenter(
    A: ArrayLike,
    M: ArrayLike,
    reg: float,
    weights: ArrayLike | None = None,
    method: str = "sinkhorn",
    numItermax: int = 10000,
    stopThr: float = 1e-4,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    **kwargs: Any,
) -> Any:
    """Entropic barycenter of histograms, as `ot.bregman.barycenter`; blurred by the entropy.

    Args:
        A: Histograms of one mass, shape (N, K), one a column.
        M: Costs from the histograms' bins (rows) to the barycenter's (columns), shape (N, N).
        reg: Temperature > 0, units of cost.
        weights: Share of each histogram, shape (K,); equal when left out, rescaled to sum one.
        method: "sinkhorn", "sinkhorn_stabilized" or "sinkhorn_log": one iteration in the log domain answers them all.
        numItermax: Most updates.
        stopThr: Distance between the couplings' marginals at which to stop; at least POT's.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too: `err`, `niter`.
        warn: Whether not to converge is a warning.
        **kwargs: `tau`, accepted, without effect.

    Returns:
        The barycenter, shape (N,), of the histograms' mass; with `log` a pair. Not differentiated.

    Raises:
        ValueError: An unknown method, masses that differ, bad weights.
        NotImplementedError: An input asks for a derivative.

    Example:
        >>> barycenter([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], 0.1)
        array([0.5, 0.5])

    References:
        [Benamou2015, section 3.2]
    """
    return _of_histograms(
        A, M, reg, weights, method, numItermax, stopThr, kwargs, (verbose, log, warn), is_debiased=False
    )


def barycenter_debiased(
    A: ArrayLike,
    M: ArrayLike,
    reg: float,
    weights: ArrayLike | None = None,
    method: str = "sinkhorn",
    numItermax: int = 10000,
    stopThr: float = 1e-4,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    **kwargs: Any,
) -> Any:
    """Barycenter of histograms for the Sinkhorn divergence, as `ot.bregman.barycenter_debiased`; not blurred.

    Args:
        A: Histograms, shape (N, K); see `barycenter` for all arguments.
        M: Costs, shape (N, N), symmetric.
        reg: Temperature, units of cost.
        weights: Share of each histogram.
        method: "sinkhorn" or "sinkhorn_log".
        numItermax: Most updates.
        stopThr: Distance between marginals at which to stop.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning.
        **kwargs: As there.

    Returns:
        The barycenter, shape (N,); with `log` a pair.

    Example:
        >>> barycenter_debiased([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]], 0.1)
        array([0.5, 0.5])

    References:
        [JanatiDebiased2020]
    """
    return _of_histograms(
        A, M, reg, weights, method, numItermax, stopThr, kwargs, (verbose, log, warn), is_debiased=True
    )


def convolutional_barycenter2d(
    A: ArrayLike,
    reg: float,
    weights: ArrayLike | None = None,
    method: str = "sinkhorn",
    numItermax: int = 10000,
    stopThr: float = 1e-4,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    **kwargs: Any,
) -> Any:
    """Entropic barycenter of images on the unit square, as `ot.bregman.convolutional_barycenter2d`.

    Both axes have length one, whatever the numbers of pixels; the cost is the squared distance.

    Args:
        A: Images of one mass, shape (K, W, H).
        reg: Temperature > 0, in units of the squared side.
        weights: Share of each image, shape (K,); see `barycenter` for the other arguments.
        method: "sinkhorn" or "sinkhorn_log".
        numItermax: Most updates.
        stopThr: Distance between marginals at which to stop.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too: `err`, `niter`, `U`, `V`.
        warn: Whether not to converge is a warning.
        **kwargs: `stabThr`, accepted, without effect.

    Returns:
        The barycenter, shape (W, H); with `log` a pair.

    References:
        [Solomon2015]
    """
    return _of_images(A, reg, weights, method, numItermax, stopThr, kwargs, (verbose, log, warn), is_debiased=False)


def convolutional_barycenter2d_debiased(
    A: ArrayLike,
    reg: float,
    weights: ArrayLike | None = None,
    method: str = "sinkhorn",
    numItermax: int = 10000,
    stopThr: float = 1e-3,
    verbose: bool = False,
    log: bool = False,
    warn: bool = True,
    **kwargs: Any,
) -> Any:
    """Barycenter of images for the Sinkhorn divergence, as `ot.bregman.convolutional_barycenter2d_debiased`.

    Args:
        A: Images, shape (K, W, H); see `convolutional_barycenter2d` for all arguments.
        reg: Temperature, in units of the squared side.
        weights: Share of each image.
        method: "sinkhorn" or "sinkhorn_log".
        numItermax: Most updates.
        stopThr: Distance between marginals at which to stop.
        verbose: Whether to print the errors.
        log: Whether to return a dictionary too.
        warn: Whether not to converge is a warning.
        **kwargs: As there.

    Returns:
        The barycenter, shape (W, H); with `log` a pair.
    """
    return _of_images(A, reg, weights, method, numItermax, stopThr, kwargs, (verbose, log, warn), is_debiased=True)


def free_support_sinkhorn_barycenter(
    measures_locations: Sequence[ArrayLike],
    measures_weights: Sequence[ArrayLike],
    X_init: ArrayLike,
    reg: float,
    b: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    numItermax: int = 100,
    numInnerItermax: int = 1000,
    stopThr: float = 1e-7,
    verbose: bool = False,
    log: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Points that move to the mean of what they are coupled to, as `ot.bregman.free_support_sinkhorn_barycenter`.

        x_i <- sum_k w_k sum_j P^k_ij y^k_j / b_i

    Args:
        measures_locations: K clouds, shapes (M_k, D).
        measures_weights: Their weights, shapes (M_k,), of one mass.
        X_init: Where the points start, shape (N, D).
        reg: Temperature > 0, units of squared length.
        b: Weights of the points, shape (N,); equal when left out.
        weights: Share of each measure, shape (K,); equal when left out, taken as they are.
        numItermax: Most moves.
        numInnerItermax: Most updates of the scalings in each solve.
        stopThr: Sum of the points' squared steps at which to stop.
        verbose: Whether to print the steps.
        log: Whether to return a dictionary too: `displacement_square_norms`.
        **kwargs: As for `sinkhorn`.

    Returns:
        The points, shape (N, D); with `log` a pair. Differentiable, move by move.

    Example:
        >>> clouds, masses = [[[-1.0]], [[1.0]]], [[1.0], [1.0]]
        >>> free_support_sinkhorn_barycenter(clouds, masses, [[-12.0]], 1.0)
        array([[0.]])

    References:
        [CuturiDoucet2014, algorithm 2]
    """
    kind = kind_of(*measures_locations, *measures_weights, X_init, b, weights)
    clouds = [kind.tensor(cloud, "measures_locations") for cloud in measures_locations]
    masses = [kind.tensor(mass, "measures_weights") for mass in measures_weights]
    x = kind.tensor(X_init, "X_init")
    mass, shares = kind.weights(b, "b", x.shape[0]), kind.weights(weights, "weights", len(clouds))
    steps: list[Any] = []
    for iteration in range(numItermax):
        moved = torch.zeros_like(x)
        for cloud, cloud_mass, share in zip(clouds, masses, shares, strict=True):
            plan = sinkhorn(mass, cloud_mass, dist(x, cloud), reg, numItermax=numInnerItermax, **kwargs)
            moved = moved + share * (plan @ cloud) / mass[:, None]
        step = (moved - x).square().sum()
        x = moved
        steps.append(kind.export(step))
        if verbose:
            print(f"iteration {iteration}, displacement_square_norm={float(step.detach()):f}")
        if float(step.detach()) <= stopThr:
            break
    points = kind.export(x)
    return (points, {"displacement_square_norms": steps}) if log else points


Flags = tuple[bool, bool, bool]  # verbose, log, warn


def _of_histograms(
    A: ArrayLike, M: ArrayLike, reg: float, weights: ArrayLike | None, method: str, iterations: int, threshold: float,
    arguments: dict[str, Any], flags: Flags, *, is_debiased: bool,
) -> Any:  # fmt: skip
    _check_names(method, METHODS[::2] if is_debiased else METHODS, arguments)
    kind = kind_of(A, M, weights)
    histograms = kind.tensor(A, "A")
    costs = kind.tensor(M, "M")
    _check_no_derivative(histograms, costs)
    geometry = CostMatrix(costs.T)
    own = CostMatrix(costs) if is_debiased else None
    settings = (reg, weights, threshold, iterations)
    mass, entries, (f, g) = _solve(kind, list(histograms.T), geometry, own, settings, flags)
    if method.lower() == "sinkhorn_stabilized":  # u belongs to the histograms, v to the barycenter
        entries |= {name: kind.export(torch.stack(side, 1) / reg) for name, side in (("logu", g), ("logv", f))}
    return (kind.export(mass), entries) if flags[1] else kind.export(mass)


def _of_images(
    A: ArrayLike, reg: float, weights: ArrayLike | None, method: str, iterations: int, threshold: float,
    arguments: dict[str, Any], flags: Flags, *, is_debiased: bool,
) -> Any:  # fmt: skip
    _check_names(method, METHODS[::2], arguments)
    kind = kind_of(A, weights)
    images = kind.tensor(A, "A")
    _check_no_derivative(images)
    sizes = images.shape[1:]
    grid = Grid(tuple(torch.linspace(0.0, 1.0, size, dtype=kind.dtype, device=kind.device) for size in sizes))
    settings = (reg, weights, threshold, iterations)
    mass, entries, (f, g) = _solve(kind, list(images.flatten(1)), grid, grid if is_debiased else None, settings, flags)
    image = kind.export(mass.reshape(sizes))
    scalings = {"U": g, "V": f}  # U belongs to the images, V to the barycenter
    stacked = {name: torch.stack(side).div(reg).exp().reshape(-1, *sizes) for name, side in scalings.items()}
    return (image, entries | {name: kind.export(side) for name, side in stacked.items()}) if flags[1] else image


@torch.no_grad()
def _solve(
    kind: ArrayKind,
    histograms: list[Tensor],
    geometry: AbstractGeometry,
    own: AbstractGeometry | None,
    settings: tuple[float, ArrayLike | None, float, int],
    flags: Flags,
) -> tuple[Tensor, dict[str, Any], tuple[list[Tensor], list[Tensor]]]:
    """The barycenter, POT's log, and the couplings' log scalings times reg; costs go from the barycenter to the histograms."""
    reg, weights, threshold, iterations = settings
    check_warm(reg)
    verbose, _, warn = flags
    if weights is not None and len(weights) != len(histograms):
        msg = f"`weights` must hold one share for each of the {len(histograms)} measures: got {len(weights)}. Leave it out for equal ones."
        raise AssertionError(msg)
    masses = [check_weights(histogram, "A", geometry.shape[1]) for histogram in histograms]
    measures = with_shares(
        [], masses, None if weights is None else kind.weights(weights, "weights", len(masses)), Namespace.TORCH
    )
    # POT's error, a sum of standard deviations over the K marginals, is at most sqrt(K) times ours, their largest L1 error.
    tolerance = max(threshold / len(masses) ** 0.5 / float(measures.total), torch.finfo(kind.dtype).eps)
    iteration = BregmanIteration(measures, [geometry] * len(measures.masses), own, float(reg))
    mass, history, status, error = iterate(iteration, Stop(check_positive(tolerance, "stopThr"), iterations, None))
    if verbose:
        print_history(history)
    if warn and not (status.is_converged and threshold > 0):
        msg = (
            f"Sinkhorn did not converge: marginal error {error:.2e} per unit of mass after {len(history)} iterations. You "
            f"might want to increase the number of iterations `numItermax` or the regularization parameter `reg`."
        )
        warn_user(msg, ConvergenceWarning)
    entries = {"err": [check.marginal_error for check in history], "niter": len(history), "status": status}
    return mass, entries, (iteration.f, iteration.g or iteration.f)


def _check_names(method: str, methods: Sequence[str], arguments: dict[str, Any]) -> None:
    if method.lower() not in methods:
        msg = f"Unknown method {method!r}: expected one of {', '.join(methods)}. Choose one of these; one iteration answers them all."
        raise ValueError(msg)
    warn_unknown(arguments, WITHOUT_EFFECT)


def _check_no_derivative(*tensors: Tensor) -> None:
    """A barycenter is not differentiated; to return one without its graph would be a wrong gradient in silence."""
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        msg = "Barycenters of histograms are not differentiated: got an input that asks for a derivative. Detach it, or call under torch.no_grad()."
        raise NotImplementedError(msg)
