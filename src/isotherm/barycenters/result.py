"""A barycenter: where its mass is, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from isotherm._arrays import Namespace
    from isotherm._status import Status
    from isotherm.solution import Check


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Barycenter:
    """A barycenter, converged or not.

    Attributes:
        mass: Weights of its points as a tensor, shape (N,), with the total mass of the measures.
        support: Its points as a tensor, shape (N, D).
        sizes: Shape in which `weights` is given back: that of an image on a grid, (N,) on points.
        status: Outcome with advice; `status.is_converged` is the answer to "may I trust it".
        error: What the tolerance is asked of. Masses on a fixed support: the largest L1 error among the couplings'
            marginals, per unit of mass, recomputed at the end. Points that move: their root mean square step over the spread of the data.
        history: That error as it was looked at.
        tolerance: The error that was asked for.
        iterations: Updates of the barycenter.
        epsilon: The temperature, in units of cost.
        method: What was done, in a sentence.
        seconds: Wall time.
        namespace: Library that results are exported to.

    Example:
        >>> import isotherm, torch
        >>> cloud = torch.tensor([[0.0], [1.0]])
        >>> isotherm.barycenter([cloud], epsilon=1.0, support=cloud).weights
        tensor([0.5000, 0.5000])
    """

    mass: Tensor  # (N,)
    support: Tensor  # (N, D)
    sizes: torch.Size
    status: Status
    error: float
    history: tuple[Check, ...]
    tolerance: float
    iterations: int
    epsilon: float
    method: str
    seconds: float
    namespace: Namespace

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.sizes))
        return (
            f"Barycenter on {shape} points, epsilon={self.epsilon:.4g}\n  {self.status}\n"
            f"  {self.iterations} iterations in {self.seconds:.2g} s; {self.method}"
        )

    @property
    def weights(self) -> Any:
        """Weights of its points, shape (N,), or an image on a grid."""
        return self.namespace.export(self.mass.reshape(self.sizes))

    @property
    def points(self) -> Any:
        """Its points, shape (N, D)."""
        return self.namespace.export(self.support)
