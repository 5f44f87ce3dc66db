"""A general reference coupling, absorbed into the cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from isotherm import kernels
from isotherm.geometry.abstract import AbstractGeometry, AbstractPairwise, refuse_new_points
from isotherm.geometry.cost_matrix import stored_costs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from isotherm._arrays import Namespace


@dataclass(frozen=True, eq=False)
class Tilted(AbstractPairwise):
    """Costs C - epsilon log(kappa / (a ⊗ b)): entropic transport against kappa is transport against a ⊗ b at this cost.

    Made by `Problem`, not by users. The cost charged for transport stays the ground cost.

    Attributes:
        base: The ground cost C, shape (N, M).
        log_ratio: log(kappa_ij / (a_i b_j)), shape (N, M); -inf forbids a pair.
        epsilon: Temperature > 0, units of cost.
    """

    base: AbstractGeometry
    log_ratio: Tensor
    epsilon: float

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sources and of targets, (N, M)."""
        return self.base.shape

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the ground cost."""
        return self.base.dtype

    @property
    def device(self) -> torch.device:
        """Device of the ground cost."""
        return self.base.device

    @property
    def namespace(self) -> Namespace:
        """Library of the ground cost."""
        return self.base.namespace

    @property
    def source_points(self) -> Tensor | None:
        """Coordinates of the sources, if known."""
        return self.base.source_points

    @property
    def target_points(self) -> Tensor | None:
        """Coordinates of the targets, if known."""
        return self.base.target_points

    @property
    def coordinate_scale(self) -> float:
        """That of the ground cost."""
        return self.base.coordinate_scale

    def transpose(self) -> Tilted:
        """Sources and targets swapped."""
        return Tilted(self.base.transpose(), self.log_ratio.T, self.epsilon)

    def detach(self) -> Tilted:
        """The same outside every autograd graph."""
        return Tilted(self.base.detach(), self.log_ratio.detach(), self.epsilon)

    def double(self) -> Tilted:
        """The same in float64."""
        return Tilted(self.base.double(), self.log_ratio.double(), self.epsilon)

    def for_iteration(self) -> AbstractGeometry:
        """The tilted costs in memory: the reference already takes that much."""
        return stored_costs(self.block(slice(None)), self.namespace)

    def block(self, rows: slice | Tensor) -> Tensor:
        """Tilted costs of some sources to all targets, shape (n, M); +inf where the reference is zero."""
        return self.base.block(rows) - self.epsilon * self.log_ratio[rows]

    def formula(self) -> None:
        """None: the reference coupling is a matrix beside the ground cost; `for_iteration` stores their sum."""

    def plan_cost(self, p: Tensor, q: Tensor, *, epsilon: float) -> Tensor:
        """Ground cost paid under the tilted plan, shape (N,)."""
        return kernels.plan_cost(self, p, q, epsilon=epsilon, paid=self.base)

    def product_cost(self, a: Tensor, b: Tensor) -> Tensor:
        """Tilted cost under a ⊗ b; +inf when that charges a forbidden pair."""
        return kernels.product_sum(self, a, b)

    def product_square_deviation(self, a: Tensor, b: Tensor, centre: Tensor) -> Tensor:
        """Squared deviation of the tilted cost under a ⊗ b."""
        return kernels.product_sum(self, a, b, centre=centre)

    def extend(self, x_new: Tensor) -> AbstractGeometry:
        """Not possible: the reference is known on the given points only."""
        raise refuse_new_points(self)
