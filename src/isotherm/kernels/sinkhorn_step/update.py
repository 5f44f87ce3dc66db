"""How the next potential of the sources follows from its softmin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RowUpdate:
    """The potential that the columns see, f' = (1 - relaxation) f + relaxation * damping * (softmin + shift).

    Attributes:
        damping: 1 / (1 + epsilon / rho_a); 1 where the source marginal is a constraint.
        shift: Constant added to the softmin first, a number or a scalar tensor, units of cost.
        relaxation: Above 1 the step is lengthened (over-relaxation), at 1 it is Sinkhorn's.
    """

    damping: float = 1.0
    shift: float | Tensor = 0.0
    relaxation: float = 1.0

    def __call__(self, f: Tensor, softmin: Tensor) -> Tensor:
        """The next potential, shape (N,)."""
        step = self.damping * (softmin + self.shift)
        return step if self.relaxation == 1.0 else (1.0 - self.relaxation) * f + self.relaxation * step

    def guess(self, f: Tensor) -> Tensor:
        """The softmin at which f would stay as it is, shape (N,)."""
        return f / self.damping - self.shift
