"""What a forward model is linear in, given an observation and the other numbers: a Gaussian, integrated out exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.posterior.observation import AbstractObservation, Direct
from isotherm.posterior.reference import GaussianReference, normal

if TYPE_CHECKING:
    from isotherm.posterior.forward import LinearForward, PartlyLinearForward


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditioned:
    """First numbers h_m from kappa, and the law N(P_i^-1 r_im, P_i^-1) of the linear numbers t given x_i and h_m.

        P_i = beta + lam/gamma (O_i W)' O_i W = L_i L_i',    r_im = beta centre_i + lam/gamma (O_i W)' (y_i - O_i f(h_m))

    Attributes:
        head: h, shape (M, k), or (n, M, k) where kappa depends on x; (1, 0) where all numbers are linear.
        half: L_i^-1 r_im, shape (n, L, M).
        lower: L_i, shape (n, L, L), or (1, L, L) where everything is seen.
        energy: -log E_kappa(t)[exp(-misfit_i(h_m, t) / gamma)], shape (n, M).
    """

    head: Tensor
    half: Tensor
    lower: Tensor
    energy: Tensor

    def draw(self, half: Tensor, noise: Tensor) -> Tensor:
        """Linear numbers, shape (n, C, L), for C columns of `half` and noise that goes with them, (n, L, C) or (L, C)."""
        return torch.linalg.solve_triangular(self.lower.mT, half + noise, upper=True).mT


def condition(
    forward: LinearForward | PartlyLinearForward,
    reference: GaussianReference,
    observation: AbstractObservation,
    x: Tensor,
    scales: tuple[float, float],
    count: int,
    generator: torch.Generator,
) -> Conditioned:
    """Draw first numbers from kappa, and integrate the linear ones out.

        energy_im = lam/gamma |y_i - O_i f(h_m)|^2 / 2 + (beta |centre_i|^2 - r' P^-1 r + log det P_i - L log beta) / 2

    Time O(n M L (L + D)) and M values of f; memory O(n (M + D) L).

    Args:
        forward: f and W.
        reference: kappa.
        observation: O.
        x: Packed observations, shape (n, ...).
        scales: lam, gamma.
        count: M.
        generator: Source of randomness.

    Returns:
        Differentiable in x, W, and parameters of f.
    """
    ratio, beta, size = scales[0] / scales[1], reference.precision, forward.matrix.shape[1]
    centre = reference.mean(x)  # (K,) or (n, K)
    bent = centre.shape[-1] - size  # k
    head = x.new_zeros(1, 0)
    if bent:
        heads = (count,) if reference.is_shared else (len(x), count)
        head = centre[..., None, :bent] + beta**-0.5 * normal((*heads, bent), generator, x)
    values = forward.rest(head.flatten(0, -2))  # (1, ...), (M, ...) or (n M, ...)
    columns, back = _columns(observation, x, forward.matrix, values.shape[1:])
    if head.ndim == 2:
        costs, cast = observation.costs(x, values), back @ values.flatten(1).T  # (n, M), (n, L, M)
    else:
        costs = observation.misfit(x.repeat_interleave(count, dim=0), values).view(len(x), count)
        cast = back @ values.flatten(1).unflatten(0, (len(x), count)).mT
    tail = centre[..., None, bent:].mT  # (L, 1) or (n, L, 1)
    precision = beta * torch.eye(size, dtype=x.dtype, device=x.device) + ratio * columns @ columns.mT
    lower = torch.linalg.cholesky(precision)
    right = beta * tail + ratio * (columns @ observation.seen(x).flatten(1)[..., None] - cast)  # (n, L, M)
    half = torch.linalg.solve_triangular(lower, right, upper=False)
    log_volume = 2.0 * lower.diagonal(dim1=-2, dim2=-1).log().sum(-1) - size * math.log(beta)  # (n,) or (1,)
    still = log_volume + beta * tail.square().sum((-2, -1))
    return Conditioned(
        head=head, half=half, lower=lower, energy=ratio * costs + 0.5 * (still[:, None] - half.square().sum(1))
    )


def _columns(
    observation: AbstractObservation, x: Tensor, matrix: Tensor, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """Columns of O_i W and of O_i' O_i W, as rows: shape (n, L, D), or (1, L, D) where everything is seen."""
    if isinstance(observation, Direct):
        return matrix.T[None], matrix.T[None]
    wide = x.repeat_interleave(matrix.shape[1], dim=0)
    columns = observation.apply(wide, matrix.T.reshape(-1, *shape).repeat(len(x), *(1 for _ in shape)))
    back = observation.adjoint(wide, columns)
    return columns.flatten(1).unflatten(0, (len(x), -1)), back.flatten(1).unflatten(0, (len(x), -1))
