"""What is asked: costs, weights, temperature and how strictly the marginals hold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from isotherm._arrays import ArrayLike, to_tensor
from isotherm._checks import (
    check_epsilon,
    check_equal_masses,
    check_finite,
    check_positive,
    check_reference,
    check_weights,
)
from isotherm.geometry import AbstractGeometry, CallableCost, Grid, PointCloud, Relative, Tilted
from isotherm.kernels import row_blocks


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Problem:
    """An entropic transport problem.

        min_P  <C, P> + epsilon KL(P | kappa) + rho_a KL(P 1 | a) + rho_b KL(P' 1 | b)

    with KL(P | K) = sum P log(P / K) - P + K. An infinite rho makes that marginal a constraint.

    Args:
        geometry: The costs C, shape (N, M).
        a: Weights of the sources, shape (N,), non-negative; 1/N each when left out. On a `Grid` the image's shape is
            accepted too. Zero weights are legal: such points get no mass and still have a potential.
        b: Weights of the targets, shape (M,), as `a`. Balanced masses may differ by 1e-5 of themselves, as sums in
            float32 do; b is then rescaled to the mass of a.
        epsilon: Temperature, a number in units of cost or `Relative`; resolved to a float on construction. Zero is
            the cold end and needs the solver `Exact`.
        rho_a: Price of missing the source marginal, units of cost; infinity (the default) enforces it.
        rho_b: Price of missing the target marginal.
        reference: The coupling kappa that the plan is compared with, shape (N, M), non-negative; a ⊗ b when left out.
            A zero forbids the pair. This is a dense object.

    Raises:
        ValueError: Weights of the wrong length, negative, not finite or all zero; unequal masses while both sides are
            balanced; a temperature that is not positive; a reference that strands a point.
        TypeError: Something that is not a number or not a geometry.

    Example:
        >>> from isotherm.geometry import CostMatrix
        >>> Problem(CostMatrix([[0.0, 1.0], [1.0, 0.0]]), epsilon=Relative(0.1)).epsilon
        0.05
    """

    geometry: AbstractGeometry
    a: Tensor  # (N,)
    b: Tensor  # (M,)
    epsilon: float
    rho_a: float
    rho_b: float
    reference: Tensor | None  # (N, M)

    def __init__(
        self,
        geometry: AbstractGeometry,
        a: ArrayLike | None = None,
        b: ArrayLike | None = None,
        *,
        epsilon: float | Relative,
        rho_a: float = math.inf,
        rho_b: float = math.inf,
        reference: ArrayLike | None = None,
    ) -> None:
        if not isinstance(geometry, AbstractGeometry):
            msg = f"`geometry` must be a PointCloud, CostMatrix or Grid: got {type(geometry).__name__}. Wrap the arrays first."
            raise TypeError(msg)
        a, b = _weights(a, "a", geometry, 0), _weights(b, "b", geometry, 1)
        if reference is not None:
            reference = to_tensor(reference, "reference", dtype=geometry.dtype, device=geometry.device)
        rho_a = check_positive(rho_a, "rho_a", allow_infinity=True)
        rho_b = check_positive(rho_b, "rho_b", allow_infinity=True)
        if math.isinf(rho_a) and math.isinf(rho_b):
            b = _with_mass_of(a, b)
        with torch.no_grad():
            epsilon = _checked(geometry, a, b, epsilon, reference)
        self._set(geometry, a, b, epsilon, rho_a, rho_b, reference)

    def _set(self, *values: object) -> None:
        """Fill the fields, in their order."""
        for name, value in zip(self.__match_args__, values, strict=True):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        sides = "" if self.is_balanced else f", rho_a={self.rho_a:.4g}, rho_b={self.rho_b:.4g}"
        reference = "" if self.reference is None else ", with reference"
        return f"Problem({self.geometry}, epsilon={self.epsilon:.4g}{sides}{reference})"

    @property
    def is_balanced(self) -> bool:
        """True when both marginals are constraints; then the potentials have a free constant."""
        return math.isinf(self.rho_a) and math.isinf(self.rho_b)

    @cached_property
    def tilted_geometry(self) -> AbstractGeometry:
        """Costs for which the reference is a ⊗ b: C itself, or C - epsilon log(kappa / (a ⊗ b))."""
        if self.reference is None:
            return self.geometry
        support = (self.a > 0)[:, None] & (self.b > 0)
        log_ratio = self.reference.log() - self.a.log()[:, None] - self.b.log()
        return Tilted(self.geometry, torch.where(support, log_ratio, 0.0), self.epsilon)

    @cached_property
    def reference_mass(self) -> Tensor:
        """Total mass of the reference coupling, a float64 scalar."""
        if self.reference is None:
            return self.a.sum(dtype=torch.float64) * self.b.sum(dtype=torch.float64)
        return self.reference.sum(dtype=torch.float64)

    @property
    def log_weights(self) -> tuple[Tensor, Tensor]:
        """epsilon log a and epsilon log b, shapes (N,) and (M,), units of cost; -inf for points without mass."""
        return self.epsilon * self.a.log(), self.epsilon * self.b.log()

    def at(self, epsilon: float | Relative) -> Problem:
        """The same problem at another temperature, in units of cost or relative to them."""
        return self._with(epsilon=_resolved(epsilon, self.geometry, self.a, self.b))

    def on(self, geometry: AbstractGeometry) -> Problem:
        """The same question with another geometry of the same points."""
        return self._with(geometry=geometry)

    def detach(self) -> Problem:
        """The same problem outside every autograd graph; itself where there is none."""
        geometry = self.geometry.detach()
        tensors = [tensor for tensor in (self.a, self.b, self.reference) if tensor is not None]
        if geometry is self.geometry and not any(tensor.requires_grad for tensor in tensors):
            return self
        reference = None if self.reference is None else self.reference.detach()
        return self._with(geometry=geometry, a=self.a.detach(), b=self.b.detach(), reference=reference)

    def double(self) -> Problem:
        """The same problem in float64, its masses made equal to the last digit where both sides are balanced."""
        if self.geometry.dtype == torch.float64:
            return self
        reference = None if self.reference is None else self.reference.double()
        a, b = self.a.double(), self.b.double()
        b = _with_mass_of(a, b) if self.is_balanced else b
        return self._with(geometry=self.geometry.double(), a=a, b=b, reference=reference)

    def transpose(self) -> Problem:
        """The same problem with sources and targets swapped."""
        reference = None if self.reference is None else self.reference.T
        swapped = {"a": self.b, "b": self.a, "rho_a": self.rho_b, "rho_b": self.rho_a, "reference": reference}
        return self._with(geometry=self.geometry.transpose(), **swapped)

    def _with(self, **changes: object) -> Problem:
        """A copy with some fields changed to values that need no checks."""
        problem = object.__new__(Problem)
        problem._set(*(changes.get(name, getattr(self, name)) for name in self.__match_args__))
        return problem


def _checked(
    geometry: AbstractGeometry,
    a: Tensor,
    b: Tensor,
    epsilon: float | Relative,
    reference: Tensor | None,
) -> float:
    """Check the parts against each other; return the temperature in units of cost."""
    if isinstance(geometry, PointCloud) and isinstance(geometry.cost, CallableCost):
        for rows in row_blocks(geometry):
            check_finite(geometry.block(rows), "cost function's value")
    if reference is not None:
        check_reference(reference, a, b)
    return _resolved(epsilon, geometry, a, b)


def _resolved(epsilon: float | Relative, geometry: AbstractGeometry, a: Tensor, b: Tensor) -> float:
    """A temperature in units of cost."""
    return epsilon.resolve(geometry, a, b) if isinstance(epsilon, Relative) else check_epsilon(epsilon)


def _with_mass_of(a: Tensor, b: Tensor) -> Tensor:
    """b rescaled to the mass of a, or itself where they agree to rounding; an error where they differ by more than that."""
    ratio = a.sum(dtype=torch.float64) / b.sum(dtype=torch.float64)
    if abs(float(ratio.detach()) - 1.0) <= torch.finfo(b.dtype).eps:
        return b
    check_equal_masses(a.detach(), b.detach())
    return b * ratio.to(b.dtype)


def _weights(weights: ArrayLike | None, name: str, geometry: AbstractGeometry, side: int) -> Tensor:
    """Weights of one side in the geometry's dtype, equal when left out."""
    size = geometry.shape[side]
    if weights is None:
        return torch.full((size,), 1.0 / size, dtype=geometry.dtype, device=geometry.device)
    tensor = to_tensor(weights, name, dtype=geometry.dtype, device=geometry.device)
    if isinstance(geometry, Grid) and tensor.shape == (geometry.source_sizes, geometry.target_sizes)[side]:
        tensor = tensor.reshape(-1)  # an image
    return check_weights(tensor, name, size)
