"""Masses on a fixed support: iterated Bregman projections in the log domain, with or without debiasing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm._status import Outcome, Status
from isotherm.solution import Check

if TYPE_CHECKING:
    from isotherm.barycenters.measures import Measures
    from isotherm.barycenters.stop import Stop
    from isotherm.geometry import AbstractGeometry

PATIENCE = 50  # looks without progress before rounding is suspected


class BregmanIteration:
    """Potentials of K couplings that share their source marginal, the barycenter a; all in units of cost.

        g_k = epsilon log b_k - epsilon log sum_i exp((f_ki - C_ij) / epsilon)                    (targets are b_k)
        s_k = epsilon log sum_j exp((g_kj - C_ij) / epsilon)
        epsilon log a = d + sum_k w_k s_k,   f_k = epsilon log a - s_k                            (sources are a)
        d <- (d + epsilon log a - epsilon log sum_j exp((d_j - C_ij) / epsilon)) / 2              (debiased; else d = 0)

    These are lines 3 to 7 of algorithm 1 in [JanatiDebiased2020]; d = 0 is [Benamou2015, section 3.2].

    Args:
        measures: What to average.
        geometries: Costs from the support to each measure.
        own: Costs from the support to itself, for debiasing; None leaves the blur in.
        epsilon: Temperature, units of cost.
    """

    def __init__(
        self,
        measures: Measures,
        geometries: list[AbstractGeometry],
        own: AbstractGeometry | None,
        epsilon: float,
    ) -> None:
        self.measures, self.epsilon = measures, epsilon
        self.rows = [geometry.for_iteration() for geometry in geometries]
        self.columns = [geometry.transpose().for_iteration() for geometry in geometries]
        self.own = None if own is None else own.for_iteration()
        self.log_b = [epsilon * mass.log() for mass in measures.masses]
        scale = max(1.0, geometries[0].coordinate_scale / epsilon)
        self.rounding = torch.finfo(geometries[0].dtype).eps * scale  # what a plan's entries are known to
        start = measures.masses[0].new_zeros(geometries[0].shape[0])
        self.d = start
        self.log_a = start
        self.f = [start for _ in geometries]
        self.g: list[Tensor] | None = None

    def step(self) -> Tensor:
        """Update everything once; return the residual before the update, a 0-d tensor.

        It is the largest L1 error of a target marginal, per unit of mass, and of a = d K d where that is asked for.
        """
        softmins = [columns.softmin(f, epsilon=self.epsilon) for columns, f in zip(self.columns, self.f, strict=True)]
        g = [log_b + softmin for log_b, softmin in zip(self.log_b, softmins, strict=True)]
        residual = self._column_error(g)
        s = [-rows.softmin(g_k, epsilon=self.epsilon) for rows, g_k in zip(self.rows, g, strict=True)]
        shares = self.measures.shares
        self.log_a = self.d + sum((w * s_k for w, s_k in zip(shares, s, strict=True)), start=torch.zeros_like(self.d))
        self.f, self.g = [self.log_a - s_k for s_k in s], g
        if self.own is not None:
            own = self.log_a + self.own.softmin(self.d, epsilon=self.epsilon)  # log of a / (K d)
            apart = (self.a() - ((self.d + self.log_a - own) / self.epsilon).exp()).abs().sum()
            residual = torch.maximum(residual, apart / self.measures.total)
            self.d = 0.5 * (self.d + own)
        return residual

    def a(self) -> Tensor:
        """The barycenter's masses now, shape (N,)."""
        return (self.log_a / self.epsilon).exp()

    def marginal_error(self, mass: Tensor) -> float:
        """Largest L1 distance of a coupling's marginals from `mass` and from its measure, recomputed, per unit of mass."""
        if self.g is None:
            return torch.inf
        errors = []
        for rows, columns, f, g, b in zip(self.rows, self.columns, self.f, self.g, self.measures.masses, strict=True):
            for geometry, p, q, wanted in ((rows, f, g, mass), (columns, g, f, b)):
                found = geometry.plan_apply(p, q, torch.ones_like(q)[:, None], epsilon=self.epsilon)[:, 0]
                errors.append((found - wanted).abs().sum(dtype=torch.float64))
        return float(torch.stack(errors).amax() / self.measures.total)

    def _column_error(self, g: list[Tensor]) -> Tensor:
        """Columns of the old plans weigh b exp((g_old - g_new) / epsilon)."""
        if self.g is None:
            return torch.full((), torch.inf, dtype=torch.float64)
        errors = [
            torch.where(mass > 0, mass * torch.expm1((old - new) / self.epsilon), 0.0).abs().sum(dtype=torch.float64)
            for mass, old, new in zip(self.measures.masses, self.g, g, strict=True)
        ]
        return torch.stack(errors).amax() / self.measures.total


def iterate(iteration: BregmanIteration, stop: Stop) -> tuple[Tensor, tuple[Check, ...], Status, float]:
    """Step until the residual meets the tolerance, the budget is spent, or rounding stops progress.

    Args:
        iteration: The iteration, started.
        stop: Tolerance, an L1 error of marginals per unit of mass, and budget.

    Returns:
        Masses of the measures' total, the history, how it ended, and the error, recomputed from the couplings.
    """
    history: list[Check] = []
    mass, outcome, error = _normalised(iteration), Outcome.MAX_ITERATIONS, torch.inf
    best, since, next_claim = torch.inf, 0, 0
    while outcome is Outcome.MAX_ITERATIONS and len(history) < stop.max_iterations:
        residual = float(iteration.step())
        history.append(Check(len(history) + 1, iteration.epsilon, residual))
        stop.tell(history[-1])
        found = _normalised(iteration)
        if not bool(found.isfinite().all()):
            outcome = Outcome.NON_FINITE
            break
        mass = found
        best, since = (residual, 0) if residual < best else (best, since + 1)
        is_last = len(history) == stop.max_iterations
        if is_last or (residual <= stop.tolerance and len(history) >= next_claim):
            error = max(residual, iteration.marginal_error(mass))
            next_claim = len(history) + max(1, len(history) // 4)  # a claim is checked at the price of an update
            outcome = Outcome.CONVERGED if error <= stop.tolerance else outcome
        if outcome is not Outcome.CONVERGED and since >= PATIENCE and best <= 100.0 * iteration.rounding:
            outcome, error = Outcome.PRECISION, max(residual, iteration.marginal_error(mass))
    advice = _advice(outcome, error, len(history), stop.tolerance, mass.dtype)
    return mass, tuple(history), Status(outcome=outcome, advice=advice), error


def _normalised(iteration: BregmanIteration) -> Tensor:
    """The masses now, with the measures' total; NaN where they over- or underflow as a whole."""
    a = iteration.a()
    return a * (iteration.measures.total / a.sum(dtype=torch.float64)).to(a.dtype)


def _advice(outcome: Outcome, error: float, iterations: int, tolerance: float, dtype: torch.dtype) -> str:
    found = f"L1 marginal error {error:.2e}, tolerance {tolerance:.2e}"
    match outcome:
        case Outcome.CONVERGED:
            return f"{found}."
        case Outcome.NON_FINITE:
            return f"a mass over- or underflowed in {dtype}; the last finite masses are returned. Use a larger epsilon or float64."
        case Outcome.PRECISION:
            return f"{found}; rounding in {dtype} stops progress. Use float64, a larger epsilon or a larger tolerance."
        case _:
            return f"{found} after {iterations} iterations. Raise max_iterations or epsilon."
