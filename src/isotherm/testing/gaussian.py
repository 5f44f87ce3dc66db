"""Entropic optimal transport between two Gaussians, solved by hand.

The convention is that of `closed_form`: the penalty is eps KL(P | a x b), the cost |x - y|^2 without a half.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GaussianTransport:
    """Entropic transport from N(m, A) to N(n, B) for the cost |x - y|^2, at any temperature.

        OT_eps = |m - n|^2 + tr A + tr B - 2 sum_i r_i c_i + s sum_i log(1 + r_i c_i / s)

    with s = eps/2, r the singular values of A^{1/2} B^{1/2} = U diag(r) W^T, and the canonical correlations
    c_i = 2 r_i / (s + sqrt(4 r_i^2 + s^2)) of the optimal pair. No covariance is inverted: singular ones are
    legal (a Dirac is covariance zero). eps = 0 gives exact transport and eps = inf independence. For the cost
    |x - y|^2 / 2 at temperature eps take half of the values and potentials at temperature 2 eps. Time O(D^3).

    Attributes:
        mean_x: m, shape (D,), length.
        covariance_x: A, shape (D, D), symmetric, positive semi-definite, length squared.
        mean_y: n, shape (D,), length.
        covariance_y: B, shape (D, D), symmetric, positive semi-definite, length squared.
        epsilon: Temperature, 0 <= epsilon <= inf, length squared.

    Example:
        >>> zero, one = torch.zeros(1, dtype=torch.float64), torch.eye(1, dtype=torch.float64)
        >>> transport = GaussianTransport(zero, one, zero, one, epsilon=2.0)
        >>> float(transport.plan()[1][0, 1])   # covariance of x and y, (sqrt(5) - 1) / 2
        0.6180...

    References:
        [Janati2020, theorem 1; there eps = 2 sigma^2], [Mallasto2021]
    """

    mean_x: Tensor  # (D,)
    covariance_x: Tensor  # (D, D)
    mean_y: Tensor  # (D,)
    covariance_y: Tensor  # (D, D)
    epsilon: float

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            message = f"`epsilon` must be at least 0: got {self.epsilon}. Use 0 for exact transport."
            raise ValueError(message)

    @property
    def value(self) -> float:
        """OT_eps with the penalty eps KL(P | a x b); W_2^2 at 0. Units of cost."""
        return float(self._offset + self._coupled_part)

    @property
    def transport_cost(self) -> float:
        """E |x - y|^2 under the optimal plan, units of cost."""
        _, r, _ = self._spectrum
        return float(self._offset - 2 * (r * _correlation(r, self.epsilon)).sum())

    def plan(self) -> tuple[Tensor, Tensor]:
        """Mean, shape (2 D,), and covariance, shape (2 D, 2 D), of the optimal pair (x, y).

            [[A, K], [K^T, B]],   K = A^{1/2} U diag(c) W^T B^{1/2}

        At epsilon = 0 this is the maximum-entropy plan among the exact optima.
        """
        u, r, wt = self._spectrum
        cross = _square_root(self.covariance_x) @ (u * _correlation(r, self.epsilon)) @ wt  # (D, D)
        cross = cross @ _square_root(self.covariance_y)
        rows = [torch.cat([self.covariance_x, cross], 1), torch.cat([cross.T, self.covariance_y], 1)]
        return torch.cat([self.mean_x, self.mean_y]), torch.cat(rows)

    def map(self, x: Tensor) -> Tensor:
        """Mean target of each source, T(x) = n + H (x - m), for x of shape (N, D).

        H = B^{1/2} W diag(c / r) W^T B^{1/2}, symmetric. At epsilon = 0 this is the Monge map on the support.
        """
        return self.mean_y + (x - self.mean_x) @ self._slopes[0]

    def map_back(self, y: Tensor) -> Tensor:
        """Mean source of each target, shape (M, D), for y of shape (M, D); the map of the swapped problem."""
        return self.mean_x + (y - self.mean_y) @ self._slopes[1]

    def conditional_covariance(self) -> Tensor:
        """Covariance of the target given its source, (eps/2) H, shape (D, D); the same for every source."""
        if math.isinf(self.epsilon):
            return self.covariance_y.clone()
        return self.epsilon / 2 * self._slopes[0]

    def f(self, x: Tensor) -> Tensor:
        """Source potential at x of shape (N, D): a quadratic with gradient 2 (x - T(x)); shape (N,)."""
        tilt = 2 * (self.mean_x - self.mean_y)
        return self.value + _potential(x, self.mean_x, self.covariance_x, self._slopes[0], tilt)

    def g(self, y: Tensor) -> Tensor:
        """Target potential at y of shape (M, D), with mean zero under N(n, B); shape (M,)."""
        tilt = 2 * (self.mean_y - self.mean_x)
        return _potential(y, self.mean_y, self.covariance_y, self._slopes[1], tilt)

    def bridge(self, t: float) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) at time t of the Schrödinger bridge with variance eps/2.

            (1-t)^2 A + t^2 B + t (1-t) (K + K^T + (eps/2) I),   0 <= t <= 1

        The pair (x, y) is drawn from `plan`, a Brownian bridge of variance eps/2 joins it. Needs epsilon < inf.
        """
        size = len(self.mean_x)
        cross = self.plan()[1][:size, size:]
        noise = self.epsilon / 2 * torch.eye(size, dtype=cross.dtype, device=cross.device)
        ends = (1 - t) ** 2 * self.covariance_x + t**2 * self.covariance_y
        return (1 - t) * self.mean_x + t * self.mean_y, ends + t * (1 - t) * (cross + cross.T + noise)

    @cached_property
    def _offset(self) -> Tensor:
        spread = self.covariance_x.trace() + self.covariance_y.trace()
        return (self.mean_x - self.mean_y).square().sum() + spread

    @cached_property
    def _coupled_part(self) -> Tensor:
        """What the coupling adds to the product plan: -2 sum r c + s sum log(1 + r c / s), s = eps/2."""
        _, r, _ = self._spectrum
        gain = r * _correlation(r, self.epsilon)
        if self.epsilon == 0 or math.isinf(self.epsilon):
            return -2 * gain.sum()
        s = self.epsilon / 2
        return (s * torch.log1p(gain / s) - 2 * gain).sum()

    @cached_property
    def _spectrum(self) -> tuple[Tensor, Tensor, Tensor]:
        u, r, wt = torch.linalg.svd(_square_root(self.covariance_x) @ _square_root(self.covariance_y))
        return u, _without_rounding(r), wt

    @cached_property
    def _slopes(self) -> tuple[Tensor, Tensor]:
        """Slopes of `map` and of `map_back`, each (D, D)."""
        u, r, wt = self._spectrum
        if self.epsilon == 0:
            weight = torch.where(r > 0, 1 / r, 0)
        else:
            weight = 2 / (self.epsilon / 2 + torch.hypot(2 * r, torch.full_like(r, self.epsilon / 2)))
        root_x, root_y = _square_root(self.covariance_x) @ u, _square_root(self.covariance_y) @ wt.T
        return (root_y * weight) @ root_y.T, (root_x * weight) @ root_x.T


