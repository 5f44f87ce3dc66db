"""Langevin dynamics: many chains at once, each drifting down its energy and kicked about by heat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_count, check_positive
from isotherm.posterior.chains import Chains
from isotherm.posterior.reference import normal

Energy = Callable[[Tensor], Tensor]  # (C, n, K) -> (C, n)


@dataclass(frozen=True, eq=False, kw_only=True)
class Langevin:
    """Settings of the chains.

        z' = z - step/2 A grad U(z) + sqrt(step) A^(1/2) xi

    Attributes:
        step: Length of a step; at most 4 / (largest curvature of U), preconditioned, or the chains run away.
        steps: Steps that are taken after the warm-up.
        warm_up: Steps that are taken first, and forgotten.
        thin: Every so many steps one is kept.
        method: "ula", which takes every step and samples a law that is step-dependently too wide; or "mala", which refuses
            some, and is exact.
        preconditioner: A, symmetric positive definite, shape (K, K); a vector (K,) is its diagonal; (n, K, K) is one for
            each observation; the identity when left out. The posterior's covariance is best: see `Posterior.covariance_at`.
        clip: Longest gradient, Euclidean; no limit when left out. It bends the law that is sampled under "ula".

    Raises:
        ValueError: A setting is out of range.

    References:
        [RobertsTweedie1996]
    """

    step: float
    steps: int = 1000
    warm_up: int = 0
    thin: int = 1
    method: str = "mala"
    preconditioner: Tensor | None = None
    clip: float | None = None

    def __post_init__(self) -> None:
        check_positive(self.step, "step")
        for name, least in (("steps", 1), ("warm_up", 0), ("thin", 1)):
            check_count(getattr(self, name), name, minimum=least)
        check_choice(self.method, "method", ("ula", "mala"))
        if self.clip is not None:
            check_positive(self.clip, "clip")
        if self.preconditioner is not None and self.preconditioner.ndim not in (1, 2, 3):
            msg = f"`preconditioner` must have shape (K,), (K, K) or (n, K, K): got {tuple(self.preconditioner.shape)}. Pass a matrix or its diagonal."
            raise ValueError(msg)

    def run(self, energy: Energy, start: Tensor, generator: torch.Generator) -> Chains:
        """Take all steps.

        Args:
            energy: U, differentiable; each chain's on its own.
            start: Where chains begin, shape (C, n, K).
            generator: Source of all randomness.

        Returns:
            The kept draws.

        Raises:
            FloatingPointError: A chain has run away; the step is too long for the energy.
        """
        shape = Preconditioner(self.preconditioner, start)
        here = self._look(energy, start)
        taken = torch.zeros(start.shape[:2], device=start.device)
        draws, energies = list[Tensor](), list[Tensor]()
        for count in range(1, self.warm_up + self.steps + 1):
            there, is_taken = self._step(energy, here, shape, generator)
            here = there if is_taken is None else _choose(is_taken, there, here)
            if count > self.warm_up:
                taken += 1.0 if is_taken is None else is_taken
                if (count - self.warm_up) % self.thin == 0:
                    draws.append(here[0])
                    energies.append(here[1])
            if count % 50 == 0 or count == self.warm_up + self.steps:
                self._check(here[1], count)
        if not draws:
            msg = f"`thin` must be at most `steps` = {self.steps}: got {self.thin}. Nothing would be kept."
            raise ValueError(msg)
        return Chains(draws=torch.stack(draws), energies=torch.stack(energies), acceptance=taken / self.steps)

    def _look(self, energy: Energy, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """z, its energy and the gradient there."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = energy(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        if self.clip is not None:
            gradient = gradient * (self.clip / gradient.norm(dim=-1, keepdim=True).clamp(min=1e-30)).clamp(max=1.0)
        return z.detach(), value.detach(), gradient

    def _step(
        self,
        energy: Energy,
        here: tuple[Tensor, Tensor, Tensor],
        shape: Preconditioner,
        generator: torch.Generator,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor | None]:
        """A proposal, and where it is taken: nothing to refuse under "ula"."""
        z, value, gradient = here
        noise = normal(tuple(z.shape), generator, z)
        there = self._look(energy, z - 0.5 * self.step * shape.apply(gradient) + self.step**0.5 * shape.root(noise))
        if self.method == "ula":
            return there, None
        back = shape.unroot(z - there[0] + 0.5 * self.step * shape.apply(there[2])).square().sum(-1) / self.step
        log_ratio = value - there[1] - 0.5 * (back - noise.square().sum(-1))
        draws = torch.rand(log_ratio.shape, generator=generator, dtype=z.dtype, device=generator.device)
        return there, draws.to(z.device).log() < log_ratio  # a NaN is refused

    def _check(self, energies: Tensor, count: int) -> None:
        if not energies.isfinite().all():
            msg = (
                f"Energies must stay finite: {int((~energies.isfinite()).sum())} chains have run away within {count} steps "
                f"of length {self.step:g}. Shorten `step`, set `clip`, or take method='mala'."
            )
            raise FloatingPointError(msg)


class Preconditioner:
    """Products with A, its root and the inverse of that; the root L has L L' = A.

    Args:
        matrix: Shape (K, K), (n, K, K), or the diagonal (K,); None for the identity.
        like: Causes, shape (C, n, K).
    """

    def __init__(self, matrix: Tensor | None, like: Tensor) -> None:
        matrix = None if matrix is None else matrix.detach().to(like)
        if matrix is not None and (
            matrix.shape[-1] != like.shape[-1] or matrix.shape[:-2] not in ((), like.shape[1:2])
        ):
            msg = f"`preconditioner` must be of size {like.shape[-1]}, as causes are, the same for all or one for each of {like.shape[1]} observations: got shape {tuple(matrix.shape)}. Drop or add rows."
            raise ValueError(msg)
        self.matrix = matrix
        self.lower = None if matrix is None else (matrix.sqrt() if matrix.ndim == 1 else torch.linalg.cholesky(matrix))

    def apply(self, v: Tensor) -> Tensor:
        """A v for each vector, shape (C, n, K)."""
        return _times(self.matrix, v)

    def root(self, v: Tensor) -> Tensor:
        """L v."""
        return _times(self.lower, v)

    def unroot(self, v: Tensor) -> Tensor:
        """L^-1 v."""
        if self.lower is None:
            return v
        if self.lower.ndim == 1:
            return v / self.lower
        return torch.linalg.solve_triangular(self.lower, v.permute(1, 2, 0), upper=False).permute(2, 0, 1)


def _times(matrix: Tensor | None, v: Tensor) -> Tensor:
    """Products of the matrix, those of each observation, or the diagonal, with vectors of shape (C, n, K)."""
    if matrix is None:
        return v
    return v * matrix if matrix.ndim == 1 else (v.transpose(0, 1) @ matrix.mT).transpose(0, 1)


def _choose(
    is_taken: Tensor, there: tuple[Tensor, Tensor, Tensor], here: tuple[Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The proposal where it is taken."""
    wide = is_taken[..., None]
    return (
        torch.where(wide, there[0], here[0]),
        torch.where(is_taken, there[1], here[1]),
        torch.where(wide, there[2], here[2]),
    )
