"""Cells of points, and which pairs of them a plan may need; compiled only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm.kernels.compiled import extension

if TYPE_CHECKING:
    from isotherm.kernels.source import Formula

GROUP = 16  # cells that are looked at together, first


class Cells(NamedTuple):
    """Cells of points with a potential, for bounds on a plan.

    `table` has a row for each, shape (T, 3 D + 2): centre, half widths, slope, top, mass; the potential is at most
    top + slope . (point - centre). `inside` has the points themselves, a coordinate at a time, and their potentials,
    shape (T, D + 1, CELL). Both float64.
    """

    table: Tensor
    inside: Tensor


def sort_into_cells(points: Tensor, leaf: int = 2) -> Tensor:
    """An order of points in which each run of leaf * 2^k that starts at a multiple of it is a compact cell.

    Boxes are halved across their widest side, at a power of two of points. Time O(N log N).

    Args:
        points: Shape (N, D), float64, on the CPU.
        leaf: Points of the smallest cells.

    Returns:
        A permutation, shape (N,), int64.

    Example:
        >>> sort_into_cells(torch.tensor([[0.0], [9.0], [0.1], [9.1]], dtype=torch.float64))
        tensor([0, 2, 1, 3])
    """
    order = torch.empty(len(points), dtype=torch.int64)
    extension.sort_into_cells(points.contiguous(), leaf, order, torch.get_num_threads())
    return order


def select_cells(
    formula: Formula, rows: Cells, columns: Cells, groups: Tensor, *, least: float
) -> tuple[Tensor, Tensor]:
    """Pairs of cells that may hold a pair of points with an exponent above a threshold.

    Largest exponents p_i + q_j - C_ij are bounded over the boxes of both cells, with p and q below linear functions
    there. Each cell meets at least one. Time O(T (T / GROUP + pairs met)) for T cells a side.

    Args:
        formula: The cost between points; its points play no part here.
        rows: Cells of the sources.
        columns: Cells of the targets.
        groups: Each `GROUP` cells of the targets in turn as one, in a table as that of `Cells`.
        least: The threshold, units of cost.

    Returns:
        Where each source cell's part begins, int64, and the target cells, int32.
    """
    settings = formula.kind, formula.scale, formula.offset
    starts, blocks = extension.select_cells(*rows, *columns, groups, *settings, least, torch.get_num_threads())
    return torch.from_numpy(starts), torch.from_numpy(blocks)


def skipped_scores(
    formula: Formula, rows: Cells, columns: Cells, groups: Tensor, *, epsilon: float
) -> tuple[Tensor, Tensor]:
    """Bounds on the plan over the pairs of cells that a formula's pattern leaves out.

    Args:
        formula: The cost, with a pattern.
        rows: Cells of the sources.
        columns: Cells of the targets.
        groups: Groups of target cells.
        epsilon: Temperature > 0, units of cost.

    Returns:
        By source cell, shape (T,), float64: the most mass a_i b_j exp((p_i + q_j - C_ij) / epsilon) there can be on
        pairs left out, and the largest exponent there, units of cost.
    """
    assert formula.pattern is not None, "this is our bug: a formula without a pattern leaves nothing out"
    sums, greatest = (torch.empty(len(rows.table), dtype=torch.float64) for _ in range(2))
    settings = formula.kind, formula.scale, formula.offset, epsilon
    lists = formula.pattern.starts, formula.pattern.blocks
    extension.skipped_scores(*rows, *columns, groups, *settings, *lists, sums, greatest, torch.get_num_threads())
    return sums, greatest