def gaussian_wasserstein(mean_x: Tensor, covariance_x: Tensor, mean_y: Tensor, covariance_y: Tensor) -> float:
    """Exact squared Wasserstein distance of two Gaussians.

        W_2^2 = |m - n|^2 + tr(A + B - 2 (A^{1/2} B A^{1/2})^{1/2})

    Args:
        mean_x: m, shape (D,).
        covariance_x: A, shape (D, D), positive semi-definite.
        mean_y: n, shape (D,).
        covariance_y: B, shape (D, D), positive semi-definite.

    Returns:
        W_2^2 for the cost |x - y|^2, length squared.

    Example:
        >>> gaussian_wasserstein(torch.zeros(2), torch.eye(2), torch.ones(2), 4 * torch.eye(2))
        4.0

    References:
        [PeyreCuturi2019, remark 2.31]
    """
    return GaussianTransport(mean_x, covariance_x, mean_y, covariance_y, 0.0).value


def gaussian_sinkhorn_divergence(
    mean_x: Tensor, covariance_x: Tensor, mean_y: Tensor, covariance_y: Tensor, *, epsilon: float
) -> float:
    """Debiased entropic transport of two Gaussians for the cost |x - y|^2.

        S_eps = OT_eps(a, b) - OT_eps(a, a) / 2 - OT_eps(b, b) / 2

    The traces cancel before anything is computed. W_2^2 at epsilon = 0, |m - n|^2 at epsilon = inf.

    Args:
        mean_x: m, shape (D,).
        covariance_x: A, shape (D, D), positive semi-definite.
        mean_y: n, shape (D,).
        covariance_y: B, shape (D, D), positive semi-definite.
        epsilon: Temperature, 0 <= epsilon <= inf, length squared.

    Returns:
        S_eps >= 0, length squared.

    Example:
        >>> identity = torch.eye(2)
        >>> gaussian_sinkhorn_divergence(torch.zeros(2), identity, torch.ones(2), identity, epsilon=1.0)
        2.0

    References:
        [Janati2020], [Feydy2019]
    """
    source, target = (mean_x, covariance_x), (mean_y, covariance_y)
    across, within_x, within_y = (
        GaussianTransport(*one, *other, epsilon)._coupled_part
        for one, other in ((source, target), (source, source), (target, target))
    )
    return float((mean_x - mean_y).square().sum() + across - (within_x + within_y) / 2)


def _correlation(r: Tensor, epsilon: float) -> Tensor:
    """Canonical correlations 2 r / (s + sqrt(4 r^2 + s^2)), s = eps/2; 0 where r = 0, also at epsilon = 0."""
    s = epsilon / 2
    return torch.where(r > 0, 2 * r / (s + torch.hypot(2 * r, torch.full_like(r, s))), 0)


def _square_root(covariance: Tensor) -> Tensor:
    """Symmetric square root of a positive semi-definite matrix (D, D)."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * _without_rounding(values).sqrt()) @ vectors.T


def _without_rounding(values: Tensor) -> Tensor:
    """Spectrum (D,) with what is zero up to rounding set to zero, so that singular stays singular."""
    floor = len(values) * torch.finfo(values.dtype).eps * values.max()
    return torch.where(values > floor, values, 0)


def _potential(points: Tensor, mean: Tensor, covariance: Tensor, slope: Tensor, tilt: Tensor) -> Tensor:
    """Quadratic at points (N, D) with curvature I - slope and mean zero under N(mean, covariance)."""
    bend = torch.eye(len(mean), dtype=mean.dtype, device=mean.device) - slope  # (D, D)
    centred = points - mean
    return ((centred @ bend) * centred).sum(-1) + centred @ tilt - (bend * covariance).sum()
