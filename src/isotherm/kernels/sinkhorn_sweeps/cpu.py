"""Blocks of sweeps in the compiled extension: each problem by one thread, its kernel kept between sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels.compiled import bind, extension, handed, plain, why_not
from isotherm.kernels.sinkhorn_sweeps.sweeps import Swept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from isotherm.kernels.sinkhorn_sweeps.sweeps import Sweeps

__all__ = ["sinkhorn_sweeps", "why_not"]


def sinkhorn_sweeps(problems: Sequence[Sweeps]) -> list[Swept]:
    """See `isotherm.kernels.sinkhorn_sweeps`."""
    outputs = [_outputs(problem) for problem in problems]
    bound = [_bind(problem, *out) for problem, out in zip(problems, outputs, strict=True)]
    extension.sinkhorn_sweeps(bound, torch.get_num_threads())
    found = []
    for one, (f, g, exact_g, softmin) in zip(bound, outputs, strict=True):
        residuals, changes, dual, has_dropped = one.found()
        found.append(
            Swept(
                f=f, g=g, exact_g=exact_g, softmin=softmin,
                residuals=residuals, changes=changes, dual=dual, has_dropped=has_dropped,
            )
        )  # fmt: skip
    return found


def _outputs(problem: Sweeps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Room for f, g, exact g and the soft minimum."""
    f, g = problem.f, problem.g
    return torch.empty_like(f), torch.empty_like(g), torch.empty_like(g), torch.empty_like(f)


def _bind(problem: Sweeps, f: Tensor, g: Tensor, exact_g: Tensor, softmin: Tensor) -> Any:
    """A problem as the extension takes it."""
    p = problem
    before = None if p.last_softmin is None or p.last_omega == 1.0 else plain(p.last_softmin)
    settings = (p.epsilon, p.rho_a, p.rho_b, p.omega, p.last_omega, p.dual, p.tolerance)
    given = (plain(p.a), plain(p.b), plain(p.f), plain(p.g), before)
    return extension.Sweeps(bind(p.costs), *given, settings, p.count, *map(handed, (f, g, exact_g, softmin)))
