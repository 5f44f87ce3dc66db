"""Losses of one transport problem: its value, its cost, or everything that is made of its potentials."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor

from isotherm._arrays import to_tensor
from isotherm._checks import check_known, check_values
from isotherm.divergences.computation import Computation
from isotherm.divergences.differentiation import Differentiation, Envelope, Implicit
from isotherm.divergences.exact import cold_end
from isotherm.divergences.front import loss
from isotherm.divergences.inputs import pairs_of
from isotherm.divergences.term import number
from isotherm.geometry import Relative

if TYPE_CHECKING:
    from isotherm._arrays import ArrayLike
    from isotherm.divergences.cache import PotentialCache
    from isotherm.divergences.inputs import CostLike
    from isotherm.divergences.term import Number, Term
    from isotherm.solvers import AbstractSolver


@loss
def entropic_value(  # noqa: PLR0913 - a loss names everything a problem is made of
    x: Any,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: Number | Relative,
    cost: CostLike | None = None,
    rho_a: Number = math.inf,
    rho_b: Number = math.inf,
    differentiation: Differentiation = Envelope(),
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    on_failure: str = "warn",
    cache: PotentialCache | None = None,
) -> Any:
    """Value of entropic transport, differentiable in everything that it depends on.

        min_P  <C, P> + epsilon KL(P | a ⊗ b) + rho_a KL(P 1 | a) + rho_b KL(P' 1 | b)

    As a training loss it is biased: a generator that minimises it under-disperses, for |x - y|^2 by a variance of
    epsilon / 2. Use `sinkhorn_divergence` to fit a distribution. Time O(N M D) per iteration and for the gradient,
    memory O(N + M) for costs between points that have a formula.

    Args:
        x: Sources, shape (N, D) or (N,); a batch (B, N, D); a list of B clouds of any sizes; or a geometry
            (`PointCloud`, `CostMatrix`, `Grid`), and then no `y`.
        y: Targets, likewise.
        a: Weights of the sources, shape (N,) or (B, N), or a list; equal when left out. A zero masks a point.
        b: Weights of the targets.
        epsilon: Temperature, units of cost: a number, a 0-d tensor, which may ask for a derivative, or `Relative`,
            which is a constant of the derivative. Zero is exact transport.
        cost: Cost object, name, or function of two clouds, whose parameters get derivatives too. Default: squared
            Euclidean.
        rho_a: Price of missing the source marginal, units of cost; a number or a 0-d tensor. Infinity enforces it.
        rho_b: Price of missing the target marginal.
        differentiation: `Envelope()`, `Implicit()` (the same for a value) or `Unroll(steps)`.
        solver: A solver or its name; `Auto()` when left out.
        tolerance: L1 error of the marginals at which to stop, 1e-4 when left out. A gradient's error is of its order.
        on_failure: What to do when the tolerance is not met: "warn", "raise" (`ConvergenceError`) or "ignore".
        cache: Where to start and to leave potentials; see `PotentialCache`.

    Returns:
        A scalar, or shape (B,) for a batch; units of cost times mass.

    Raises:
        ValueError: Bad shapes, weights, temperature, names; the message says what was expected, what came, what to do.
        TypeError: Not numbers, mixed libraries or dtypes.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0]], requires_grad=True)
        >>> value = entropic_value(x, torch.tensor([[0.0], [1.0]]), epsilon=1.0)
        >>> value.backward()
        >>> value, x.grad  # - log((1 + 1 / e) / 2), and the pull towards the other target
        (tensor(0.3799, grad_fn=<_ValueBackward>), tensor([[-0.2689],
                [ 0.2689]]))

    References:
        [Cuturi2013], [Feydy2019]
    """
    if not isinstance(epsilon, Relative) and number(epsilon) == 0.0:
        return cold_end(x, y, a, b, cost, rho_a, rho_b)
    how = Computation(
        differentiation=differentiation, solver=solver, tolerance=tolerance, on_failure=on_failure, cache=cache
    )
    given = pairs_of(x, y, a, b, cost, is_balanced=math.isinf(number(rho_a)) and math.isinf(number(rho_b)))
    return given.export(how.values(cross=[pair.term(epsilon, rho_a, rho_b) for pair in given.pairs])[0])


@loss
def transport_cost(  # noqa: PLR0913 - a loss names everything a problem is made of
    x: Any,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: Number | Relative,
    cost: CostLike | None = None,
    rho_a: Number = math.inf,
    rho_b: Number = math.inf,
    differentiation: Differentiation = Implicit(),
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    on_failure: str = "warn",
    cache: PotentialCache | None = None,
) -> Any:
    """Cost that the entropic plan pays, <C, P> ("sharp" value), differentiable through the plan.

    Closer to exact transport than `entropic_value`: for |x - y|^2 a Gaussian generator of target variance S misses it
    by epsilon^2 / (16 S) rather than epsilon / 2. Its gradient takes a linear system. Memory O(N + M) for costs between
    points that have a formula.

    Args:
        x: Sources; see `entropic_value` for all arguments.
        y: Targets.
        a: Weights of the sources.
        b: Weights of the targets.
        epsilon: Temperature, units of cost. Zero is exact transport.
        cost: Cost between points.
        rho_a: Price of missing the source marginal.
        rho_b: Price of missing the target marginal.
        differentiation: `Implicit()` or `Unroll(steps)`; `Envelope` is for the value alone.
        solver: A solver or its name.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.

    Returns:
        A scalar, or shape (B,) for a batch; units of cost times mass.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0]])
        >>> transport_cost(x, x, epsilon=1.0)  # 1 / (1 + e)
        tensor(0.2689)

    References:
        [Genevay2018, section 3], [Luise2018]
    """
    if not isinstance(epsilon, Relative) and number(epsilon) == 0.0:
        return cold_end(x, y, a, b, cost, rho_a, rho_b)
    how = Computation(
        differentiation=differentiation, solver=solver, tolerance=tolerance, on_failure=on_failure, cache=cache
    )
    given = pairs_of(x, y, a, b, cost, is_balanced=math.isinf(number(rho_a)) and math.isinf(number(rho_b)))
    terms = [pair.term(epsilon, rho_a, rho_b) for pair in given.pairs]
    return given.export(
        [term.transport_cost(f, g) for term, (f, g) in zip(terms, how.potentials(cross=terms)[0], strict=True)]
    )


@dataclass(frozen=True, eq=False)
class Transport:
    """Entropic transport whose every part is differentiable; tensors throughout.

    Attributes:
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,); balanced, <b, g> = 0.

    Example:
        >>> import torch
        >>> x = torch.zeros(1, 1, requires_grad=True)
        >>> plan = transport(x, torch.tensor([[1.0], [3.0]]), epsilon=1.0)  # one source: its mass goes to both
        >>> plan.apply(torch.tensor([1.0, 3.0])).detach().round(decimals=3)
        tensor([2.])
    """

    f: Tensor
    g: Tensor
    _term: Term

    @property
    def transport_cost(self) -> Tensor:
        """<C, P>, a scalar."""
        return self._term.transport_cost(self.f, self.g)

    def apply(self, values: ArrayLike) -> Tensor:
        """P V, shape (N, K) or (N,), for V of shape (M, K) or (M,)."""
        geometry = self._term.geometry
        tensor = to_tensor(values, "values", dtype=geometry.dtype, device=geometry.device)
        check_values(tensor.detach(), geometry.shape[1], "values")
        columns = tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
        return self._term.plan_apply(self.f, self.g, columns).reshape(geometry.shape[0], *tensor.shape[1:])

    def transpose(self) -> Transport:
        """The same read from the targets to the sources."""
        return Transport(self.g, self.f, self._term.transpose())

    def barycentric_map(self, values: ArrayLike | None = None) -> Tensor:
        """Mean target of each source, P V / P 1, shape (N, D); of the targets' coordinates without V. NaN without mass."""
        values = check_known(self._term.geometry.target_points) if values is None else values
        image, mass = self.apply(values), self.apply(self.g.new_ones(self.g.shape))
        return image / mass.reshape(-1, *(1,) * (image.ndim - 1))


