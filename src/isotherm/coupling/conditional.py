"""Conditional laws of a coupling: what may become of one source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, Namespace, to_tensor
from isotherm._checks import check_count, check_known, check_values
from isotherm.kernels import BLOCK_ENTRIES


@dataclass(frozen=True, eq=False, kw_only=True)
class Conditional:
    """P(j | i) for one source, or for several.

    Attributes:
        table: The probabilities as a tensor, shape (M,) or (n, M); rows sum to one.
        points: Coordinates of the targets, shape (M, D), if known.
        namespace: Library that results are exported to.
    """

    table: Tensor
    points: Tensor | None
    namespace: Namespace

    @property
    def probabilities(self) -> Any:
        """P(j | i), shape (M,) or (n, M)."""
        return self.namespace.export(self.table)

    def mean(self, values: ArrayLike | None = None) -> Any:
        """Expected value of the target.

        Args:
            values: What to average, shape (M,) or (M, K); the targets' coordinates when left out.

        Returns:
            Shape (K,) or (n, K); a scalar or (n,) for a vector of values.

        Raises:
            ValueError: No values given and the problem knows costs only.
        """
        if values is None:
            tensor = check_known(self.points)
        else:
            tensor = to_tensor(values, "values", dtype=self.table.dtype, device=self.table.device)
            check_values(tensor, self.table.shape[-1], "values")
        return self.namespace.export(torch.tensordot(self.table, tensor, dims=1))

    def sample(self, k: int, *, generator: torch.Generator | None = None) -> Any:
        """Draw k targets, independent and with replacement.

        Args:
            k: Number of draws per source.
            generator: Source of randomness; a freshly seeded one when left out.

        Returns:
            Indices of targets, shape (k,) or (n, k).
        """
        check_count(k, "k")
        if generator is None:
            generator = torch.Generator()
            generator.seed()
        tables = self.table.reshape(-1, self.table.shape[-1])
        draws = invert_cdf(tables, uniform((tables.shape[0], k), generator, tables.device))
        return self.namespace.export(draws.reshape(*self.table.shape[:-1], k))


class ConditionalRows(Protocol):
    """Anything that can produce conditional laws of some of its rows."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets."""
        ...

    def conditional_rows(self, rows: slice | Tensor) -> Tensor:
        """Probabilities, shape (n, M)."""
        ...


def uniform(size: tuple[int, ...], generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform draws in [0, 1) in float64, made where the generator lives."""
    return torch.rand(size, generator=generator, dtype=torch.float64, device=generator.device).to(device)


def invert_cdf(weights: Tensor, draws: Tensor) -> Tensor:
    """Categorical draws by inversion; an entry of zero weight is never drawn.

    Args:
        weights: Non-negative, shape (n, M); rows need not sum to one.
        draws: Uniform in [0, 1), shape (n, k).

    Returns:
        Indices, shape (n, k).
    """
    cdf = weights.double().cumsum(1)  # (n, M)
    indices = torch.searchsorted(cdf, draws * cdf[:, -1:], right=True)
    last = weights.shape[1] - 1 - (weights > 0).flip(1).int().argmax(1, keepdim=True)  # rounding may pass the end
    return torch.minimum(indices, last)


def draw_rows(row_mass: Tensor, k: int, generator: torch.Generator, *, is_stratified: bool) -> Tensor:
    """Indices of k sources by mass, shape (k,): systematic sampling in order, or independent draws."""
    draws = uniform((k,), generator, row_mass.device)
    if is_stratified:
        draws = (draws[0] + torch.arange(k, dtype=torch.float64, device=row_mass.device)) / k
    return invert_cdf(row_mass[None], draws[None])[0]


def draw_columns(coupling: ConditionalRows, rows: Tensor, generator: torch.Generator) -> Tensor:
    """One target for each listed source, drawn from its conditional law, shape (k,)."""
    draws = uniform((rows.shape[0],), generator, rows.device)
    order = rows.argsort(stable=True)
    columns = torch.empty_like(rows)
    for part in order.split(max(1, BLOCK_ENTRIES // coupling.shape[1])):
        laws = coupling.conditional_rows(rows[part])  # (n, M)
        columns[part] = invert_cdf(laws, draws[part, None])[:, 0]
    return columns
