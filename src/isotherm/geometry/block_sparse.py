"""The costs of a point cloud, reduced over the pairs that matter."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from isotherm import kernels
from isotherm.geometry.abstract import AbstractPairwise

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm._arrays import Namespace
    from isotherm.geometry.clusters import Clusters
    from isotherm.geometry.point_cloud import PointCloud


@dataclass(frozen=True, eq=False, repr=False)
class BlockSparse(AbstractPairwise):
    """A point cloud whose reductions leave out pairs of cells with next to no mass.

    Costs are those of the cloud. Sums and minima over all pairs meet the listed pairs of cells only; `skipped_mass` bounds
    what a plan has on the others, for any potentials, so that errors and certificates that count it hold for the whole
    plan. Points are in the user's order. Made by `Multiscale`, not by users.

    Attributes:
        base: The cloud.
        sources: Cells of its sources, from the points of its formula.
        targets: Cells of its targets.
        pattern: The pairs of cells that are met.
    """

    base: PointCloud
    sources: Clusters
    targets: Clusters
    pattern: kernels.BlockPattern

    @staticmethod
    def around(
        base: PointCloud, sources: Clusters, targets: Clusters, f: Tensor, g: Tensor, *, least: float
    ) -> BlockSparse:
        """The pairs that matter for some potentials: wherever f_i + g_j - C_ij may exceed a threshold.

        What is left out of row i is then below a_i exp(least / epsilon) times the mass of b, and likewise for columns.

        Args:
            base: The cloud; its cost has a formula between points.
            sources: Cells of its sources.
            targets: Cells of its targets.
            f: Potential of the sources, shape (N,), finite, units of cost.
            g: Potential of the targets, shape (M,).
            least: The threshold, units of cost.

        Returns:
            The geometry. Each point meets some others, however wrong the potentials.
        """
        formula = base.formula()
        assert formula is not None, "this is our bug: Multiscale asks for a formula first"
        rows, columns, groups = _tables(formula, sources, targets, f, g)
        starts, blocks = kernels.select_cells(formula, rows, columns, groups, least=least)
        pattern = kernels.BlockPattern.from_list(sources.order, targets.order, starts, blocks)
        return BlockSparse(base, sources, targets, pattern)

    def __repr__(self) -> str:
        return f"BlockSparse({self.base}, {self.pattern.density:.2%} of the pairs)"

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.base.shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the points."""
        return self.base.dtype

    @property
    def device(self) -> torch.device:
        """Device of the points."""
        return self.base.device

    @property
    def namespace(self) -> Namespace:
        """Library of the points."""
        return self.base.namespace

    @property
    def source_points(self) -> Tensor:
        """x, shape (N, D)."""
        return self.base.source_points

    @property
    def target_points(self) -> Tensor:
        """y, shape (M, D)."""
        return self.base.target_points

    @property
    def coordinate_scale(self) -> float:
        """That of the cloud."""
        return self.base.coordinate_scale

    def transpose(self) -> BlockSparse:
        """Sources and targets swapped."""
        return BlockSparse(self.base.transpose(), self.targets, self.sources, self.pattern.transpose())

    def detach(self) -> BlockSparse:
        """The same outside every autograd graph."""
        return replace(self, base=self.base.detach())

    def double(self) -> BlockSparse:
        """The same in float64."""
        return replace(self, base=self.base.double())

    def for_iteration(self) -> BlockSparse:
        """Itself."""
        return self

    def block(self, rows: slice | Tensor) -> Tensor:
        """Costs of some sources to all targets, shape (n, M), none left out."""
        return self.base.block(rows)

    def formula(self) -> kernels.Formula:
        """The formula of the cloud, with the pattern."""
        formula = self.base.formula()
        assert formula is not None, "this is our bug: Multiscale asks for a formula first"
        return replace(formula, pattern=self.pattern)

    def skipped_mass(self, f: Tensor, g: Tensor, a: Tensor, b: Tensor, *, epsilon: float) -> Tensor:
        """Upper bound on the mass of a plan on the pairs left out; see `AbstractGeometry.skipped_mass`."""
        formula = self.formula()
        tables = _tables(formula, self.sources, self.targets, f, g, (a, b))
        return kernels.skipped_scores(formula, *tables, epsilon=epsilon)[0].sum()

    def hard_min(self, h: Tensor) -> Tensor:
        """min_j C_ij - h_j, shape (N,), or a little less: at most what a pair left out could attain."""
        kept = kernels.hard_min(self, h)  # (N,), over the list
        is_known = kept < torch.inf
        kept = torch.where(is_known, kept, kept[is_known].max() if bool(is_known.any()) else 0.0)
        reached = torch.where(h > -torch.inf, h, h[h > -torch.inf].min() if bool((h > -torch.inf).any()) else 0.0)
        formula = self.formula()
        tables = _tables(formula, self.sources, self.targets, kept, reached)
        excess = kernels.skipped_scores(formula, *tables, epsilon=1.0)[1].clamp(min=0.0)  # (cells,)
        lowered = torch.empty_like(kept)
        lowered[self.sources.order] = excess.repeat_interleave(kernels.CELL)[: len(kept)].to(kept.dtype)
        return kept - lowered

    def plan_cost(self, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
        """See `isotherm.kernels.plan_cost`."""
        return kernels.plan_cost(self, p, q, epsilon=epsilon)

    def product_cost(self, a: Tensor, b: Tensor) -> Tensor:
        """sum_ij a_i C_ij b_j, none left out."""
        return self.base.product_cost(a, b)

    def product_square_deviation(self, a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
        """sum_ij a_i (C_ij - centre)^2 b_j, none left out; a pass over all pairs."""
        return self.base.product_square_deviation(a, b, centre)

    def cost_range(self) -> tuple[float, float]:
        """Smallest and largest C_ij, none left out; time O(N M D)."""
        return self.base.cost_range()

    def extend(self, x_new: Tensor) -> PointCloud:
        """The costs from new sources, shape (K, D), to all targets."""
        return self.base.extend(x_new)


def _tables(
    formula: kernels.Formula,
    sources: Clusters,
    targets: Clusters,
    f: Tensor,
    g: Tensor,
    weights: tuple[Tensor, Tensor] | None = None,
) -> tuple[kernels.Cells, kernels.Cells, Tensor]:
    """Cells of the sources, of the targets, and groups of the latter, as the kernels take them."""
    curvature = {"sqeuclidean": formula.scale, "dot": 0.0}.get(formula.kind)
    a, b = (torch.zeros_like(f), torch.zeros_like(g)) if weights is None else weights
    rows = sources.cells(f, a, kernels.CELL, curvature=curvature)
    columns, groups = (
        targets.cells(g, b, size, curvature=curvature) for size in (kernels.CELL, kernels.CELL * kernels.GROUP)
    )
    return rows, columns, groups.table
