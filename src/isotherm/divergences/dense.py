"""The Sinkhorn divergence of many small pairs of clouds at once: costs, plans and derivatives as matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from isotherm._arrays import Namespace
from isotherm._checks import check_equal_masses
from isotherm._status import Outcome
from isotherm.divergences.term import number
from isotherm.geometry import HalfSquaredEuclidean, PointCloud, Relative, SquaredEuclidean
from isotherm.geometry.cost_matrix import stored_costs
from isotherm.geometry.costs import as_cost
from isotherm.kernels import Formula, Sweeps, is_swept, sinkhorn_sweeps
from isotherm.kernels.pairs import MAX_DIFFERENCE_DIMENSION
from isotherm.problem import Problem
from isotherm.solution import Check
from isotherm.solvers import LogSinkhorn
from isotherm.solvers.stopping import remaining_iterations
from isotherm.solvers.work import perform_all

if TYPE_CHECKING:
    from isotherm.divergences.inputs import CostLike
    from isotherm.divergences.term import Number

CHUNK_ENTRIES = 1 << 21  # costs of the problems that are worked on together
PLAIN_SWEEPS = 6  # after which the rate is known
MAX_PREDICTED = 500  # plain sweeps; what would take more is better cooled down to
MAX_SWEEPS = 150  # lengthened sweeps
LEAST_EXPONENT = -87.0  # of a normal number in float32; below it exp() is slow, and plans have nothing to lose
WEIGHTS = (1e-20, 1e20)  # beside which exp(LEAST_EXPONENT) is nothing
PRECISION = 0.01  # resolution of the costs, in temperatures, beyond which users are told
SCALES = {SquaredEuclidean: 1.0, HalfSquaredEuclidean: 0.5}  # C = scale |x - y|^2

Potentials = tuple[Tensor, Tensor]  # f (B, N) and g (B, M)


class Found(NamedTuple):
    """Divergences (B,), their derivatives by x (B, N, D) and y (B, M, D), where these were asked for, and potentials.

    The potentials, in units of cost, are those across, of x to itself and of y to itself; f is the soft minimum for g.
    """

    value: Tensor
    by_x: Tensor | None
    by_y: Tensor | None
    potentials: tuple[Potentials, Potentials, Potentials]


class Own(NamedTuple):
    """A cloud against itself: potentials in temperatures (B, N), and P x (B, N, D), where it was asked for."""

    f: Tensor
    g: Tensor
    image: Tensor | None

    def value(self, a: Tensor) -> Tensor:
        """<a, f + g>, shape (B,), float64."""
        return (a * (self.f + self.g)).sum(1, dtype=torch.float64)


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseBatch:
    """B balanced problems of one size, outside every autograd graph.

    Attributes:
        x: Sources around a common centre, shape (B, N, D).
        y: Targets, shape (B, M, D).
        a: Weights of the sources, shape (B, N), positive.
        b: Weights of the targets, shape (B, M), positive, of the same mass.
        epsilon: Temperatures, shape (B,), units of cost.
        scale: The cost is scale |x - y|^2.
    """

    x: Tensor
    y: Tensor
    a: Tensor
    b: Tensor
    epsilon: Tensor
    scale: float

    def chunks(self) -> Iterator[DenseBatch]:
        """Some problems at a time, so that their costs stay in the cache."""
        step = max(1, CHUNK_ENTRIES // max(self.x.shape[1], self.y.shape[1]) ** 2)
        parts = (tensor.split(step) for tensor in (self.x, self.y, self.a, self.b, self.epsilon))
        for x, y, a, b, epsilon in zip(*parts, strict=True):
            yield DenseBatch(x=x, y=y, a=a, b=b, epsilon=epsilon, scale=self.scale)

    def solve(self, tolerance: float, *, by_x: bool, by_y: bool) -> Found | None:
        """The three transports; None where one takes too long.

        dS / dx = 2 scale (P_xx x - P_xy y),    dS / dy = 2 scale (P_yy y - P_xy' x + (P_xy' 1 - b) y)
        """
        factor = self.scale / self.epsilon
        costs = _exponents(self.x, self.y, factor).neg_().clamp_(min=0.0)
        across = _alternated(costs, self.a, self.b, tolerance)
        if across is None:
            return None
        f, g = across
        p, q = f + self.a.log(), g + self.b.log()
        scores = torch.sub(q[:, None], costs, out=costs).add_(p[..., None])
        plan = scores.clamp_(min=LEAST_EXPONENT).exp_()  # (B, N, M), its rows not yet exact
        correction = self.a / plan.sum(2)
        columns = torch.bmm(correction[:, None], plan)[:, 0]
        if not _meets(columns - self.b, self.b, tolerance):
            return None
        of_x = _own(self.x, self.a, factor, tolerance, wanted=by_x)
        of_y = _own(self.y, self.b, factor, tolerance, wanted=by_y)
        if of_x is None or of_y is None:
            return None
        f = f + correction.log()
        total = (self.a * f).sum(1, dtype=torch.float64) + (self.b * g).sum(1, dtype=torch.float64)
        value = (self.epsilon * (total - 0.5 * (of_x.value(self.a) + of_y.value(self.b)))).to(f.dtype)
        slope = 2.0 * self.scale
        pull_x = pull_y = None
        if of_x.image is not None:
            pull_x = slope * (of_x.image - correction[..., None] * torch.bmm(plan, self.y))
        if of_y.image is not None:
            moved = torch.bmm(plan.mT, correction[..., None] * self.x)
            pull_y = slope * (of_y.image - moved + (columns - self.b)[..., None] * self.y)
        unit = self.epsilon[:, None]
        potentials = (unit * f, unit * g), (unit * of_x.f, unit * of_x.g), (unit * of_y.f, unit * of_y.g)
        return Found(value, pull_x, pull_y, potentials)


def _alternated(costs: Tensor, a: Tensor, b: Tensor, tolerance: float) -> tuple[Tensor, Tensor] | None:
    """Potentials in temperatures, shapes (B, N) and (B, M), found without ceremony where a few sweeps do; None if too slow."""
    settings = {"epsilon": 1.0, "count": PLAIN_SWEEPS, "tolerance": tolerance}
    f, g = torch.zeros_like(a), torch.zeros_like(b)
    asked = zip(costs, a, b, f, g, strict=True)
    swept = sinkhorn_sweeps(
        [Sweeps(costs=Formula("stored", c), a=v, b=w, f=p, g=q, **settings) for c, v, w, p, q in asked]
    )
    slow = [k for k, one in enumerate(swept) if not one.residuals[-1] <= tolerance]
    if not all(_remaining(swept[k].residuals, tolerance) <= MAX_PREDICTED for k in slow):
        return None
    found = [(one.f, one.exact_g) for one in swept]
    solver = LogSinkhorn(tolerance=tolerance, max_iterations=MAX_SWEEPS)
    problems = [Problem(stored_costs(costs[k], Namespace.TORCH), a[k], b[k], epsilon=1.0) for k in slow]
    works = [solver.work(problem, init=found[k]) for k, problem in zip(slow, problems, strict=True)]
    for k, solution in zip(slow, perform_all(works), strict=True):
        if solution.status.outcome is Outcome.INTERRUPTED:
            raise KeyboardInterrupt
        if not solution.status.is_converged:
            return None
        found[k] = solution.potentials
    return torch.stack([p for p, _ in found]), torch.stack([q for _, q in found])


def _remaining(residuals: Sequence[float], tolerance: float) -> float:
    """Plain sweeps to the tolerance."""
    return remaining_iterations([Check(k, 1.0, residual) for k, residual in enumerate(residuals)], tolerance)


def _own(x: Tensor, a: Tensor, factor: Tensor, tolerance: float, *, wanted: bool) -> Own | None:
    """A cloud against itself; None where it takes too long.

    `isotherm.solvers.Symmetric` on u = a exp(f / epsilon). As costs are not negative, and zero between a point and
    itself, u^2 lies between a^2 / N and a: nothing can over- or underflow, at any temperature.
    """
    kernel = _exponents(x, x, factor).clamp_(LEAST_EXPONENT, 0.0).exp_()
    sums = torch.bmm(kernel, a[..., None])[..., 0]  # (B, N)
    u = a * sums.rsqrt()
    for _ in range(MAX_SWEEPS):
        sums = torch.bmm(kernel, u[..., None])[..., 0]
        if _meets(u * sums - a, a, 0.5 * tolerance):  # making the rows exact may double the error of the columns
            image = (a / sums)[..., None] * torch.bmm(kernel, u[..., None] * x) if wanted else None
            return Own(-sums.log(), (u / a).log(), image)
        u = u.sqrt() * (a / sums).sqrt()
    return None


def _meets(missed: Tensor, weights: Tensor, tolerance: float) -> bool:
    """Whether the L1 errors per unit of mass of all problems are within the tolerance; a NaN is not."""
    return bool((missed.abs().sum(1) <= tolerance * weights.sum(1)).all())


def _exponents(x: Tensor, y: Tensor, factor: Tensor) -> Tensor:
    """-factor |x - y|^2, shape (B, N, M); from differences in low dimension, from inner products above it."""
    factor = factor[:, None, None]
    if x.shape[2] <= MAX_DIFFERENCE_DIMENSION:
        root = factor.sqrt()
        x, y = root * x, root * y
        total = (x[:, :, None, 0] - y[:, None, :, 0]).square_()
        for k in range(1, x.shape[2]):
            total += (x[:, :, None, k] - y[:, None, :, k]).square_()
        return total.neg_()
    squares = [factor * points.square().sum(2, keepdim=True) for points in (x, y)]
    left = torch.cat([2.0 * factor * x, squares[0].neg_(), squares[0].new_full(squares[0].shape, -1.0)], 2)
    right = torch.cat([y, torch.ones_like(squares[1]), squares[1]], 2)
    return torch.bmm(left, right.mT)  # above zero by rounding at most


def dense_divergence(
    x: Any,
    y: Any,
    weights: tuple[Any, Any],
    *,
    epsilon: Number | Relative,
    cost: CostLike | None,
    tolerance: float,
    general: Callable[[Tensor, Tensor], Tensor],
) -> Tensor | None:
    """The Sinkhorn divergence by matrix products, where that can be done.

    Differentiable by the points. The derivative is made with the value, while the plans are there; its own derivative
    is that of `general`.

    Args:
        x: Sources, as in `sinkhorn_divergence`.
        y: Targets.
        weights: Those of both sides, or None for equal ones.
        epsilon: Temperature.
        cost: Cost between points.
        tolerance: L1 error of the marginals.
        general: The same loss of x and y, solved in any other way.

    Returns:
        What `sinkhorn_divergence` returns, with all marginal errors within the tolerance. None where the input is not a
        problem, or a batch of them, between few points in the CPU's memory at squared distances, with weights that are
        constant and neither zero nor extreme; where nothing is compiled; or where `MAX_SWEEPS` iterations are not enough.
    """
    with torch.no_grad():
        batch = dense_batch(x, y, weights, epsilon, cost)
    if batch is None:
        return None
    by_x, by_y = (torch.is_grad_enabled() and points.requires_grad for points in (x, y))
    with torch.no_grad():
        found = list[Found]()
        for chunk in batch.chunks():
            one = chunk.solve(tolerance, by_x=by_x, by_y=by_y)
            if one is None:
                return None
            found.append(one)
        value = torch.cat([one.value for one in found]).reshape(x.shape[:-2])
        pull_x = torch.cat([one.by_x for one in found if one.by_x is not None]).reshape(x.shape) if by_x else None
        pull_y = torch.cat([one.by_y for one in found if one.by_y is not None]).reshape(y.shape) if by_y else None
    return _Value.apply(general, value, pull_x, pull_y, x, y) if by_x or by_y else value


class _Value(torch.autograd.Function):
    """Known values with known derivatives."""

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, general: Callable[..., Tensor], value: Tensor, *tensors: Tensor | None
    ) -> Tensor:
        ctx.general = general
        ctx.save_for_backward(*tensors)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        pull_x, pull_y, x, y = ctx.saved_tensors
        needs = ctx.needs_input_grad[4:]
        if torch.is_grad_enabled():
            wanted = [points for points, is_wanted in zip((x, y), needs, strict=True) if is_wanted]
            found = iter(torch.autograd.grad(ctx.general(x, y), wanted, grads[0], create_graph=True))
            by_x, by_y = (next(found) if is_wanted else None for is_wanted in needs)
        else:
            factor = grads[0][..., None, None]
            by_x, by_y = (factor * d if n else None for d, n in zip((pull_x, pull_y), needs, strict=True))
        return None, None, None, None, by_x, by_y


def dense_batch(
    x: Any, y: Any, weights: tuple[Any, Any], epsilon: Number | Relative, cost: CostLike | None
) -> DenseBatch | None:
    """The problems, if they can be solved here; what may be wrong with them is for others to say."""
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x.ndim == y.ndim and x.ndim in {2, 3}):
        return None
    scale = SCALES.get(type(as_cost("sqeuclidean" if cost is None else cost)))
    is_alike = x.shape[:-2] == y.shape[:-2] and x.shape[-1] == y.shape[-1] and x.dtype == y.dtype
    is_small = min(x.numel(), y.numel()) > 0 and max(x.shape[-2], y.shape[-2]) ** 2 <= CHUNK_ENTRIES
    if scale is None or not (is_alike and is_small):
        return None
    sides = [points.detach().reshape(-1, *points.shape[-2:]) for points in (x, y)]  # (B, N, D), (B, M, D)
    if not is_swept(Formula("stored", sides[0][0, :1, :1]), sides[1]):
        return None
    a, b = (_weights(w, points) for w, points in zip(weights, (x, y), strict=True))
    if a is None or b is None:
        return None
    masses = a.sum(1, dtype=torch.float64), b.sum(1, dtype=torch.float64)
    for one, two in zip(a, b, strict=True) if any(w is not None for w in weights) else ():
        check_equal_masses(one, two)
    b = b * (masses[0] / masses[1]).to(b.dtype)[:, None]
    centre = 0.5 * (sides[0].mean(1, keepdim=True) + sides[1].mean(1, keepdim=True))
    x, y = (points - centre for points in sides)
    temperatures = _temperatures(epsilon, scale, (x, y), (a, b))
    if temperatures is None or (x.shape == y.shape and torch.equal(x, y)):
        return None
    squares = torch.maximum(x.square().sum(2).amax(1), y.square().sum(2).amax(1))  # (B,)
    is_resolved = squares * torch.finfo(x.dtype).eps <= PRECISION * temperatures  # a NaN is not
    return DenseBatch(x=x, y=y, a=a, b=b, epsilon=temperatures, scale=scale) if bool(is_resolved.all()) else None


def _weights(given: Any, points: Tensor) -> Tensor | None:
    """Equal weights of sum one, or those that were given where they are constant and neither zero nor extreme, (B, N)."""
    shape = points.shape[:-1]
    if given is None:
        return points.new_full(shape, 1.0 / shape[-1]).reshape(-1, shape[-1])
    if not isinstance(given, Tensor) or given.requires_grad or given.shape != shape or given.device != points.device:
        return None
    is_fine = (given >= WEIGHTS[0]) & (given <= WEIGHTS[1])  # a NaN is neither
    return given.to(points.dtype).reshape(-1, shape[-1]) if bool(is_fine.all()) else None


def _temperatures(
    epsilon: Number | Relative, scale: float, sides: tuple[Tensor, Tensor], weights: tuple[Tensor, Tensor]
) -> Tensor | None:
    """Temperatures, shape (B,), units of cost; None where a derivative is asked for, or where that is no temperature."""
    x, y = sides
    if isinstance(epsilon, Relative):
        cost = next(kind() for kind, factor in SCALES.items() if factor == scale)
        problems = zip(x, y, *weights, strict=True)
        return x.new_tensor([epsilon.resolve(PointCloud(p, q, cost), a, b) for p, q, a, b in problems])
    if isinstance(epsilon, Tensor) and (epsilon.requires_grad or epsilon.ndim > 0):
        return None
    return x.new_full((len(x),), number(epsilon)) if 0.0 < number(epsilon) < math.inf else None
