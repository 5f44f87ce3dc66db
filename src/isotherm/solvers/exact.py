"""Exact transport, the cold end of the dial, from well-kept libraries."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

import torch
from torch import Tensor

from isotherm._checks import check_choice, check_dense_fits
from isotherm._optional import require
from isotherm._status import Outcome, Status
from isotherm.coupling import SparseCoupling
from isotherm.geometry import (
    CostMatrix,
    Euclidean,
    EuclideanPower,
    HalfSquaredEuclidean,
    NegativeDot,
    PointCloud,
    SquaredEuclidean,
)
from isotherm.kernels import Formula, hard_min
from isotherm.problem import Problem
from isotherm.solution import Solution, marginal_error
from isotherm.solvers.abstract import AbstractSolver
from isotherm.solvers.log_sinkhorn import LogSinkhorn
from isotherm.solvers.stopping import fix_gauge

if TYPE_CHECKING:
    from isotherm.solvers.initial import Init
    from isotherm.solvers.stopping import Callback

FEW = 64  # points that SciPy assigns as soon as a solve begins
NEAR = 16  # shortest edges of each point that potentials are found on first
WARMTH = 0.005  # temperature of the warm-up, over the mean cost above the least


class _Plan(NamedTuple):
    """Pairs of an optimal plan with optimal potentials, all in float64 on the CPU."""

    sources: Tensor
    targets: Tensor
    mass: Tensor
    f: Tensor
    g: Tensor


@dataclass(frozen=True, kw_only=True)
class Exact(AbstractSolver):
    """The linear programme itself, min <C, P> over couplings of a and b, at epsilon = 0.

    Points on a line with a convex cost are sorted, O(N log N + M log M). Equal weights and N = M make an assignment
    problem, solved by SciPy, O(N^3), on costs less the potentials of a rough entropic solution, which are most of the way. Everything else goes to POT's network simplex. The last two form C in float64.
    Entropic plans tend to the exact plan of largest entropy as epsilon falls; this solver returns a vertex.

    Attributes:
        algorithm: "auto", or "sorting", "assignment", "simplex" to insist.

    Raises:
        ValueError: In `run`, for a temperature above zero, unbalanced marginals or a reference coupling, which have
            no meaning here, or if the algorithm asked for does not apply.
        MemoryError: C does not fit.
        ImportError: SciPy or POT is missing: install isotherm[exact].

    Example:
        >>> from isotherm.problem import Problem
        >>> problem = Problem(PointCloud([0.0, 1.0], [1.1, 0.2]), epsilon=0.0)
        >>> float(Exact().run(problem).transport_cost)
        0.025...

    References:
        [PeyreCuturi2019, chapter 3]
    """

    algorithm: str = "auto"

    def __post_init__(self) -> None:
        check_choice(self.algorithm, "algorithm", ("auto", "sorting", "assignment", "simplex"))

    def with_tolerance(self, tolerance: float) -> Self:
        """Refused: an exact solution has no tolerance."""
        msg = f"Exact() has no tolerance to set: got {tolerance}. Leave `tolerance` out."
        raise ValueError(msg)

    def choose(self, problem: Problem) -> str:
        """Which algorithm would run; a ValueError if the one asked for does not apply."""
        applies = {"sorting": _is_convex_line(problem), "assignment": _is_assignment(problem), "simplex": True}
        if self.algorithm == "auto":
            return next(name for name, does in applies.items() if does)
        if not applies[self.algorithm]:
            need = (
                "one feature and a convex cost"
                if self.algorithm == "sorting"
                else "as many sources as targets, equally weighted"
            )
            msg = f"Exact(algorithm={self.algorithm!r}) needs {need}: this problem differs. Use algorithm='auto'."
            raise ValueError(msg)
        return self.algorithm

    @torch.no_grad()
    def run(self, problem: Problem, *, init: Init | None = None, callback: Callback | None = None) -> Solution:
        """Solve a problem; see `AbstractSolver.run`. Neither a start nor a callback has any use here."""
        _check_cold(problem, init)
        started = time.perf_counter()
        algorithm = self.choose(problem)
        problem = problem.detach()
        exact = problem.double()
        plan = {"sorting": _sort, "assignment": _assign, "simplex": _simplex}[algorithm](exact)
        dtype, device = problem.geometry.dtype, problem.geometry.device
        kept = plan.mass > 0
        points = problem.geometry.source_points, problem.geometry.target_points
        coupling = SparseCoupling(
            plan.sources[kept].to(device),
            plan.targets[kept].to(device),
            plan.mass[kept].to(device=device, dtype=dtype),
            problem.geometry.shape,
            problem.geometry.namespace,
            *points,
        )
        f, g = fix_gauge(problem, *(potential.to(device=device, dtype=dtype) for potential in (plan.f, plan.g)))
        library = {"sorting": "sorting", "assignment": "SciPy's assignment", "simplex": "POT's network simplex"}[
            algorithm
        ]
        return Solution(
            problem=problem,
            potentials=(f, g),
            coupling=coupling,
            status=Status(outcome=Outcome.EXACT, advice=f"solved exactly by {library}; no temperature, no iteration."),
            marginal_error=marginal_error(problem, (f, g), coupling),
            iterations=0,
            history=(),
            tolerance=None,
            method=f"Exact by {library}, as asked",
            seconds=time.perf_counter() - started,
        )


def _check_cold(problem: Problem, init: Init | None) -> None:
    """Refuse what has no meaning at zero temperature."""
    if problem.epsilon != 0:
        msg = f"Exact() solves the problem at epsilon = 0: got {problem.epsilon}. Leave epsilon out, or use an entropic solver."
        raise ValueError(msg)
    if not problem.is_balanced:
        msg = "Exact() solves balanced transport only: got a finite rho_a or rho_b. Use an entropic solver with a small epsilon."
        raise ValueError(msg)
    if problem.reference is not None:
        msg = "A reference coupling has no effect at epsilon = 0: got one. Leave it out, or use an entropic solver."
        raise ValueError(msg)
    if init is not None:
        msg = "Exact() does not start from potentials: got `init`. Leave it out."
        raise ValueError(msg)


def _is_convex_line(problem: Problem) -> bool:
    """One feature and a cost h(x - y) with h convex (or -xy, which differs from it by separate terms)."""
    geometry = problem.geometry
    if not isinstance(geometry, PointCloud) or geometry.x.shape[1] != 1:
        return False
    convex = isinstance(geometry.cost, SquaredEuclidean | HalfSquaredEuclidean | Euclidean | NegativeDot)
    return convex or (isinstance(geometry.cost, EuclideanPower) and geometry.cost.p >= 1)


def _is_assignment(problem: Problem) -> bool:
    """Equal numbers of equally weighted points."""
    sources, targets = problem.geometry.shape
    return sources == targets and bool((problem.a == problem.a[0]).all() and (problem.b == problem.b[0]).all())


def _sort(problem: Problem) -> _Plan:
    """North-west corner rule on sorted points: a monotone staircase of pairs, optimal for convex costs.

    Potentials follow from complementary slackness along the staircase; for a Monge cost they are feasible everywhere.
    """
    geometry = problem.geometry
    assert isinstance(geometry, PointCloud), "only point clouds are sorted; this is our bug"
    order_x, order_y = geometry.x[:, 0].cpu().argsort(), geometry.y[:, 0].cpu().argsort()
    a, b = problem.a.cpu()[order_x], problem.b.cpu()[order_y]
    n, m = a.shape[0], b.shape[0]
    # Step k of the staircase leaves a source or a target: merge the two running sums.
    levels_x, levels_y = a.cumsum(0)[:-1], b.cumsum(0)[:-1]
    levels, arrival = torch.cat([levels_x, levels_y]).sort(stable=True)
    leaves_source = torch.cat([arrival < n - 1, torch.tensor([True])])[:-1]
    i = torch.cat([torch.zeros(1, dtype=torch.long), leaves_source.long().cumsum(0)])  # (n + m - 1,)
    j = torch.arange(n + m - 1) - i
    edges = torch.cat([torch.zeros(1, dtype=torch.float64), levels, a.sum()[None]])
    mass = torch.where((a[i] > 0) & (b[j] > 0), edges.diff().clamp(min=0.0), 0.0)  # sums may differ by rounding
    steps = _pair_costs(geometry, order_x[i], order_y[j])
    # Moving along a column changes f, along a row changes g, by the difference of the costs.
    change = steps.diff()
    f = torch.zeros(n, dtype=torch.float64)
    g = torch.zeros(m, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    f[order_x] = torch.cat([zero, change[leaves_source]]).cumsum(0)
    g[order_y] = steps[0] + torch.cat([zero, change[~leaves_source]]).cumsum(0)
    return _Plan(order_x[i], order_y[j], mass, f, g)


def _assign(problem: Problem) -> _Plan:
    """Linear assignment by SciPy, warmed up; potentials by shortest paths over the matching, as SciPy returns none.

    What is subtracted from a row or a column of the costs changes every assignment's by as much. Less the potentials of
    an entropic solution costs are next to zero where pairs belong together, and SciPy's search ends early.
    """
    optimize = require("scipy.optimize", extra="exact", why="solve assignment problems exactly")
    costs = _dense_costs(problem)
    warm_f, warm_g = _warm_potentials(costs)
    costs = costs - warm_f[:, None] - warm_g
    _, matched = optimize.linear_sum_assignment(costs.numpy())
    targets = torch.from_numpy(matched)
    own = costs.gather(1, targets[:, None])[:, 0]
    f = _shortest(costs[:, targets] - own)
    g = torch.empty_like(f)
    g[targets] = own - f
    return _Plan(torch.arange(f.shape[0]), targets, problem.a.cpu(), warm_f + f, warm_g + g)


def _shortest(lengths: Tensor) -> Tensor:
    """Potentials with f_i <= f_k + L_ik for all i and k, from zero downwards: Bellman's equations, shape (N,).

    There are no negative cycles at an optimum. Short edges do nearly all of the work; then all edges have their say.
    """
    enough = 1e-14 * float(lengths.abs().max())
    near = lengths.topk(min(NEAR, len(lengths)), dim=1, largest=False)
    every = Formula("stored", lengths, None, 1.0, 0.0)
    passes = (lambda f: (near.values + f[near.indices]).amin(1)), (lambda f: hard_min(every, -f))
    f = torch.zeros_like(lengths[0])
    for shortened in passes:
        for _ in range(len(f)):
            f, before = shortened(f), f
            if torch.allclose(f, before, rtol=0.0, atol=enough):
                break
    return f


def _warm_potentials(costs: Tensor) -> tuple[Tensor, Tensor]:
    """Those of a rough entropic solution, shape (N,) each; zero where none would help."""
    least = float(costs.min())
    spread = float(costs.mean()) - least
    if len(costs) >= FEW and 0.0 < spread < math.inf:
        warm = Problem(CostMatrix(((costs - least) / spread).float()), epsilon=WARMTH)
        f, g = LogSinkhorn(tolerance=1e-2, max_iterations=300).run(warm).potentials
        if bool(f.isfinite().all() and g.isfinite().all()):
            return spread * f.double() + least, spread * g.double()
    return torch.zeros_like(costs[:, 0]), torch.zeros_like(costs[0])


def _simplex(problem: Problem) -> _Plan:
    """Network simplex by POT on the points with mass; other points get the price that makes them indifferent."""
    ot = require("ot", extra="exact", why="solve linear programmes exactly")
    costs = _dense_costs(problem)
    i, j = problem.a.cpu().nonzero()[:, 0], problem.b.cpu().nonzero()[:, 0]
    inner = costs[i][:, j]
    inner = (inner - inner.min()).contiguous()  # POT calls problems whose costs are all negative infeasible
    weights = problem.a.cpu()[i].numpy(), problem.b.cpu()[j].numpy()
    plan, log = ot.emd(*weights, inner.numpy(), numItermax=10_000_000, log=True)
    if log["warning"] is not None:
        msg = f"POT's network simplex stopped before the optimum: {log['warning']}. Use an entropic solver with a small epsilon."
        raise RuntimeError(msg)
    g_inner = torch.from_numpy(log["v"])
    f = (costs[:, j] - g_inner).amin(1)
    g = (costs - f[:, None]).amin(0)  # over all sources: feasible also between two points without mass
    rows, columns = torch.from_numpy(plan).nonzero(as_tuple=True)
    return _Plan(i[rows], j[columns], torch.from_numpy(plan)[rows, columns], f, g)


def _dense_costs(problem: Problem) -> Tensor:
    """C in float64 on the CPU, shape (N, M), if it fits."""
    check_dense_fits(*problem.geometry.shape, torch.float64, torch.device("cpu"), "The cost matrix of Exact()")
    return problem.geometry.block(slice(None)).cpu().double()


def _pair_costs(geometry: PointCloud, i: Tensor, j: Tensor) -> Tensor:
    """C_ij of a list of pairs, shape (K,)."""
    blocks = zip(geometry.x.cpu()[i].split(256), geometry.y.cpu()[j].split(256), strict=True)
    return torch.cat([geometry.cost.pairwise(x, y).diagonal() for x, y in blocks])
