"""Families of images: what a decoder makes of causes, and what the data themselves say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from isotherm.posterior.observation import hartley

if TYPE_CHECKING:
    from isotherm.applications.inverse.masked_digits import MaskedImages


@dataclass(frozen=True, eq=False, kw_only=True)
class Families:
    """Some images for each observation, three times.

    Attributes:
        decoded: A(z), shape (n, count, H, W).
        completed: Measured frequencies as they were measured, the others those of A(z).
        predicted: Draws of what the whole image may be: the same with noise, on measured frequencies that of the
            measurement, on the others that which the model takes images to have around A(z).
    """

    decoded: Tensor
    completed: Tensor
    predicted: Tensor


def families_of(decoded: Tensor, data: MaskedImages, *, model_noise: float, generator: torch.Generator) -> Families:
    """Complete the decoder's images with what was measured.

    Args:
        decoded: A(z) for draws z from each posterior, shape (n, count, H, W).
        data: The observations.
        model_noise: Standard deviation of an image around A(z), per coefficient: sqrt(gamma / lam).
        generator: For the noise.

    Returns:
        The families.
    """
    mask, measured = data.mask[:, None], hartley(data.y)[:, None]
    coefficients = hartley(decoded.flatten(0, 1)).view_as(decoded)
    xi = torch.randn(decoded.shape, generator=generator, dtype=decoded.dtype)
    completed = mask * measured + (1.0 - mask) * coefficients
    noisy = completed + (mask * data.noise + (1.0 - mask) * model_noise) * xi
    back = [hartley(each.flatten(0, 1)).view_as(decoded) for each in (completed, noisy)]
    return Families(decoded=decoded, completed=back[0], predicted=back[1])
