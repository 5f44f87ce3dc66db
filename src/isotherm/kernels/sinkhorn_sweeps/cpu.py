"""Blocks of sweeps in the compiled extension: each problem by one thread, its kernel kept between sweeps and blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from isotherm.kernels import compiled
from isotherm.kernels.axes import AxisCosts
from isotherm.kernels.compiled import bind, extension, handed, plain
from isotherm.kernels.grid import GridCosts
from isotherm.kernels.sinkhorn_sweeps.sweeps import Swept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from isotherm.kernels.sinkhorn_sweeps.sweeps import Sweeps
    from isotherm.kernels.source import CostSource

KEPT_ENTRIES = 1 << 22  # entries of all kernels of a call up to which they are kept for the next: 16 MiB in float32


def why_not(costs: CostSource, *tensors: Tensor | None) -> list[str]:
    """Reasons against the compiled kernel; none for a formula or a grid whose numbers are plain ones in memory."""
    parts = map(AxisCosts, costs.matrices) if isinstance(costs, GridCosts) else [costs]
    return list(dict.fromkeys(reason for part in parts for reason in compiled.why_not(part, *tensors)))


def sinkhorn_sweeps(problems: Sequence[Sweeps]) -> list[Swept]:
    """See `isotherm.kernels.sinkhorn_sweeps`."""
    outputs = [_outputs(problem) for problem in problems]
    # Many kernels cost more to find again in memory than to make: those of a large batch share one place in each thread.
    is_kept = sum(_entries(problem.costs) for problem in problems) <= KEPT_ENTRIES
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


def _entries(costs: CostSource) -> int:
    """Numbers of a kernel that is kept: one for each pair, on a grid for each pair of an axis, both ways."""
    if isinstance(costs, GridCosts):
        return 2 * sum(matrix.numel() for matrix in costs.matrices)
    return costs.shape[0] * costs.shape[1]


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
    if isinstance(p.costs, GridCosts):
        costs = extension.Grid([plain(matrix) for matrix in p.costs.matrices])
    else:
        costs = bind(p.costs)
    return extension.Sweeps(costs, *given, settings, p.count, kernel, *map(handed, outputs))
