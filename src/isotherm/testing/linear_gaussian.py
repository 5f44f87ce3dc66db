"""Boltzmann posteriors of a linear forward model with a quadratic critic, solved by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearGaussianPosterior:
    """q*(z | x) ∝ kappa(z | x) exp((w(z) - lam/2 |x - A(z)|^2) / gamma), all Gaussian.

        A(z) = W z + b,    w(z) = w0 + h'z - z'Hz / 2,    kappa = N(zbar, 1/beta)

    q* is N(m, P^-1) with

        P = beta + (lam W'W + H) / gamma,    P m = beta zbar + (lam W'(x - b) + h) / gamma

    Attributes:
        matrix: W, shape (D, K).
        offset: b, shape (D,); zero when left out.
        lam: Price of a squared unit of misfit, twice.
        gamma: Temperature, in units of the utility.
        beta: Precision of the reference.
        centre: zbar, shape (K,) or (n, K); zero when left out.
        slope: h, shape (K,); zero when left out.
        curvature: H, shape (K, K), symmetric; zero when left out.
        level: w0.

    Raises:
        ValueError: P is not positive definite: the critic grows faster than the reference falls.

    Example:
        >>> one = torch.eye(1, dtype=torch.float64)
        >>> LinearGaussianPosterior(matrix=one, lam=1.0, gamma=0.5).mean(torch.tensor([[3.0]], dtype=torch.float64))
        tensor([[2.]], dtype=torch.float64)

    References:
        [TippingBishop1999]
    """

    matrix: Tensor  # (D, K)
    offset: Tensor | None = None  # (D,)
    lam: float = 1.0
    gamma: float = 1.0
    beta: float = 1.0
    centre: Tensor | None = None  # (K,) or (n, K)
    slope: Tensor | None = None  # (K,)
    curvature: Tensor | None = None  # (K, K)
    level: float = 0.0

    def __post_init__(self) -> None:
        least = float(torch.linalg.eigvalsh(self.precision)[0])
        if not least > 0:
            msg = (
                f"The posterior must be normalisable: got a precision with the eigenvalue {least:.3g}. Raise `beta`, or take a "
                f"critic that grows more slowly."
            )
            raise ValueError(msg)

    @cached_property
    def precision(self) -> Tensor:
        """P, shape (K, K)."""
        pull = self.lam * self.matrix.T @ self.matrix
        if self.curvature is not None:
            pull = pull + self.curvature
        return self.beta * torch.eye(self.matrix.shape[1]).to(pull) + pull / self.gamma

    @cached_property
    def covariance(self) -> Tensor:
        """P^-1, shape (K, K)."""
        return torch.linalg.inv(self.precision)

    def _right(self, x: Tensor) -> Tensor:
        """P m for each x, shape (n, K)."""
        misfit = x if self.offset is None else x - self.offset
        right = self.lam * misfit @ self.matrix / self.gamma
        if self.slope is not None:
            right = right + self.slope / self.gamma
        return right if self.centre is None else right + self.beta * self.centre

    def mean(self, x: Tensor) -> Tensor:
        """T*(x), shape (n, K), for x of shape (n, D)."""
        return self._right(x) @ self.covariance

    def utility(self, z: Tensor, x: Tensor) -> Tensor:
        """w(z) - lam/2 |x - A(z)|^2, shape (n,), for z of shape (n, K)."""
        misfit = x - z @ self.matrix.T - (0.0 if self.offset is None else self.offset)
        slope = 0.0 if self.slope is None else z @ self.slope
        bend = 0.0 if self.curvature is None else 0.5 * ((z @ self.curvature) * z).sum(1)
        return self.level + slope - bend - 0.5 * self.lam * misfit.square().sum(1)

    def free_energy(self, x: Tensor) -> Tensor:
        """Psi(x) = -gamma log E_kappa[exp(utility / gamma)], shape (n,)."""
        gamma, count = self.gamma, self.matrix.shape[1]
        misfit = x if self.offset is None else x - self.offset
        right = self._right(x)
        still = 0.0 if self.centre is None else 0.5 * gamma * self.beta * self.centre.square().sum(-1)
        gained = 0.5 * gamma * ((right @ self.covariance) * right).sum(1)
        volume = 0.5 * gamma * (torch.logdet(self.precision) - count * math.log(self.beta))
        return -self.level + 0.5 * self.lam * misfit.square().sum(1) + still - gained + volume

    def unnormalised_free_energy(self, x: Tensor) -> Tensor:
        """-log of the integral of exp(w - lam/2 |x - A(z)|^2 - beta/2 |z - zbar|^2), at gamma = 1: shape (n,)."""
        if self.gamma != 1.0:
            msg = f"The unnormalised form is that of gamma = 1: got {self.gamma}. Divide `lam` and the critic by gamma instead."
            raise ValueError(msg)
        return self.free_energy(x) - 0.5 * self.matrix.shape[1] * math.log(2.0 * math.pi / self.beta)

    def effective_share(self, x: Tensor) -> Tensor:
        """Effective over actual number of candidates drawn from kappa, as that grows; shape (n,)."""
        parts = {name: getattr(self, name) for name in ("matrix", "offset", "centre", "slope", "curvature")}
        half = LinearGaussianPosterior(**parts, lam=self.lam, gamma=0.5 * self.gamma, beta=self.beta, level=self.level)
        return (2.0 / self.gamma * (half.free_energy(x) - self.free_energy(x))).exp()

    def mutual_information(self, covariance: Tensor) -> float:
        """Between x, of this covariance (D, D), and z: how much the posterior depends on the input. Nats."""
        gain = self.covariance @ self.matrix.T * (self.lam / self.gamma)  # of the mean, (K, D)
        moved = gain @ covariance @ gain.T
        return 0.5 * float(torch.logdet(torch.eye(len(moved)).to(moved) + self.precision @ moved))

    def langevin(self, x: Tensor, start: Tensor, *, step: float, count: int) -> tuple[Tensor, Tensor]:
        """Mean (n, K) and covariance (K, K) after steps z - step/2 grad U + sqrt(step) noise from fixed starts (n, K).

        The covariance tends to P^-1 (1 - step P / 4)^-1, not to P^-1: the bias of the discretisation.
        """
        identity = torch.eye(len(self.precision)).to(self.precision)
        shrink = torch.linalg.matrix_power(identity - 0.5 * step * self.precision, count)
        stationary = self.covariance @ torch.linalg.inv(identity - 0.25 * step * self.precision)
        mean = self.mean(x)
        return mean + (start - mean) @ shrink, stationary @ (identity - shrink @ shrink)


def optimal_critic(matrix: Tensor, covariance: Tensor, *, lam: float, gamma: float) -> tuple[Tensor, Tensor]:
    """The critic under which posteriors of Gaussian data add up to the prior N(0, 1).

        Sigma = 2 (1 + (1 + 4 B)^(1/2))^-1,    B = (lam / gamma)^2 W' S W,    H = gamma (Sigma^-1 - 1) - lam W'W

    Args:
        matrix: W, shape (D, K).
        covariance: S of the data, which is centred at the offset of the forward model; shape (D, D).
        lam: Price of a squared unit of misfit, twice.
        gamma: Temperature.

    Returns:
        H and the covariance Sigma of each posterior, both of shape (K, K).

    Example:
        >>> one = torch.eye(1, dtype=torch.float64)
        >>> optimal_critic(one, 2.0 * one, lam=1.0, gamma=1.0)
        (tensor([[0.]], dtype=torch.float64), tensor([[0.5000]], dtype=torch.float64))
    """
    identity = torch.eye(matrix.shape[1]).to(matrix)
    values, vectors = torch.linalg.eigh((lam / gamma) ** 2 * matrix.T @ covariance @ matrix)
    sigma = vectors @ torch.diag(2.0 / (1.0 + (1.0 + 4.0 * values).sqrt())) @ vectors.T
    return gamma * (torch.linalg.inv(sigma) - identity) - lam * matrix.T @ matrix, sigma