@loss
def transport(  # noqa: PLR0913 - the front door names everything a problem is made of
    x: Any,
    y: Any = None,
    a: Any = None,
    b: Any = None,
    *,
    epsilon: Number | Relative,
    cost: CostLike | None = None,
    rho_a: Number = math.inf,
    rho_b: Number = math.inf,
    differentiation: Differentiation = Implicit(),
    solver: AbstractSolver | str | None = None,
    tolerance: float | None = None,
    on_failure: str = "warn",
    cache: PotentialCache | None = None,
) -> Transport:
    """Entropic transport with differentiable potentials, plan and cost.

    `solve` gives more to look at and no derivatives; this gives derivatives. One problem at a time.

    Args:
        x: Sources, shape (N, D) or (N,), or a geometry; see `entropic_value` for all arguments.
        y: Targets, shape (M, D) or (M,).
        a: Weights of the sources, shape (N,).
        b: Weights of the targets, shape (M,).
        epsilon: Temperature > 0, units of cost.
        cost: Cost between points.
        rho_a: Price of missing the source marginal.
        rho_b: Price of missing the target marginal.
        differentiation: `Implicit()` or `Unroll(steps)`.
        solver: A solver or its name.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.

    Returns:
        A `Transport`.

    Raises:
        ValueError: A batch.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0]], requires_grad=True)
        >>> moved = transport(x, torch.tensor([[0.0], [4.0]]), epsilon=1.0).barycentric_map()
        >>> moved.detach().round(decimals=2)
        tensor([[0.0700],
                [3.9300]])

    References:
        [Luise2018], [Eisenberger2022]
    """
    how = Computation(
        differentiation=differentiation, solver=solver, tolerance=tolerance, on_failure=on_failure, cache=cache
    )
    given = pairs_of(x, y, a, b, cost, is_balanced=math.isinf(number(rho_a)) and math.isinf(number(rho_b)))
    if given.is_batch:
        msg = f"`transport` takes one problem: got a batch of {len(given.pairs)}. Call it for each."
        raise ValueError(msg)
    term = given.pairs[0].term(epsilon, rho_a, rho_b)
    return Transport(*how.potentials(cross=[term])[0][0], term)
