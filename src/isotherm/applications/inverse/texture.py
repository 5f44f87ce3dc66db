"""What a decoder of few numbers leaves unexplained: how much it is, and causes for it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.posterior import GaussianReference, PartlyLinearForward, Posterior, SampleReference, wedge_mask
from isotherm.posterior.observation import hartley

if TYPE_CHECKING:
    from collections.abc import Callable

    from isotherm.applications.inverse.masked_digits import MaskedImages
    from isotherm.models import EVIA

ROUNDS = 8


def reheated(posterior: Posterior, gamma: float) -> Posterior:
    """The posterior at another temperature, w / gamma kept: it is the logarithm of a density, and has none.

    Args:
        posterior: With a potential that is a function, or none.
        gamma: The other temperature.

    Returns:
        The same law of causes, with another price of misfit.

    Raises:
        TypeError: A potential that is known at points alone.
    """
    return replace(posterior, potential=_welcome(posterior, gamma / posterior.gamma, None), gamma=gamma)


def _welcome(posterior: Posterior, scale: float, first: int | None) -> Callable[[Tensor], Tensor] | None:
    """w of the first numbers of a cause, all when left out, times a scale."""
    w = posterior.potential
    if isinstance(w, Tensor):
        msg = "A texture needs w as a function: got its values at points, of a model with critic='sinkhorn'. Train with 'dual', 'ratio' or 'none'."
        raise TypeError(msg)
    return None if w is None else lambda z: scale * w(z[:, :first])


@torch.no_grad()
def unexplained(
    model: EVIA, data: MaskedImages, *, opening: float = 90.0, candidates: int = 4096, seed: int = 0
) -> float:
    """Standard deviation, per coefficient, of images around the decoder's: found with measured numbers alone.

        s^2 = mean of (y_k - E_q[A_k])^2 - Var_q[A_k] over coefficients k that were measured, and hidden from q

    A second wedge is taken out of each observation; q is the posterior given what is left, at the temperature lam s^2. What the
    members' mean is wrong by, beyond what members differ by, is what the decoder cannot explain. Solved by fixed-point rounds.

    Args:
        model: Trained on other data than these.
        data: Observations; the truth behind them is not used.
        opening: Of the wedge that is hidden, degrees.
        candidates: Draws from the prior.
        seed: Of the hidden wedges and of the draws.

    Returns:
        s, the noise of the measurement included.
    """
    generator = torch.Generator().manual_seed(seed)
    kept = data.mask * wedge_mask(
        data.mask.shape[1], 180.0 * torch.rand(len(data.mask), generator=generator), opening=opening
    )
    hidden, y = (data.mask - kept).flatten(1), hartley(data.y)
    x = model.observation.pack((hartley(kept * y), kept))
    z = model.prior(candidates, generator)
    coefficients = hartley(model.decode(z)).flatten(1)  # (M, D)
    variance = model.gamma / model.lam
    for _ in range(ROUNDS):
        posterior = replace(reheated(model.posterior(), model.lam * variance), reference=SampleReference(z))
        weights = posterior.reweight(x, least_effective=0.0).weights
        mean = weights @ coefficients
        excess = (y.flatten(1) - mean).square() - (weights @ coefficients.square() - mean.square())
        variance = max(float((hidden * excess).sum() / hidden.sum()), data.noise**2)
    return variance**0.5


def textured(model: EVIA, deviation: float, noise: float) -> Posterior:
    """The model's posterior at the temperature of the measurement: what was noise to the decoder becomes causes.

        A(z) = f(z_1 .. z_k) + sqrt(deviation^2 - noise^2) (z_{k+1} .. z_{k+D}),    gamma / lam = noise^2

    f is the model's decoder, of D values, and a texture is added that is white. All of the model's laws stay: its first k
    numbers have the posterior that they had at gamma / lam = deviation^2. But images can now agree with what was measured.

    Args:
        model: With a critic that is a function, or none.
        deviation: Of images around the model's, as `unexplained` finds it.
        noise: Of the measurement; both per value.

    Returns:
        With a `PartlyLinearForward`, whose D linear numbers are integrated out where candidates are weighed.

    Raises:
        ValueError: A deviation below the noise.
        TypeError: A critic that is known at points alone.
    """
    if deviation < noise:
        msg = f"`deviation` must be at least the noise of the measurement, {noise}: got {deviation}. Nothing is left for a texture."
        raise ValueError(msg)
    size = math.prod(model.shape)
    hot, gamma = model.posterior(), model.lam * noise**2
    potential = _welcome(hot, gamma / hot.gamma, model.latent)
    forward = PartlyLinearForward(model.decode, math.sqrt(deviation**2 - noise**2) * torch.eye(size))
    reference = GaussianReference(torch.zeros(model.latent + size))
    return replace(hot, forward=forward, reference=reference, potential=potential, gamma=gamma)
