"""Blocks of sweeps in the compiled extension: each problem by one thread, its kernel kept between sweeps and blocks."""

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

KEPT_ENTRIES = 1 << 22  # entries of all kernels of a call up to which they are kept for the next: 16 MiB in float32


def sinkhorn_sweeps(problems: Sequence[Sweeps]) -> list[Swept]:
    """See `isotherm.kernels.sinkhorn_sweeps`."""
    outputs = [_outputs(problem) for problem in problems]
    # Many kernels cost more to find again in memory than to make: those of a large batch share one place in each thread.
    is_kept = sum(problem.costs.shape[0] * problem.costs.shape[1] for problem in problems) <= KEPT_ENTRIES
    kernels = [(problem.kernel or extension.Keeper()) if is_kept else None for problem in problems]
    bound = [_bind(*one) for one in zip(problems, kernels, outputs, strict=True)]
    extension.sinkhorn_sweeps(bound, torch.get_num_threads())
    found = []
    for one, kernel, (f, g, exact_g, softmin) in zip(bound, kernels, outputs, strict=True):
        residuals, changes, dual, has_dropped = one.found()
        found.append(
            Swept(
                f=f, g=g, exact_g=exact_g, softmin=softmin,
                residuals=residuals, changes=changes, dual=dual, has_dropped=has_dropped,
                kernel=kernel,
            )
        )  # fmt: skip
    return found


def _outputs(problem: Sweeps) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Room for f, g, exact g and the soft minimum."""
    f, g = problem.f, problem.g
    return torch.empty_like(f), torch.empty_like(g), torch.empty_like(g), torch.empty_like(f)


def _bind(problem: Sweeps, kernel: Any, outputs: tuple[Tensor, ...]) -> Any:
    """A problem as the extension takes it."""
    p = problem
    before = None if p.last_softmin is None or p.last_omega == 1.0 else plain(p.last_softmin)
    settings = (p.epsilon, p.rho_a, p.rho_b, p.omega, p.last_omega, p.dual, p.tolerance, p.residual)
    given = (plain(p.a), plain(p.b), plain(p.f), plain(p.g), before)
    return extension.Sweeps(bind(p.costs), *given, settings, p.count, kernel, *map(handed, outputs))
