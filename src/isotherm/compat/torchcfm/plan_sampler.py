"""Pairs of two minibatches drawn from a transport plan, by torchcfm's names."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotherm._arrays import namespace_of, to_tensor
from isotherm._checks import check_choice, check_count, check_matrix, check_positive
from isotherm.coupling import AbstractCoupling, SparseCoupling
from isotherm.geometry import PointCloud
from isotherm.kernels import row_blocks
from isotherm.solvers import Exact, solve

METHODS = ("exact", "sinkhorn", "unbalanced", "partial")


class OTPlanSampler:
    """Pairs (x0_i, x1_j) drawn from a transport plan of two equally weighted minibatches, cost |x - y|^2.

        exact         min <C, P>
        sinkhorn      min <C, P> + reg KL(P | a ⊗ b)
        unbalanced    min <C, P> + reg KL(P | a ⊗ b) + reg_m (KL(P 1 | a) + KL(P' 1 | b))
        partial       as sinkhorn: the original transports all of the mass

    Everything stays on the tensors' device, but for "exact", which is solved on the CPU. Plans and draws take memory
    O(N + M) in `sample_plan`.

    Args:
        method: "exact", "sinkhorn", "unbalanced" or "partial".
        reg: Temperature > 0, units of cost.
        reg_m: Price > 0 of missing a marginal, units of cost.
        normalize_cost: Divide costs by the largest one: `reg` and `reg_m` are shares of it.
        num_threads: A number or "max". No effect: torch's own number of threads counts.
        warn: Whether a solve that does not reach its tolerance gives a `ConvergenceWarning`.
        generator: Where draws come from, on any device. When left out, each call seeds a new one by a number from
            NumPy's global state, which is where the original draws from, so that `numpy.random.seed` repeats a run. Not
            in the original.
        tolerance: L1 error of the plan's marginals at which to stop, per unit of mass. Not in the original.

    Example:
        >>> x0, x1 = torch.tensor([[0.0], [5.0]]), torch.tensor([[5.1], [0.1]])
        >>> sampler = OTPlanSampler("exact", generator=torch.Generator().manual_seed(0))
        >>> sampler.get_map(x0, x1)
        tensor([[0.0000, 0.5000],
                [0.5000, 0.0000]])
        >>> x, y = sampler.sample_plan(x0, x1)
        >>> bool(((y - x).abs() < 0.2).all())  # each with its neighbour
        True

    References:
        [Tong2024]
    """

    def __init__(
        self,
        method: str,
        reg: float = 0.05,
        reg_m: float = 1.0,
        normalize_cost: bool = False,
        num_threads: int | str = 1,
        warn: bool = True,
        *,
        generator: torch.Generator | None = None,
        tolerance: float = 1e-4,
    ) -> None:
        self.method = check_choice(method, "method", METHODS)
        if num_threads != "max":
            check_count(num_threads, "num_threads")
        self.reg, self.reg_m = reg, reg_m
        if method != "exact":
            check_positive(reg, "reg")
        if method == "unbalanced":
            check_positive(reg_m, "reg_m")
        self.normalize_cost, self.num_threads, self.warn = normalize_cost, num_threads, warn
        self.generator = generator
        self.tolerance = check_positive(tolerance, "tolerance")

    def get_map(self, x0: Tensor, x1: Tensor) -> Tensor:
        """The plan.

        Args:
            x0: Sources, shape (N, ...).
            x1: Targets, shape (M, ...).

        Returns:
            Shape (N, M), on their device, in their dtype.
        """
        return self._coupling(x0, x1).to_dense()

    def sample_map(
        self,
        pi: Any,
        batch_size: int,
        replace: bool = True,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Any, Any]:
        """Draw pairs from a plan.

        Args:
            pi: The plan, shape (N, M), of any mass; tensor or array.
            batch_size: Number of pairs, k.
            replace: Whether a pair may be drawn more than once.
            generator: Where draws come from; the sampler's when left out.

        Returns:
            Indices of sources and of targets, both of shape (k,), in the plan's library and on its device.

        Raises:
            ValueError: Fewer pairs with mass than asked for without replacement; masses that are negative.
        """
        check_count(batch_size, "batch_size")
        generator = self._generator(generator)
        if replace:
            return SparseCoupling.from_matrix(pi).sample(batch_size, generator=generator, method="flat")
        plan = check_matrix(to_tensor(pi, "pi"), "pi")
        if bool((plan < 0).any()):
            msg = f"`pi` must be non-negative: got {float(plan.min()):.4g}. It holds masses of pairs."
            raise ValueError(msg)
        if int((plan > 0).sum()) < batch_size:
            msg = f"`batch_size` must be at most the number of pairs with mass, {int((plan > 0).sum())}: got {batch_size}. Draw with replacement."
            raise ValueError(msg)
        # A race of exponential clocks with rates P_ij: the first k to ring, in order, are draws without replacement.
        clocks = torch.empty(plan.shape, dtype=torch.float64, device=generator.device).exponential_(generator=generator)
        first = (clocks.to(plan.device) / plan).flatten().topk(batch_size, largest=False).indices
        namespace = namespace_of(pi)
        return namespace.export(first // plan.shape[1]), namespace.export(first % plan.shape[1])

    def sample_plan(
        self,
        x0: Tensor,
        x1: Tensor,
        replace: bool = True,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw as many pairs as there are sources from their plan.

        Args:
            x0: Sources, shape (N, ...).
            x1: Targets, shape (M, ...).
            replace: Whether a pair may be drawn more than once; without, memory O(N M).
            generator: Where draws come from; the sampler's when left out.

        Returns:
            The sources and the targets of N pairs, shapes (N, ...).
        """
        i, j = self._pairs(x0, x1, replace=replace, generator=generator)
        return x0[i], x1[j]

    def sample_plan_with_labels(
        self,
        x0: Tensor,
        x1: Tensor,
        y0: Any = None,
        y1: Any = None,
        replace: bool = True,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor, Any, Any]:
        """Draw pairs together with their labels.

        Args:
            x0: Sources, shape (N, ...).
            x1: Targets, shape (M, ...).
            y0: Labels of the sources, shape (N, ...), or None.
            y1: Labels of the targets, shape (M, ...), or None.
            replace: Whether a pair may be drawn more than once.
            generator: Where draws come from; the sampler's when left out.

        Returns:
            Sources, targets, their labels and theirs, N of each; None for labels that were not given.
        """
        i, j = self._pairs(x0, x1, replace=replace, generator=generator)
        return x0[i], x1[j], None if y0 is None else y0[i], None if y1 is None else y1[j]

    def sample_plan_with_scipy(self, x0: Tensor, x1: Tensor) -> tuple[Tensor, Tensor]:
        """Every source with the target that an optimal assignment gives it, whatever `method` is; nothing is drawn.

        Args:
            x0: Sources, shape (N, ...).
            x1: Targets, as many.

        Returns:
            x0 as it is, and the targets in its order.

        Raises:
            ValueError: Numbers of points differ.
        """
        solution = solve(flat_points(x0, "x0"), flat_points(x1, "x1"), solver=Exact(algorithm="assignment"))
        return x0, x1[solution.coupling.targets]  # pyright: ignore[reportAttributeAccessIssue] - exact plans are sparse

    def sample_trajectory(self, X: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
        """Follow each sample of the first time through plans between consecutive times.

        Args:
            X: Samples at T times, shape (N, T, ...).
            generator: Where draws come from; the sampler's when left out.

        Returns:
            Trajectories, shape (N, T, ...): the target at each time is drawn given the one before.
        """
        generator = self._generator(generator)
        rows = [torch.arange(X.shape[0], device=X.device)]
        for t in range(X.shape[1] - 1):
            law = self._coupling(X[:, t], X[:, t + 1]).conditional(rows[-1])
            rows.append(law.sample(1, generator=generator)[:, 0])
        return torch.stack([X[i, t] for t, i in enumerate(rows)], dim=1)

    def _coupling(self, x0: Tensor, x1: Tensor) -> AbstractCoupling:
        """The plan between two minibatches, lazy."""
        x, y = flat_points(x0, "x0"), flat_points(x1, "x1")
        if self.method == "exact":
            return solve(x, y, solver="exact").coupling
        unit = _largest_cost(x, y) if self.normalize_cost else 1.0
        rho = self.reg_m * unit if self.method == "unbalanced" else math.inf
        return solve(
            x,
            y,
            epsilon=self.reg * unit,
            rho_a=rho,
            rho_b=rho,
            tolerance=self.tolerance,
            on_failure="warn" if self.warn else "ignore",
        ).coupling

    def _pairs(
        self, x0: Tensor, x1: Tensor, *, replace: bool, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Indices of as many pairs as there are sources."""
        if not replace:
            return self.sample_map(self.get_map(x0, x1), x0.shape[0], replace=False, generator=generator)
        return self._coupling(x0, x1).sample(x0.shape[0], generator=self._generator(generator), method="flat")

    def _generator(self, given: torch.Generator | None) -> torch.Generator:
        if given is not None or self.generator is not None:
            return given if given is not None else self.generator  # pyright: ignore[reportReturnType]
        return torch.Generator().manual_seed(int(np.random.randint(np.iinfo(np.int64).max, dtype=np.int64)))


def flat_points(x: Tensor, name: str) -> Tensor:
    """A minibatch as points, shape (N, D), outside every graph; half precision becomes float32.

    Args:
        x: Samples, shape (N, ...).
        name: How the caller calls them.

    Returns:
        The points.

    Raises:
        TypeError: Not a tensor.
    """
    if not isinstance(x, Tensor):
        msg = f"`{name}` must be a tensor: got {type(x).__name__}. Convert it with torch.as_tensor."
        raise TypeError(msg)
    points = x.detach().reshape(x.shape[0], -1)
    return points.float() if points.dtype in (torch.float16, torch.bfloat16) else points


def _largest_cost(x: Tensor, y: Tensor) -> float:
    """max |x_i - y_j|^2, a block of rows at a time."""
    cloud = PointCloud(x, y)
    return float(torch.stack([cloud.block(rows).max() for rows in row_blocks(cloud)]).max())
