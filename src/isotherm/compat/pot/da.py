"""POT's domain adaptation by entropic transport: move samples, and labels, from one domain to another."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from isotherm._arrays import namespace_of, to_tensor
from isotherm._checks import check_choice, check_count, check_positive
from isotherm._status import ConvergenceWarning
from isotherm.compat.pot.arguments import METRICS
from isotherm.compat.pot.regularised import chosen_solver
from isotherm.geometry import CostMatrix
from isotherm.problem import Problem

NORMS = ("median", "max", "log", "loglog")
METHODS = ("sinkhorn", "sinkhorn_log", "greenkhorn", "sinkhorn_stabilized", "sinkhorn_epsilon_scaling")
MAPS = ("continuous", "ferradans")
UNLABELLED = -1
NEIGHBOURS = METRICS["sqeuclidean"]  # by which the nearest sample of the fit is found


def uniform_distribution(X: Any) -> Any:
    """Equal weights for samples, shape (N,), in their library and dtype.

    Args:
        X: Samples, shape (N, D).

    Returns:
        The weights.

    Example:
        >>> uniform_distribution([[0.0], [1.0]])
        array([0.5, 0.5])
    """
    points = to_tensor(X, "X")
    return namespace_of(X).export(points.new_full((points.shape[0],), 1.0 / points.shape[0]))


class SinkhornTransport:
    """Entropic transport between two sets of samples, as an estimator.

        coupling_ = argmin <cost_, P> + reg_e KL(P | mu_s ⊗ mu_t)

    Results are in the library and on the device of the samples. Time O(N M) per iteration, memory O(N M).

    Args:
        reg_e: Temperature > 0, units of the cost after `norm`.
        method: "sinkhorn_log", or another of the original's methods. No effect: the method is chosen.
        max_iter: Budget of iterations; None leaves it to the method.
        tol: L1 error of the marginals at which to stop; None for 1e-9 in float64, 1e-5 in float32.
        verbose: No effect: nothing is printed.
        log: No effect: `log_` is always filled.
        metric: "sqeuclidean", "euclidean", "cityblock" or "cosine".
        norm: Unit of the cost: None, its "median" or "max"; or "log", log(1 + C), or "loglog", log(1 + log(1 + C)).
        distribution_estimation: Weights of samples; equal by default.
        out_of_sample_map: "continuous", the entropic map x -> sum_j y_j P(j | x); or "ferradans", the barycentric map of
            the nearest sample of the fit, moved along.
        limit_max: Cost between samples of different labels, in units of the largest cost; infinity forbids them.

    Example:
        >>> moved = SinkhornTransport(reg_e=0.1).fit_transform(Xs=torch.zeros(1, 2), Xt=torch.tensor([[1.0, 0.0], [3.0, 0.0]]))
        >>> moved.round(decimals=3)
        tensor([[2., 0.]])

    References:
        [Courty2017], [PooladianNilesWeed2021]
    """

    coupling_: Any  # (N, M)
    cost_: Any  # (N, M), after `norm` and `limit_max`
    log_: dict[str, Any]  # log_u, log_v, u, v, niter, err and solution
    mu_s: Any  # (N,)
    mu_t: Any  # (M,)
    xs_: Any
    xt_: Any

    def __init__(
        self,
        reg_e: float = 1.0,
        method: str = "sinkhorn_log",
        max_iter: int | None = None,
        tol: float | None = None,
        verbose: bool = False,
        log: bool = False,
        metric: str = "sqeuclidean",
        norm: str | None = None,
        distribution_estimation: Callable[[Any], Any] = uniform_distribution,
        out_of_sample_map: str = "continuous",
        limit_max: float = math.inf,
    ) -> None:
        self.reg_e = check_positive(reg_e, "reg_e")
        self.method = check_choice(method, "method", METHODS)
        self.max_iter = None if max_iter is None else check_count(max_iter, "max_iter")
        self.tol = None if tol is None else check_positive(tol, "tol")
        self.metric = check_choice(metric, "metric", METRICS)
        self.norm = None if norm is None else check_choice(norm, "norm", NORMS)
        self.out_of_sample_map = check_choice(out_of_sample_map, "out_of_sample_map", MAPS)
        self.limit_max = check_positive(limit_max, "limit_max", allow_infinity=True)
        self.verbose, self.log, self.distribution_estimation = verbose, log, distribution_estimation

    def fit(self, Xs: Any = None, ys: Any = None, Xt: Any = None, yt: Any = None) -> Self:
        """Couple the samples.

        Args:
            Xs: Sources, shape (N, D).
            ys: Their labels, shape (N,), -1 for unknown; used with `yt` alone.
            Xt: Targets, shape (M, D).
            yt: Their labels, shape (M,), -1 for unknown.

        Returns:
            Itself, with `coupling_`, `cost_`, `log_`, `mu_s`, `mu_t`, `xs_` and `xt_`.

        Raises:
            ValueError: A side is missing, or bad shapes.
        """
        x, y = _required(Xs, "Xs"), _required(Xt, "Xt")
        self._namespace, self._unit = namespace_of(Xs), 1.0
        costs = METRICS[self.metric].pairwise(x, y)
        if self.norm in ("median", "max"):
            self._unit = float(_median(costs) if self.norm == "median" else costs.max())
        costs = self._normalised(costs)
        if ys is not None and yt is not None:
            costs = self._separated(costs, torch.as_tensor(ys), torch.as_tensor(yt))
        self.mu_s, self.mu_t = self.distribution_estimation(Xs), self.distribution_estimation(Xt)
        self.xs_, self.xt_, self.cost_ = Xs, Xt, self._namespace.export(costs)
        self._solve(costs, to_tensor(self.mu_s, "mu_s").to(costs), to_tensor(self.mu_t, "mu_t").to(costs))
        return self

    def fit_transform(self, Xs: Any = None, ys: Any = None, Xt: Any = None, yt: Any = None) -> Any:
        """Couple the samples, and move the sources; see `fit` and `transform`."""
        return self.fit(Xs, ys, Xt, yt).transform(Xs, ys, Xt, yt)

    def transform(self, Xs: Any = None, ys: Any = None, Xt: Any = None, yt: Any = None, batch_size: int = 128) -> Any:
        """Move sources, those of the fit or others, to the targets.

        Args:
            Xs: Sources, shape (n, D).
            ys: No effect.
            Xt: No effect.
            yt: No effect.
            batch_size: Samples moved at a time.

        Returns:
            Shape (n, D).
        """
        del ys, Xt, yt
        return self._moved(_required(Xs, "Xs"), is_inverse=False, batch_size=check_count(batch_size, "batch_size"))

    def inverse_transform(
        self, Xs: Any = None, ys: Any = None, Xt: Any = None, yt: Any = None, batch_size: int = 128
    ) -> Any:
        """Move targets, those of the fit or others, to the sources.

        Args:
            Xs: No effect.
            ys: No effect.
            Xt: Targets, shape (m, D).
            yt: No effect.
            batch_size: Samples moved at a time.

        Returns:
            Shape (m, D).
        """
        del Xs, ys, yt
        return self._moved(_required(Xt, "Xt"), is_inverse=True, batch_size=check_count(batch_size, "batch_size"))

    def transform_labels(self, ys: Any = None) -> Any:
        """Share of each class in what each target receives.

        Args:
            ys: Labels of the sources of the fit, shape (N,).

        Returns:
            Shape (M, K), classes in ascending order; rows sum to one, zero for targets without mass.
        """
        return self._spread(ys, "ys", self._coupling.T)

    def inverse_transform_labels(self, yt: Any = None) -> Any:
        """Share of each class in what each source gives to.

        Args:
            yt: Labels of the targets of the fit, shape (M,).

        Returns:
            Shape (N, K).
        """
        return self._spread(yt, "yt", self._coupling)

    def _solve(self, costs: Tensor, a: Tensor, b: Tensor) -> None:
        """Fill `coupling_` and `log_`."""
        allowed = costs.isfinite()
        problem = Problem(
            CostMatrix(torch.where(allowed, costs, 0.0)),
            a,
            b,
            epsilon=self.reg_e,
            reference=None if allowed.all() else a[:, None] * b * allowed,
        )
        solution = chosen_solver(self.reg_e, costs.dtype, self.max_iter, self.tol).run(problem)
        if not solution.status.is_converged:
            warnings.warn(str(solution.status), ConvergenceWarning, stacklevel=3)
        self._coupling = solution.coupling.plan_rows(slice(None))
        self.coupling_ = self._namespace.export(self._coupling)
        f, g = solution.potentials
        self._weighted = f / self.reg_e + a.log(), g / self.reg_e + b.log()
        u, v = (self._namespace.export(side) for side in self._weighted)
        scalings = {
            "u": self._namespace.export(self._weighted[0].exp()),
            "v": self._namespace.export(self._weighted[1].exp()),
        }
        self.log_ = {"log_u": u, "log_v": v, **scalings, "solution": solution}
        self.log_ |= {"niter": solution.iterations, "err": [max(solution.marginal_error)]}

    def _normalised(self, costs: Tensor) -> Tensor:
        """Costs by `norm`, with the unit of the fit."""
        if self.norm in ("log", "loglog"):
            costs = costs.log1p()
            return costs.log1p() if self.norm == "loglog" else costs
        return costs / self._unit

    def _separated(self, costs: Tensor, ys: Tensor, yt: Tensor) -> Tensor:
        """Costs with `limit_max` between samples of different labels."""
        ys, yt = (labels.to(costs.device) for labels in (ys, yt))
        known = (ys != UNLABELLED)[:, None] & (yt != UNLABELLED)
        limit = self.limit_max * costs.max() if math.isfinite(self.limit_max) else costs.new_tensor(math.inf)
        return torch.where(known & (ys[:, None] != yt), torch.maximum(costs, limit), costs)

    def _moved(self, points: Tensor, *, is_inverse: bool, batch_size: int) -> Any:
        """Images of samples of one side in the other one."""
        own, other = to_tensor(self.xs_, "Xs"), to_tensor(self.xt_, "Xt")
        coupling, weighted = self._coupling, self._weighted[1]
        if is_inverse:
            own, other, coupling, weighted = other, own, coupling.T, self._weighted[0]
        if self.out_of_sample_map == "continuous":
            scores = (
                weighted - self._normalised(METRICS[self.metric].pairwise(part, other)) / self.reg_e
                for part in points.split(batch_size)
            )
            moved = torch.cat([part.softmax(1) @ other for part in scores])
        else:
            images = _rows_sum_to_one(coupling) @ other  # (N, D)
            nearest = torch.cat([NEIGHBOURS.pairwise(part, own).argmin(1) for part in points.split(batch_size)])
            is_fit = points.shape == own.shape and torch.equal(points, own)
            moved = images if is_fit else images[nearest] + points - own[nearest]
        return self._namespace.export(moved)

    def _spread(self, labels: Any, name: str, coupling: Tensor) -> Any:
        """Shares of classes: rows of the coupling that sum to one, times the classes of what they reach."""
        if labels is None:
            msg = f"`{name}` must hold a label for each sample: got None. Pass integers."
            raise ValueError(msg)
        _, classes = torch.as_tensor(labels).unique(return_inverse=True)
        table = torch.nn.functional.one_hot(classes).to(coupling)
        return self._namespace.export(_rows_sum_to_one(coupling) @ table)


def _required(samples: Any, name: str) -> Tensor:
    if samples is None:
        msg = f"`{name}` must hold samples, shape (N, D): got None. Pass them by keyword."
        raise ValueError(msg)
    return to_tensor(samples, name).detach()


def _median(costs: Tensor) -> Tensor:
    """The mean of both middle values where their number is even."""
    return costs.flatten().quantile(0.5) if costs.numel() < 1 << 24 else costs.flatten().median()


def _rows_sum_to_one(plan: Tensor) -> Tensor:
    """Conditional laws; zero where there is no mass."""
    mass = plan.sum(1, keepdim=True)
    return torch.where(mass > 0, plan / torch.where(mass > 0, mass, 1.0), 0.0)
