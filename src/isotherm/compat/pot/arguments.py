"""What a caller writes, checked and in tensors."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from torch import Tensor

from isotherm._arrays import to_tensor
from isotherm._checks import check_choice, check_matrix, check_positive, check_weights
from isotherm._status import ConvergenceWarning
from isotherm.compat.pot.regularised import Stated
from isotherm.geometry import AbstractCost, Cosine, Euclidean, Manhattan, SquaredEuclidean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.solution import Solution

GRADS = ("autodiff", "envelope", "last_step", "detach")
METRICS: dict[str, AbstractCost] = {
    "sqeuclidean": SquaredEuclidean(),
    "euclidean": Euclidean(),
    "cityblock": Manhattan(),
    "cosine": Cosine(),
}


def stated_problem(costs: Tensor, a: Any, b: Any, c: Any, terms: dict[str, Any], grad: str) -> Stated:
    """The problem, after a check of everything that was given."""
    check_matrix(costs, "M")
    reference = None if c is None else to_tensor(c, "c").to(costs)
    if reference is not None and (reference.shape != costs.shape or not bool((reference > 0).all())):
        msg = f"`c` must be positive, of shape {tuple(costs.shape)}: got shape {tuple(reference.shape)}, smallest entry {float(reference.min()):.4g}. To forbid pairs use isotherm.solve(reference=c)."
        raise ValueError(msg)
    if reference is not None and terms["regulariser"] == "entropy":
        msg = 'A reference `c` belongs to reg_type="KL": got one with "entropy", whose reference is one for each pair. Leave one out.'
        raise ValueError(msg)
    weights = side_weights(a, "a", costs, costs.shape[0]), side_weights(b, "b", costs, costs.shape[1])
    return Stated(costs=costs, a=weights[0], b=weights[1], reference=reference, grad=check_grad(grad), **terms)


def asked_terms(reg: float | None, reg_type: Any, unbalanced: Any, unbalanced_type: str) -> dict[str, Any]:
    """Temperature, prices and regulariser, after a check that they are implemented."""
    epsilon = 0.0 if reg is None or float(reg) == 0.0 else check_positive(float(reg), "reg")
    regulariser = reg_type.lower() if isinstance(reg_type, str) else "a pair of functions"
    if epsilon and regulariser not in ("kl", "entropy"):
        msg = f'`reg_type` must be "KL" or "entropy": got {reg_type!r}. Other regularisers are not provided; call POT for them.'
        raise NotImplementedError(msg)
    prices = (math.inf, math.inf) if unbalanced is None else _prices(unbalanced)
    if unbalanced is not None and unbalanced_type.lower() != "kl":
        msg = f'`unbalanced_type` must be "KL": got {unbalanced_type!r}. Other penalties are not provided; call POT for them.'
        raise NotImplementedError(msg)
    if not epsilon and not math.isinf(min(prices)):
        msg = "Unbalanced transport needs a temperature here: got reg=0. Pass a small reg, or call POT."
        raise NotImplementedError(msg)
    return {"epsilon": epsilon, "rho_a": prices[0], "rho_b": prices[1], "regulariser": regulariser if epsilon else "kl"}


def _prices(unbalanced: Any) -> tuple[float, float]:
    """Prices of both sides, from a number, one in a sequence, or two."""
    sides = to_tensor(unbalanced, "unbalanced").detach().reshape(-1).tolist()
    if len(sides) not in (1, 2):
        msg = f"`unbalanced` must be one price or two: got {len(sides)}. Pass a number, or a pair."
        raise ValueError(msg)
    first, last = (check_positive(rho, "unbalanced", allow_infinity=True) for rho in (sides[0], sides[-1]))
    return first, last


def check_grad(grad: str) -> str:
    return check_choice(grad, "grad", GRADS)


def is_missing(weights: Any) -> bool:
    """None, or the empty list that the original takes for equal weights."""
    return weights is None or len(weights) == 0


def side_weights(weights: Any, name: str, like: Tensor, size: int) -> Tensor:
    if is_missing(weights):
        return like.new_full((size,), 1.0 / size)
    tensor = to_tensor(weights, name, dtype=like.dtype, device=like.device)
    check_weights(tensor.detach(), name, size)
    return tensor


def given_potentials(potentials: Any, like: Tensor) -> tuple[Tensor, Tensor] | None:
    if potentials is None:
        return None
    u, v = (to_tensor(one, "potentials_init", dtype=like.dtype, device=like.device) for one in potentials)
    return u, v


def warn_unsolved(solutions: Sequence[Solution]) -> None:
    """Say once that a tolerance was not met."""
    failed = [solution for solution in solutions if not solution.status.is_converged]
    if failed:
        count = f"{len(failed)} of {len(solutions)} problems did not converge. " if len(solutions) > 1 else ""
        warnings.warn(f"{count}{failed[0].status}", ConvergenceWarning, stacklevel=4)
