"""The losses as modules: settings once, then points; a mean over the batch."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from isotherm._checks import check_choice
from isotherm.divergences.differentiation import Differentiation, Envelope, Implicit
from isotherm.divergences.entropic import entropic_value, transport_cost
from isotherm.divergences.exact import sliced_wasserstein, wasserstein
from isotherm.divergences.hausdorff import hausdorff_divergence
from isotherm.divergences.kernel_norms import energy_distance, mmd
from isotherm.divergences.sinkhorn import sinkhorn_divergence

if TYPE_CHECKING:
    from isotherm.divergences.cache import PotentialCache
    from isotherm.divergences.inputs import CostLike
    from isotherm.divergences.term import Number
    from isotherm.geometry import Relative
    from isotherm.solvers import AbstractSolver


class AbstractLoss(nn.Module, ABC):
    """A loss of two weighted clouds; final classes say which.

    A cost that is a module, or a temperature that is a parameter, is trained with the rest. One `PotentialCache`
    belongs to each module that has one: it is no part of the state that is saved.

    Args:
        reduction: What becomes of a batch: "mean", "sum" or "none" (shape (B,)).
    """

    def __init__(self, reduction: str) -> None:
        super().__init__()
        self.reduction = check_choice(reduction, "reduction", ("mean", "sum", "none"))

    @abstractmethod
    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """The loss of each member of a batch, or of the one problem."""

    def forward(self, x: Any, y: Any, a: Any = None, b: Any = None) -> Tensor:
        """The loss.

        Args:
            x: Sources, shape (N, D); a batch (B, N, D); or a list of B clouds.
            y: Targets, likewise.
            a: Weights of the sources; equal when left out.
            b: Weights of the targets.

        Returns:
            A scalar; shape (B,) for a batch with `reduction="none"`.
        """
        value = self.each(x, y, a, b)
        return value if value.ndim == 0 or self.reduction == "none" else getattr(torch, self.reduction)(value)

    def extra_repr(self) -> str:
        """The settings that differ from nothing."""
        shown = {name: value for name, value in vars(self).items() if not name.startswith("_") and name != "training"}
        return ", ".join(f"{name}={value}" for name, value in shown.items() if value is not None)


class EntropicValue(AbstractLoss):
    """`isotherm.entropic_value` as a module.

    Args:
        epsilon: Temperature, units of cost.
        cost: Cost between points.
        rho_a: Price of missing the source marginal.
        rho_b: Price of missing the target marginal.
        differentiation: Rule for derivatives.
        solver: A solver or its name.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.
        reduction: "mean", "sum" or "none".

    Example:
        >>> EntropicValue(epsilon=1.0)(torch.zeros(3, 2, 1), torch.ones(3, 2, 1)).round(decimals=4)
        tensor(1.)
    """

    def __init__(  # noqa: PLR0913 - all settings of the function
        self,
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
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.epsilon, self.cost, self.rho_a, self.rho_b = epsilon, cost, rho_a, rho_b
        self.differentiation, self.solver, self.tolerance = differentiation, solver, tolerance
        self.on_failure, self.cache = on_failure, cache

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.entropic_value`."""
        return entropic_value(
            x,
            y,
            a,
            b,
            epsilon=self.epsilon,
            cost=self.cost,
            rho_a=self.rho_a,
            rho_b=self.rho_b,
            differentiation=self.differentiation,
            solver=self.solver,
            tolerance=self.tolerance,
            on_failure=self.on_failure,
            cache=self.cache,
        )


