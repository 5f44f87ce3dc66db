"""Newton's method on the semi-dual, where alternation has become slow: the last digits of cold and clustered problems."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from isotherm._checks import check_positive
from isotherm.objective import marginal_dual
from isotherm.solvers.abstract import AbstractSinkhorn
from isotherm.solvers.log_sinkhorn import LogSweep, alternation
from isotherm.solvers.stopping import DEFAULT_TOLERANCE, AbstractIteration, look_interval

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.kernels import Sweeps, Swept
    from isotherm.problem import Problem
    from isotherm.solvers.stopping import Look

SLOW = 200  # iterations that the present rate predicts, above which Newton's method takes over
SEEN = 40  # iterations from which the rate is taken
PRODUCTS = 300  # most products with the Hessian in one linear system
HALVINGS = 30
LEAST = 1e-10  # share of the rows' mass that the Hessian's diagonal keeps against cancellation
TRACKS = 100  # residuals of a linear system that are kept to find its slow modes
MODES = 8  # slow modes that are kept from one linear system to the next


@dataclass(frozen=True, kw_only=True)
class Newton(AbstractSinkhorn):
    """Over-relaxed alternation, then truncated Newton steps on the dual with the targets' potential eliminated.

        F(f) = max_g dual(f, g),    H d = grad F,    H = diag(r / eps + w / rho_a) - P diag(1 / c) P' / ((1 + eps / rho_b) eps)

    with r = P 1, c = P' 1 and w_i = a_i exp(-f_i / rho_a). The system is solved by conjugate gradients with the diagonal
    as preconditioner, no more precisely than the residual deserves; the slow modes that it met (mass between clusters)
    are projected out of the next one. A line search keeps F rising. Two passes for a product with H and for a trial of
    the line search: each counts as one iteration; a pass for the diagonal of each system is not counted. For tolerances below what alternation reaches. Memory O(N + M) for
    point clouds, a hundred vectors of length N while a system is solved; needs float64 to be worth its name.

    Attributes:
        tolerance: L1 error of the marginals, per unit of mass, at which to stop.
        relative_gap: Certified relative gap between the bounds on the value to reach as well; None to ignore it.
        max_iterations: Budget of pairs of passes.
        check_every: Iterations between looks at the residual; None is every one on a CPU, every tenth on a GPU.
        switch: L1 error from which on Newton's method may take over; it does once the present rate predicts a long
            way to the tolerance.

    Raises:
        ValueError: A setting is not positive.

    Example:
        >>> from isotherm.geometry import CostMatrix
        >>> from isotherm.problem import Problem
        >>> problem = Problem(CostMatrix(torch.tensor([[0.0, 1.0], [1.0, 0.0]])), epsilon=1.0)
        >>> Newton().run(problem).coupling.to_dense()
        tensor([[0.3655, 0.1345],
                [0.1345, 0.3655]])

    References:
        [Brauer2017], [Saad2003, chapter 9]
    """

    tolerance: float = DEFAULT_TOLERANCE
    relative_gap: float | None = None
    max_iterations: int = 5000
    check_every: int | None = None
    switch: float = 1e-2

    def __post_init__(self) -> None:
        self.rule()
        check_positive(self.switch, "switch")

    def start(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None) -> NewtonIteration:
        """Begin iterating."""
        return NewtonIteration(problem, potentials, self)


class Point(NamedTuple):
    """A potential of the sources and what its semi-dual is like there."""

    f: Tensor  # (N,)
    g: Tensor  # (M,), the best one for f
    softmin: Tensor  # (N,), of the rows at g
    value: Tensor  # F(f), float64
    gradient: Tensor  # (N,)
    residual: Tensor  # its L1 norm per unit of mass


Work = Generator[Tensor, None, None]


class NewtonIteration(AbstractIteration):
    """Alternation first, then Newton's method; a step is two passes of either."""

    def __init__(self, problem: Problem, potentials: tuple[Tensor, Tensor] | None, settings: Newton) -> None:
        self.problem, self.settings = problem, settings
        self.damping_b = 1.0 / (1.0 + problem.epsilon / problem.rho_b)
        self.alternation = alternation(problem, None if potentials is None else potentials[0], None)
        self.look_every = look_interval(problem.geometry)
        self.steps = 0
        self.seen: deque[Tensor | float] = deque(maxlen=SEEN)  # residuals of alternation
        self.point: Point | None = None
        self.modes: Tensor | None = None  # (N, K)
        self.before = 1.0  # the residual one Newton step ago
        self.taken_over_at: int | None = None
        self.work: Work | None = None  # what has taken over

    @cached_property
    def sweep(self) -> LogSweep:
        """The soft minima behind Newton's method."""
        return LogSweep(self.problem)

    def describe(self, solver: str) -> str:
        """See `AbstractIteration.describe`; what did not take over goes unnamed."""
        if self.taken_over_at is None:
            return self.alternation.describe("LogSinkhorn")
        return f"LogSinkhorn, {solver} from iteration {self.taken_over_at}"

    @property
    def is_relaxed(self) -> bool:
        """Whether alternation is at work, and relaxed."""
        return self.point is None and self.alternation.is_relaxed

    def settle(self, *, forever: bool = False) -> None:
        """See `AbstractIteration.settle`."""
        self.alternation.settle(forever=forever)

    def resume(self) -> None:
        """See `AbstractIteration.resume`."""
        self.alternation.resume()

    def potentials(self) -> tuple[Tensor, Tensor]:
        """(f, g), shapes (N,) and (M,), the target marginal exact."""
        return self.alternation.potentials() if self.point is None else (self.point.f, self.point.g)

    def step(self) -> Tensor:
        """Two passes; the residual of the present pair."""
        if self.work is not None:
            return next(self.work)
        residual = self.alternation.step()
        self._note([residual])
        return residual

    def advance(self, count: int, tolerance: float) -> Generator[Sweeps, Swept, list[Look]]:
        """See `AbstractIteration.advance`: in blocks while alternation makes them."""
        if self.work is not None:
            return [(self.step(), self.is_relaxed)]
        looks = yield from self.alternation.advance(count, tolerance)
        self._note([residual for residual, _ in looks])
        return looks

    def go_back(self, count: int) -> Generator[Sweeps, Swept, None]:
        """See `AbstractIteration.go_back`."""
        if self.point is None:
            yield from self.alternation.go_back(count)

    def _note(self, residuals: Sequence[Tensor | float]) -> None:
        """Note steps of alternation, and let Newton's method take over where they have become slow."""
        self.seen.extend(residuals)
        self.steps += len(residuals)
        if len(self.seen) < SEEN or self.steps % self.look_every:
            return
        first, last = float(self.seen[0]), float(self.seen[-1])
        if not self.settings.tolerance < last <= self.settings.switch:
            return
        way = torch.tensor([first / last, last / self.settings.tolerance]).log()
        if not 0 < float(way[1]) * SEEN < SLOW * float(way[0]):
            self.work = self._newton()

    def _newton(self) -> Work:
        """All steps that follow alternation, one after the other, without end."""
        self.taken_over_at = self.steps + 1
        self.point = self._at(self.alternation.potentials()[0])
        yield self.point.residual
        while True:
            direction = yield from self._direction(self.point)
            has_risen = yield from self._search(self.point, direction)
            if not has_risen:
                break
        self.alternation = alternation(self.problem, self.point.f, 1.0)
        self.point = None
        while True:  # rounding: plain steps lose nothing
            yield self.alternation.step()

    def _at(self, f: Tensor) -> Point:
        """Two passes: the best g for f, then the rows' masses."""
        problem, epsilon = self.problem, self.problem.epsilon
        g = self.damping_b * self.sweep.columns(f)
        softmin = self.sweep.rows(g)
        wanted = problem.a * (-f / problem.rho_a).exp()
        gradient = torch.where(problem.a > 0, wanted - problem.a * ((f - softmin) / epsilon).exp(), 0.0)
        a, b = problem.a.double(), problem.b.double()
        mass = (b * (-g.double() / problem.rho_b).exp()).sum()
        value = marginal_dual(a, f.double(), problem.rho_a) + marginal_dual(b, g.double(), problem.rho_b)
        return Point(f, g, softmin, value - epsilon * mass, gradient, gradient.abs().sum() / wanted.sum())

    def _direction(self, point: Point) -> Generator[Tensor, None, Tensor]:
        """Conjugate gradients on H d = gradient, slow modes of earlier systems projected out."""
        problem, epsilon = self.problem, self.problem.epsilon
        p, q = point.f + self.sweep.log_a, point.g + self.sweep.log_b
        wanted = problem.a * (-point.f / problem.rho_a).exp()
        column = problem.b * (-point.g / problem.rho_b).exp()
        diagonal = (wanted - point.gradient) / epsilon + wanted / problem.rho_a
        share = torch.where(column > 0, self.damping_b / torch.where(column > 0, column, 1.0), 0.0)
        # The diagonal of P diag(1 / c) P' holds the plan's squares: the plan at half the temperature.
        squares = self.sweep.costs.plan_apply(p, q, share[:, None], epsilon=epsilon / 2)[:, 0] / epsilon
        whole = torch.maximum(diagonal - squares, LEAST * diagonal)
        inverse = torch.where(whole > 0, 1.0 / torch.where(whole > 0, whole, 1.0), 0.0)

        def product(vectors: Tensor) -> Tensor:
            means = share[:, None] * self.sweep.transposed.plan_apply(q, p, vectors, epsilon=epsilon)
            return diagonal[:, None] * vectors - self.sweep.costs.plan_apply(p, q, means, epsilon=epsilon) / epsilon

        direction, residual, coarse = torch.zeros_like(point.f), point.gradient, None
        if self.modes is not None:
            coarse = Coarse(self.modes, product(self.modes))
            yield point.residual
            part = coarse.coordinates(residual)
            direction, residual = coarse.vectors @ part, residual - coarse.images @ part
        # No more precisely than the last step paid off, nor than the tolerance needs.
        now = max(float(point.residual), 1e-300)
        target = max(min(0.3, (now / self.before) ** 1.5), 0.3 * self.settings.tolerance / now)
        self.before, enough = now, target * float(point.gradient.abs().sum())
        tracks, lengths, turns = list[Tensor](), list[float](), list[float]()
        search, size = torch.zeros_like(residual), 0.0
        while len(lengths) < PRODUCTS and float(residual.abs().sum()) > enough:
            scaled = inverse * residual
            size, before = float(residual @ scaled), size
            turn = size / before if lengths else 0.0
            search = (scaled if coarse is None else coarse.project(scaled)) + turn * search
            image = product(search[:, None])[:, 0]
            yield point.residual
            curvature = float(search @ image)
            if not curvature > 0:
                break
            if len(tracks) < TRACKS:
                tracks.append(scaled / size**0.5)
            turns.append(turn)
            lengths.append(size / curvature)
            direction, residual = direction + lengths[-1] * search, residual - lengths[-1] * image
        if len(lengths) > MODES:
            self.modes = slow_modes(tracks, lengths[: len(tracks)], turns[1 : len(tracks)])
        return direction

    def _search(self, point: Point, direction: Tensor) -> Generator[Tensor, None, bool]:
        """Shorten the step until the value rises; where rounding hides that, until the residual falls."""
        # Between clusters that hardly touch the model sees no end to the rise; costs bound how far potentials can be.
        reach = sum(float(potential.max() - potential.min()) for potential in (point.f, point.g)) + self.problem.epsilon
        longest = float(direction.abs().max()) / (4.0 * (reach + self.problem.geometry.coordinate_scale))
        slope, length = float(point.gradient @ direction), 1.0 / max(1.0, longest)
        for _ in range(HALVINGS):
            f = torch.where(self.problem.a > 0, point.f + length * direction, point.softmin)
            trial = self._at(f)
            rise = float(trial.value - point.value)
            slack = 1e-14 * float(trial.value.abs())
            is_enough = rise >= 1e-4 * length * slope and rise > slack
            if trial.residual.isfinite() and (is_enough or (abs(rise) <= slack and trial.residual < point.residual)):
                self.point = trial
                yield trial.residual
                return True
            yield point.residual
            length *= 0.5
        return False


