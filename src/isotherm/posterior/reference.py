"""Where candidates come from: the law kappa(z | x) that a posterior falls back on where it is hot."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from isotherm._checks import check_count, check_finite, check_positive, check_weights


class Candidates(NamedTuple):
    """Possible causes with the logarithms of their weights, which add up to one."""

    z: Tensor  # (M, K) where all inputs have the same, else (n, M, K)
    log_weights: Tensor  # (M,)


class AbstractReference(ABC):
    """A law of causes, kappa(z | x)."""

    @property
    @abstractmethod
    def is_shared(self) -> bool:
        """Whether it is the same law for all observations, so that these share their candidates."""

    @abstractmethod
    def draw(self, x: Tensor, count: int | None, generator: torch.Generator) -> Candidates:
        """Candidates for observations x, shape (n, ...)."""

    @abstractmethod
    def log_density(self, z: Tensor, x: Tensor) -> Tensor:
        """log kappa(z_i | x_i), shape (n,), for z of shape (n, K) and x of shape (n, ...)."""


@dataclass(frozen=True, eq=False)
class GaussianReference(AbstractReference):
    """kappa(z | x) = N(centre(x), 1 / precision).

    Attributes:
        centre: Mean, shape (K,), the same for all observations; or a function that gives (n, K) for n observations, such
            as an encoder. Zeros and precision one are the prior N(0, 1).
        precision: Inverse of the variance, the same in all directions.

    Raises:
        ValueError: A centre that is no vector, or a precision that is not positive.

    Example:
        >>> prior = GaussianReference(torch.zeros(2))
        >>> prior.draw(torch.zeros(5, 3), 4, torch.Generator().manual_seed(0)).z.shape
        torch.Size([4, 2])
    """

    centre: Tensor | Callable[[Tensor], Tensor]
    precision: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.precision, "precision")
        if isinstance(self.centre, Tensor):
            if self.centre.ndim != 1:
                msg = f"`centre` must have shape (K,): got {tuple(self.centre.shape)}. Pass a function where it depends on the observation."
                raise ValueError(msg)
            check_finite(self.centre, "centre")

    @property
    def is_shared(self) -> bool:
        """See `AbstractReference.is_shared`."""
        return isinstance(self.centre, Tensor)

    def mean(self, x: Tensor) -> Tensor:
        """Centres, shape (K,) where shared, else (n, K)."""
        return self.centre if isinstance(self.centre, Tensor) else self.centre(x)

    def draw(self, x: Tensor, count: int | None, generator: torch.Generator) -> Candidates:
        """See `AbstractReference.draw`; a thousand where no number is asked for."""
        count, mean = check_count(1000 if count is None else count, "count"), self.mean(x)
        shape = (*mean.shape[:-1], count, mean.shape[-1])
        z = mean[..., None, :] + self.precision**-0.5 * normal(shape, generator, mean)
        return Candidates(z, even(count, mean))

    def log_density(self, z: Tensor, x: Tensor) -> Tensor:
        """See `AbstractReference.log_density`."""
        distance = (z - self.mean(x)).square().sum(-1)
        return 0.5 * (z.shape[-1] * math.log(self.precision / (2.0 * math.pi)) - self.precision * distance)


@dataclass(frozen=True, eq=False)
class SampleReference(AbstractReference):
    """kappa = sum_m b_m delta(z_m): causes that are given, with weights.

    With w the potential g of an entropic solution between observations and A(z_m), posteriors are the rows of its plan.

    Attributes:
        points: z, shape (M, K).
        weights: b, shape (M,), not negative; equal when left out. They are normalised.

    Raises:
        ValueError: Shapes that do not fit, entries that are no numbers, or weights without mass.

    Example:
        >>> SampleReference(torch.zeros(4, 1)).log_weights.exp()
        tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """

    points: Tensor  # (M, K)
    weights: Tensor | None = None  # (M,)

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or 0 in self.points.shape:
            msg = f"`points` must have shape (M, K), both at least 1: got {tuple(self.points.shape)}. Pass one row per cause."
            raise ValueError(msg)
        check_finite(self.points, "points")
        if self.weights is not None:
            check_weights(self.weights, "weights", len(self.points))

    @property
    def is_shared(self) -> bool:
        """See `AbstractReference.is_shared`."""
        return True

    @property
    def log_weights(self) -> Tensor:
        """log b, shape (M,); -inf where there is no mass."""
        if self.weights is None:
            return even(len(self.points), self.points)
        return (self.weights / self.weights.sum()).log()

    def draw(self, x: Tensor, count: int | None, generator: torch.Generator) -> Candidates:
        """See `AbstractReference.draw`; nothing is drawn, all are candidates."""
        if count not in (None, len(self.points)):
            msg = f"`count` must be left out where causes are given, {len(self.points)} of them: got {count}. Select among `points` instead."
            raise ValueError(msg)
        return Candidates(self.points, self.log_weights)

    def log_density(self, z: Tensor, x: Tensor) -> Tensor:
        """Refused: given points have no density."""
        msg = "Chains and modes need a reference with a density: got SampleReference. Use GaussianReference, or `reweight`."
        raise TypeError(msg)


def normal(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    """Standard normal numbers, drawn where the generator lives, in the dtype and on the device of a tensor."""
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=generator.device).to(like.device)


def even(count: int, like: Tensor) -> Tensor:
    """log(1 / count), shape (count,)."""
    return torch.full((count,), -math.log(count), dtype=like.dtype, device=like.device)
