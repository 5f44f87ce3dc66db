"""Digits of which half the Fourier plane was measured, each turned its own way, with noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_positive
from isotherm._optional import require
from isotherm.posterior import wedge_mask
from isotherm.posterior.observation import hartley

TRAINED_ON = 1198  # of 1797 digits; the rest is held out
GREYS = 16.0


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskedImages:
    """Observations and the truth behind them.

    Attributes:
        y: Measured frequencies turned back into images, zero elsewhere, shape (n, 8, 8).
        mask: One where a frequency was measured, shape (n, 8, 8), in the order of `torch.fft.fftn`.
        truth: Shape (n, 8, 8), from 0 to 1.
        noise: Standard deviation of the noise of each measured coefficient.
    """

    y: Tensor
    mask: Tensor
    truth: Tensor
    noise: float

    @property
    def batch(self) -> tuple[Tensor, Tensor]:
        """What a model is given: (y, mask)."""
        return self.y, self.mask

    def first(self, count: int) -> MaskedImages:
        """The first of them."""
        return self._part(slice(None, count))

    def last(self, count: int) -> MaskedImages:
        """The last of them."""
        return self._part(slice(len(self.y) - count, None))

    def _part(self, part: slice) -> MaskedImages:
        return MaskedImages(y=self.y[part], mask=self.mask[part], truth=self.truth[part], noise=self.noise)


def masked_digits(*, opening: float = 90.0, noise: float = 0.05, seed: int = 0) -> tuple[MaskedImages, MaskedImages]:
    """The digits of scikit-learn, 8 x 8 pixels, with a double wedge of frequencies missing at a random angle.

    Args:
        opening: Of the missing wedge, degrees; 90 leaves out half the plane.
        noise: Standard deviation of each measured coefficient of the orthonormal transform.
        seed: Of split, angles and noise.

    Returns:
        1198 digits to train on, of which the truth is not to be used, and 599 to judge with.

    Raises:
        ImportError: scikit-learn is missing; the message says how to get it.
    """
    datasets = require("sklearn.datasets", extra="demo", why="read its digits")
    check_positive(noise, "noise")
    images = torch.as_tensor(datasets.load_digits().images, dtype=torch.float32) / GREYS
    generator = torch.Generator().manual_seed(seed)
    images = images[torch.randperm(len(images), generator=generator)]
    mask = wedge_mask(images.shape[1], 180.0 * torch.rand(len(images), generator=generator), opening=opening)
    y = hartley(mask * (hartley(images) + noise * torch.randn(images.shape, generator=generator)))
    parts = [slice(None, TRAINED_ON), slice(TRAINED_ON, None)]
    train, held = (MaskedImages(y=y[part], mask=mask[part], truth=images[part], noise=noise) for part in parts)
    return train, held