class Coarse:
    """The span of a few vectors, within which a system is solved exactly and out of which searches are projected."""

    def __init__(self, vectors: Tensor, images: Tensor) -> None:
        self.vectors, self.images = vectors, images  # Z and H Z, (N, K)
        small = vectors.T @ images
        self.inverse = torch.linalg.pinv(0.5 * (small + small.T), hermitian=True, rtol=1e-14)

    def coordinates(self, wanted: Tensor) -> Tensor:
        """Those of the solution within the span, shape (K,)."""
        return self.inverse @ (self.vectors.T @ wanted)

    def project(self, vector: Tensor) -> Tensor:
        """What is left after taking out the part in the span, orthogonal by H, shape (N,)."""
        return vector - self.vectors @ (self.inverse @ (self.images.T @ vector))


def slow_modes(tracks: list[Tensor], lengths: list[float], turns: list[float]) -> Tensor:
    """Ritz vectors of the smallest eigenvalues that conjugate gradients met.

    Args:
        tracks: Preconditioned residuals of unit norm, K vectors of shape (N,).
        lengths: The K steps along the search directions.
        turns: The K - 1 shares of a search direction in the next.

    Returns:
        Shape (N, at most `MODES`).

    References:
        [Saad2003, section 6.7.3]
    """
    length, turn = torch.tensor(lengths, dtype=torch.float64), torch.tensor(turns, dtype=torch.float64)
    diagonal = 1.0 / length
    diagonal[1:] += turn / length[:-1]
    beside = -turn.sqrt() / length[:-1]
    matrix = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    coefficients = torch.linalg.eigh(matrix).eigenvectors[:, :MODES].to(tracks[0])
    return torch.stack(tracks, 1) @ coefficients
