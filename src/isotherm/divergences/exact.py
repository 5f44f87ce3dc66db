"""The cold end of the dial: exact transport, in full or along lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from isotherm._checks import check_count, check_known, check_positive
from isotherm.divergences.front import loss
from isotherm.divergences.inputs import Pair, pairs_of
from isotherm.divergences.term import number
from isotherm.geometry import CostMatrix, PointCloud
from isotherm.solvers import Exact

if TYPE_CHECKING:
    from isotherm.divergences.inputs import CostLike
    from isotherm.divergences.term import Number
    from isotherm.geometry import AbstractGeometry

PAIRS = 256  # pairs whose costs are taken from one square block


@loss
def wasserstein(x: Any, y: Any = None, a: Any = None, b: Any = None, *, cost: CostLike | None = None) -> Any:
    """Cost of exact transport, min <C, P>: W_2^2 for the default cost, W_1 for "euclidean".

    Piecewise smooth: the derivative is that at the optimal plan and prices, dW / dC = P, dW / da = f, dW / db = g.
    Sorting on a line, O(N log N); else an assignment or a linear programme in float64 on the CPU, for up to a few
    thousand points (needs isotherm[exact]).

    Args:
        x: Sources, shape (N, D) or (N,); a batch (B, N, D); a list of B clouds; or a `PointCloud` or `CostMatrix`.
        y: Targets, likewise.
        a: Weights of the sources, shape (N,) or (B, N), or a list; equal when left out.
        b: Weights of the targets, of the same mass.
        cost: Cost object, name, or function of two clouds. Default: squared Euclidean.

    Returns:
        A scalar, or shape (B,) for a batch; units of cost times mass.

    Example:
        >>> wasserstein(torch.tensor([0.0, 1.0]), torch.tensor([3.0, 2.0]))
        tensor(4.)

    References:
        [PeyreCuturi2019, chapter 3]
    """
    given = pairs_of(x, y, a, b, cost, is_balanced=True)
    return given.export([_exact_cost(pair) for pair in given.pairs])


def _exact_cost(pair: Pair) -> Tensor:
    term = pair.term(0.0, math.inf, math.inf)
    solution = Exact().run(term.problem)
    plan, (f, g) = solution.coupling, solution.potentials
    mass = plan.pair_mass  # pyright: ignore[reportAttributeAccessIssue] - exact plans are sparse
    costs = _pair_costs(term.geometry, plan.sources, plan.targets)  # pyright: ignore[reportAttributeAccessIssue]
    moved = (term.a - term.a.detach()) @ f + (term.b - term.b.detach()) @ g  # zero, with the prices as derivative
    return (mass * costs).sum(dtype=torch.float64).to(mass.dtype) + moved


def _pair_costs(geometry: AbstractGeometry, i: Tensor, j: Tensor) -> Tensor:
    """C_ij of a list of pairs, shape (K,), differentiable."""
    match geometry:
        case CostMatrix(matrix=matrix):
            return matrix[i, j]
        case PointCloud(x=x, y=y, cost=cost):
            middle = torch.cat([x, y]).detach().mean(0) if cost.is_translation_invariant else 0.0
            blocks = zip((x[i] - middle).split(PAIRS), (y[j] - middle).split(PAIRS), strict=True)
            return torch.cat([cost.pairwise(one, two).diagonal() for one, two in blocks])
    return torch.cat([geometry.block(k)[:, m].diagonal() for k, m in zip(i.split(PAIRS), j.split(PAIRS), strict=True)])


def cold_end(x: Any, y: Any, a: Any, b: Any, cost: CostLike | None, *prices: Number) -> Any:
    """What entropic losses are at epsilon = 0: `wasserstein`; a ValueError where marginals have a finite price."""
    if not all(math.isinf(number(price)) for price in prices):
        msg = (
            f"A finite price of the marginals needs a temperature: got {', '.join(f'{number(p):g}' for p in prices)} at "
            f"epsilon = 0. Pass a small epsilon, or leave the prices out."
        )
        raise ValueError(msg)
    return wasserstein(x, y, a, b, cost=cost)


@loss
def sliced_wasserstein(
    x: Any,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    p: float = 2.0,
    projections: int = 64,
    generator: torch.Generator | int = 0,
) -> Any:
    """Mean cost of exact transport along random lines, W_p^p of projected points.

        mean over directions u of  min_P sum_ij |<u, x_i> - <u, y_j>|^p P_ij

    Time O(K (N + M) (D + log(N + M))) for K directions. Differentiable in points and weights almost everywhere.

    Args:
        x: Sources, shape (N, D); a batch (B, N, D); or a list of B clouds.
        y: Targets, likewise.
        a: Weights of the sources, shape (N,) or (B, N), or a list; equal when left out. A zero masks a point.
        b: Weights of the targets, of the same mass.
        p: Exponent, at least 1.
        projections: Number of directions, K.
        generator: Where directions come from, on the CPU; an integer seeds a new one, so that every call takes the same.

    Returns:
        A scalar, or shape (B,) for a batch; length to the power p times mass.

    Example:
        >>> x = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
        >>> round(float(sliced_wasserstein(x, x + torch.tensor([2.0, 0.0]), projections=4000)), 1)  # |shift|^2 / D
        2.0

    References:
        [Bonneel2015]
    """
    check_count(projections, "projections")
    if not check_positive(p, "p") >= 1.0:
        msg = (
            f"`p` must be at least 1: got {p}. Below it sorting is not optimal; use wasserstein with EuclideanPower(p)."
        )
        raise ValueError(msg)
    source = generator if isinstance(generator, torch.Generator) else torch.Generator().manual_seed(generator)
    given = pairs_of(x, y, a, b, "sqeuclidean", is_balanced=True)
    drawn: dict[int, Tensor] = {}  # one set of directions for all problems of one dimension
    out = []
    for pair in given.pairs:
        d = check_known(pair.geometry.source_points).shape[1]
        if d not in drawn:
            directions = torch.randn(d, projections, generator=source, dtype=torch.float64)
            drawn[d] = directions / directions.norm(dim=0)
        out.append(_sliced(pair, p, drawn[d]))
    return given.export(out)


def _sliced(pair: Pair, p: float, directions: Tensor) -> Tensor:
    """Mean over directions, (D, K), of the cost along them."""
    term = pair.term(0.0, math.inf, math.inf)
    x, y = check_known(term.geometry.source_points), check_known(term.geometry.target_points)
    directions = directions.to(x)
    return _line_costs((x @ directions).T, (y @ directions).T, term.a, term.b, p).mean()


def _line_costs(x: Tensor, y: Tensor, a: Tensor, b: Tensor, p: float) -> Tensor:
    """W_p^p of measures on K lines, x (K, N) and y (K, M), shape (K,): the mass between merged levels moves at once."""
    x, order_x = x.sort(1)
    y, order_y = y.sort(1)
    levels_x, levels_y = a[order_x].cumsum(1), b[order_y].cumsum(1)
    levels = torch.cat([levels_x, levels_y], 1).sort(1).values  # (K, N + M)
    mass = levels.diff(dim=1, prepend=torch.zeros_like(levels[:, :1]))
    middle = (levels - 0.5 * mass).detach().contiguous()
    i = torch.searchsorted(levels_x.detach().contiguous(), middle).clamp(max=x.shape[1] - 1)
    j = torch.searchsorted(levels_y.detach().contiguous(), middle).clamp(max=y.shape[1] - 1)
    gaps = x.gather(1, i) - y.gather(1, j)
    return (mass * (gaps.square() if p == 2.0 else gaps.abs().pow(p))).sum(1)
