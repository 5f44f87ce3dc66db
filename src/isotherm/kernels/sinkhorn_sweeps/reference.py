"""Blocks of sweeps in plain torch: problems padded to one size with points without mass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from isotherm.kernels.sinkhorn_sweeps.sweeps import Swept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isotherm.kernels.sinkhorn_sweeps.sweeps import Sweeps

PADDED_ENTRIES = 1 << 24  # costs of a padded group, 64 MiB in float32


def why_not(*_: object) -> list[str]:
    """Nothing speaks against plain torch."""
    return []


def sinkhorn_sweeps(problems: Sequence[Sweeps]) -> list[Swept]:
    """Relaxed updates of both potentials; see `isotherm.kernels.sinkhorn_sweeps`."""
    found: dict[int, Swept] = {}
    for group in _groups(problems):
        block = _Block([problems[k] for k in group])
        block.run()
        found.update(zip(group, block.found(), strict=True))
    return [found[k] for k in range(len(problems))]


def _groups(problems: Sequence[Sweeps]) -> Iterator[list[int]]:
    """Indices of problems of about one size, so many that their padded costs fit."""
    group: list[int] = []
    kinds = [(str(p.costs.dtype), str(p.costs.device)) for p in problems]
    for k in sorted(range(len(problems)), key=lambda k: (kinds[k], problems[k].costs.shape)):
        shapes = [problems[i].costs.shape for i in (*group, k)]
        entries = len(shapes) * max(n for n, _ in shapes) * max(m for _, m in shapes)
        if group and (entries > PADDED_ENTRIES or kinds[k] != kinds[group[0]]):
            yield group
            group = []
        group.append(k)
    yield group


class _Block:
    """B problems, N sources and M targets each; what is added to a problem has no mass."""

    def __init__(self, problems: list[Sweeps]) -> None:
        self.problems = problems
        shapes = [p.costs.shape for p in problems]
        n, m = max(n for n, _ in shapes), max(m for _, m in shapes)
        costs = [p.costs.block(slice(None)) for p in problems]
        self.costs = torch.stack([pad(c, (0, m - c.shape[1], 0, n - c.shape[0])) for c in costs])  # (B, N, M)
        self.a, self.f = (_padded([getattr(p, name) for p in problems], n) for name in "af")  # (B, N)
        self.b, self.g = (_padded([getattr(p, name) for p in problems], m) for name in "bg")  # (B, M)
        self.exact_g = self.g
        before = [torch.zeros_like(p.f) if p.last_softmin is None else p.last_softmin for p in problems]
        self.softmin = _padded(before, n)
        names = ("epsilon", "rho_a", "rho_b", "omega", "last_omega", "dual", "tolerance", "count")
        self.epsilon, self.rho_a, self.rho_b, self.omega, self.last_omega, self.dual, self.tolerance, self.count = (
            torch.tensor([float(getattr(p, name)) for p in problems], dtype=torch.float64, device=self.f.device)
            for name in names
        )  # (B,)
        self.log_a, self.log_b = self._col(self.epsilon) * self.a.log(), self._col(self.epsilon) * self.b.log()
        self.damping_a, self.damping_b = (self._col(1 / (1 + self.epsilon / rho)) for rho in (self.rho_a, self.rho_b))
        self.is_active = torch.ones(len(problems), dtype=torch.bool, device=self.f.device)
        self.done = torch.zeros(len(problems), dtype=torch.int64, device=self.f.device)
        self.has_dropped = torch.zeros_like(self.is_active)
        self.looks: list[tuple[Tensor, Tensor]] = []  # (B,) residuals and changes of each sweep

    def _col(self, numbers: Tensor) -> Tensor:
        """One number for each problem beside its points, shape (B, 1), in the working dtype."""
        return numbers.to(self.f.dtype)[:, None]

    def run(self) -> None:
        """Sweep until every problem has stopped; a GPU is not asked on the way."""
        for _ in range(max(p.count for p in self.problems)):
            self._sweep()
            if self.f.device.type == "cpu" and not self.is_active.any():
                return

    def _sweep(self) -> None:
        epsilon, omega = self._col(self.epsilon), self._col(self.omega)
        constant = self._constant()
        moved_f, moved_g = self.f + constant, self.g - constant
        scores = ((self.g + self.log_b)[:, None] - self.costs) / epsilon[:, None]  # (B, N, M)
        softmin = -epsilon * scores.logsumexp(2)  # (B, N)
        residual = self._residual(softmin)
        target = self.damping_a * (softmin + constant)
        change = (self.a * (target - moved_f).square()).sum(1).sqrt()
        f = (1 - omega) * moved_f + omega * target
        scores = ((f + self.log_a)[:, :, None] - self.costs) / epsilon[:, None]
        t = -epsilon * scores.logsumexp(1)  # (B, M)
        exact_g = self.damping_b * t
        g = torch.where(self.b > 0, (1 - omega) * moved_g + omega * exact_g, exact_g)
        self.looks.append((residual, change))
        self.f, self.g, self.exact_g, self.softmin = (
            torch.where(self.is_active[:, None], new, old)
            for new, old in ((f, self.f), (g, self.g), (exact_g, self.exact_g), (softmin + constant, self.softmin))
        )
        self._stop(residual, self._has_dropped(t))

    def _stop(self, residual: Tensor, has_dropped: Tensor) -> None:
        """Count the sweep; problems at their end take no further part."""
        self.done += self.is_active
        self.last_omega = torch.where(self.is_active, self.omega, self.last_omega)
        self.has_dropped |= self.is_active & has_dropped
        is_open = (self.done < self.count) & (residual > self.tolerance)  # not a NaN
        self.is_active = self.is_active & is_open & ~has_dropped

    def _constant(self) -> Tensor:
        """See `isotherm.solvers.translation.optimal_translation`, shape (B, 1)."""
        softness = 1 / self.rho_a + 1 / self.rho_b
        sides = ((self.a, self.f, self.rho_a), (self.b, self.g, self.rho_b))
        log_a, log_b = (torch.logsumexp(w.log() - p / self._col(rho), 1) for w, p, rho in sides)
        return self._col(torch.where(softness > 0, (log_a - log_b) / softness, 0.0))

    def _residual(self, softmin: Tensor) -> Tensor:
        """L1 error of the source marginal at the exact g; the soft minimum there is extrapolated after a relaxed sweep."""
        last = self._col(self.last_omega)
        softmin = (softmin + (last - 1) * torch.where(last == 1, 0.0, self.softmin)) / last
        row = ((self.f - softmin) / self._col(self.epsilon)).exp()
        wanted = (-self.f / self._col(self.rho_a)).exp()
        missed = torch.where(self.a > 0, self.a * (row - wanted), 0.0).abs().sum(1)
        return missed / (self.a * wanted).sum(1)

    def _has_dropped(self, t: Tensor) -> Tensor:
        """Whether the dual value is below that of the relaxed sweep before, beyond rounding."""
        plan = torch.where(self.b > 0, self.b * ((self.g - t) / self._col(self.epsilon)).exp(), 0.0)
        parts = (
            _marginal_dual(self.a, self.f, self.rho_a),
            _marginal_dual(self.b, self.g, self.rho_b),
            -self.epsilon * plan.sum(1, dtype=torch.float64),
        )
        value = torch.stack(parts).sum(0)
        slack = 8 * torch.finfo(self.f.dtype).eps * torch.stack(parts).abs().sum(0)
        is_asked = self.is_active & (self.omega != 1)
        has_dropped = is_asked & ~(value.isfinite() & (value >= self.dual - slack))
        self.dual = torch.where(is_asked, value, self.dual)
        return has_dropped

    def found(self) -> list[Swept]:
        """What each problem came to, without the padding."""
        residuals, changes = (torch.stack(looks, 1).tolist() for looks in zip(*self.looks, strict=True))
        done, duals, dropped = self.done.tolist(), self.dual.tolist(), self.has_dropped.tolist()
        return [
            Swept(
                f=self.f[k, : p.f.shape[0]],
                g=self.g[k, : p.g.shape[0]],
                exact_g=self.exact_g[k, : p.g.shape[0]],
                softmin=self.softmin[k, : p.f.shape[0]],
                residuals=residuals[k][: done[k]],
                changes=changes[k][: done[k]],
                dual=duals[k],
                has_dropped=dropped[k],
            )
            for k, p in enumerate(self.problems)
        ]


def _padded(vectors: list[Tensor], length: int) -> Tensor:
    """Vectors under each other, shape (B, length), zeros at the end."""
    return torch.stack([pad(v, (0, length - v.shape[0])) for v in vectors])


def _marginal_dual(weights: Tensor, potential: Tensor, rho: Tensor) -> Tensor:
    """The dual's term of one side of each problem, shape (B,), in float64."""
    weights, rho = weights.double(), rho[:, None]
    potential = torch.where(weights > 0, potential.double(), 0.0)
    priced = -torch.where(rho.isinf(), 1.0, rho) * torch.expm1(-potential / rho)
    return (weights * torch.where(rho.isinf(), potential, priced)).sum(1)
