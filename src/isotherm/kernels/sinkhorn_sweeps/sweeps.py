"""What a block of sweeps starts from, and what comes of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from isotherm.kernels.source import CostSource


@dataclass(frozen=True, eq=False, kw_only=True)
class Sweeps:
    """Sweeps of one problem with a fixed relaxation; see `sinkhorn_sweeps` for the equations.

    Attributes:
        costs: C_ij, shape (N, M), units of cost; +inf forbids a pair.
        a: Weights of the sources, shape (N,), non-negative, some positive.
        b: Weights of the targets, shape (M,).
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, shape (M,), units of cost.
        epsilon: Temperature > 0, units of cost.
        rho_a: Price of the source marginal, units of cost; infinity makes it a constraint.
        rho_b: Price of the target marginal.
        omega: Factor by which updates are lengthened, in (0, 2); 1 is Sinkhorn's step.
        count: Sweeps to make at most.
        tolerance: Residual at which to stop; negative never stops.
        last_omega: Factor of the sweep before.
        last_softmin: Soft minimum of the rows in the sweep before, with its constant, shape (N,); wanted where
            `last_omega` is not 1.
        dual: Dual value after the sweep before, units of cost times mass; -inf where unknown.
        residual: The residual as far as it is known; far from the solution kernels are not cut.
        kernel: What an earlier block of sweeps on the same costs at the same temperature has kept; used and changed.
    """

    costs: CostSource
    a: Tensor
    b: Tensor
    f: Tensor
    g: Tensor
    epsilon: float
    rho_a: float = math.inf
    rho_b: float = math.inf
    omega: float = 1.0
    count: int = 1
    tolerance: float = -1.0
    last_omega: float = 1.0
    last_softmin: Tensor | None = None
    dual: float = -math.inf
    residual: float = math.inf
    kernel: Any = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Swept:
    """What some sweeps came to.

    Attributes:
        f: Potential of the sources, shape (N,), units of cost.
        g: Potential of the targets, relaxed, shape (M,).
        exact_g: Potential of the targets that makes their marginal exact for this f, shape (M,).
        softmin: Soft minimum of the rows in the last sweep, with its constant, shape (N,).
        residuals: L1 error of the source marginal before each sweep that was made, the target marginal exact, per unit
            of the mass it should have; an estimate where the sweep before it was relaxed.
        changes: How far f was from its update before each sweep, the root of the weighted sum of squares.
        dual: Dual value after the last relaxed sweep; what was given where none was.
        has_dropped: Whether that is below the one before by more than rounding; the sweeps end there.
        kernel: What the next block of sweeps may use; None where nothing is kept.
    """

    f: Tensor
    g: Tensor
    exact_g: Tensor
    softmin: Tensor
    residuals: list[float]
    changes: list[float]
    dual: float
    has_dropped: bool
    kernel: Any = None