class TransportCost(AbstractLoss):
    """`isotherm.transport_cost`, the sharp value, as a module.

    Args:
        epsilon: Temperature, units of cost.
        cost: Cost between points.
        rho_a: Price of missing the source marginal.
        rho_b: Price of missing the target marginal.
        differentiation: Rule for derivatives.
        solver: A solver or its name.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.
        reduction: "mean", "sum" or "none".

    Example:
        >>> TransportCost(epsilon=1.0)(torch.zeros(3, 2, 1), torch.ones(3, 2, 1)).round(decimals=4)
        tensor(1.)
    """

    def __init__(  # noqa: PLR0913 - all settings of the function
        self,
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
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.epsilon, self.cost, self.rho_a, self.rho_b = epsilon, cost, rho_a, rho_b
        self.differentiation, self.solver, self.tolerance = differentiation, solver, tolerance
        self.on_failure, self.cache = on_failure, cache

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.transport_cost`."""
        return transport_cost(
            x,
            y,
            a,
            b,
            epsilon=self.epsilon,
            cost=self.cost,
            rho_a=self.rho_a,
            rho_b=self.rho_b,
            differentiation=self.differentiation,
            solver=self.solver,
            tolerance=self.tolerance,
            on_failure=self.on_failure,
            cache=self.cache,
        )


class SinkhornDivergence(AbstractLoss):
    """`isotherm.sinkhorn_divergence` as a module.

    Args:
        epsilon: Temperature, units of cost.
        cost: Cost between points.
        rho: Price of missing a marginal.
        differentiation: Rule for derivatives.
        solver: Who solves between x and y.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.
        reduction: "mean", "sum" or "none".

    Example:
        >>> SinkhornDivergence(epsilon=1.0, reduction="none")(torch.zeros(3, 2, 1), torch.ones(3, 2, 1))
        tensor([1., 1., 1.])
    """

    def __init__(  # noqa: PLR0913 - all settings of the function
        self,
        *,
        epsilon: Number | Relative,
        cost: CostLike | None = None,
        rho: Number = math.inf,
        differentiation: Differentiation = Envelope(),
        solver: AbstractSolver | str | None = None,
        tolerance: float | None = None,
        on_failure: str = "warn",
        cache: PotentialCache | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.epsilon, self.cost, self.rho = epsilon, cost, rho
        self.differentiation, self.solver, self.tolerance = differentiation, solver, tolerance
        self.on_failure, self.cache = on_failure, cache

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.sinkhorn_divergence`."""
        return sinkhorn_divergence(
            x,
            y,
            a,
            b,
            epsilon=self.epsilon,
            cost=self.cost,
            rho=self.rho,
            differentiation=self.differentiation,
            solver=self.solver,
            tolerance=self.tolerance,
            on_failure=self.on_failure,
            cache=self.cache,
        )


class HausdorffDivergence(AbstractLoss):
    """`isotherm.hausdorff_divergence` as a module.

    Args:
        epsilon: Temperature, units of cost.
        cost: Cost between points.
        rho: Price of missing a marginal.
        differentiation: Rule for derivatives.
        tolerance: L1 error of the marginals at which to stop.
        on_failure: "warn", "raise" or "ignore".
        cache: Where to start and to leave potentials.
        reduction: "mean", "sum" or "none".

    Example:
        >>> HausdorffDivergence(epsilon=1.0)(torch.zeros(3, 2, 1), torch.ones(3, 2, 1)).round(decimals=4)
        tensor(1.)
    """

    def __init__(  # noqa: PLR0913 - all settings of the function
        self,
        *,
        epsilon: Number | Relative,
        cost: CostLike | None = None,
        rho: Number = math.inf,
        differentiation: Differentiation = Implicit(),
        tolerance: float | None = None,
        on_failure: str = "warn",
        cache: PotentialCache | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.epsilon, self.cost, self.rho = epsilon, cost, rho
        self.differentiation, self.tolerance = differentiation, tolerance
        self.on_failure, self.cache = on_failure, cache

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.hausdorff_divergence`."""
        return hausdorff_divergence(
            x,
            y,
            a,
            b,
            epsilon=self.epsilon,
            cost=self.cost,
            rho=self.rho,
            differentiation=self.differentiation,
            tolerance=self.tolerance,
            on_failure=self.on_failure,
            cache=self.cache,
        )


class MMD(AbstractLoss):
    """`isotherm.mmd` as a module.

    Args:
        cost: Cost between points.
        reduction: "mean", "sum" or "none".

    Example:
        >>> MMD()(torch.zeros(3, 2, 1), torch.ones(3, 2, 1))
        tensor(1.)
    """

    def __init__(self, *, cost: CostLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.cost = cost

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.mmd`."""
        return mmd(x, y, a, b, cost=self.cost)


class EnergyDistance(AbstractLoss):
    """`isotherm.energy_distance` as a module.

    Args:
        reduction: "mean", "sum" or "none".

    Example:
        >>> EnergyDistance()(torch.zeros(3, 2, 1), torch.ones(3, 2, 1))
        tensor(2.)
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.energy_distance`."""
        return energy_distance(x, y, a, b)


class Wasserstein(AbstractLoss):
    """`isotherm.wasserstein`, exact transport, as a module.

    Args:
        cost: Cost between points.
        reduction: "mean", "sum" or "none".

    Example:
        >>> Wasserstein()(torch.zeros(3, 2, 1), torch.ones(3, 2, 1))
        tensor(1.)
    """

    def __init__(self, *, cost: CostLike | None = None, reduction: str = "mean") -> None:
        super().__init__(reduction)
        self.cost = cost

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.wasserstein`."""
        return wasserstein(x, y, a, b, cost=self.cost)


class SlicedWasserstein(AbstractLoss):
    """`isotherm.sliced_wasserstein` as a module.

    Args:
        p: Exponent, at least 1.
        projections: Number of directions.
        generator: Where directions come from; an integer takes the same ones at every call.
        reduction: "mean", "sum" or "none".

    Example:
        >>> SlicedWasserstein()(torch.zeros(3, 2, 1), torch.ones(3, 2, 1))
        tensor(1.)
    """

    def __init__(
        self,
        *,
        p: float = 2.0,
        projections: int = 64,
        generator: torch.Generator | int = 0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction)
        self.p, self.projections, self.generator = p, projections, generator

    def each(self, x: Any, y: Any, a: Any, b: Any) -> Tensor:
        """See `isotherm.sliced_wasserstein`."""
        return sliced_wasserstein(x, y, a, b, p=self.p, projections=self.projections, generator=self.generator)
