"""What is true of every solution, converged or not, whichever solver it came from.

Meant for problems small enough to be dense. A broken statement raises `ContractError`.
"""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from isotherm._arrays import Namespace
from isotherm.coupling import EntropicCoupling

from .dense import dense_dual_value, dense_soft_transform, gibbs_plan, primal_values

if TYPE_CHECKING:
    from isotherm.solution import Solution


class ContractError(AssertionError):
    """A clause of the contract is broken; the message says which one and by how much."""


def check_solution(solution: Solution, *, tolerance: float | None = None) -> None:
    """Everything that holds for any solution, converged or not, of a problem small enough to be dense.

    Args:
        solution: What a solver returned.
        tolerance: The L1 marginal error that a converged status promises; the solver's own default is 1e-4.

    Raises:
        ContractError: A clause is broken.

    Example:
        >>> import isotherm
        >>> check_solution(isotherm.solve([0.0, 1.0], [0.5, 2.0], epsilon=0.1))
    """
    check_finite(solution)
    check_marginals(solution, tolerance=tolerance)
    check_support(solution)
    check_gauge(solution)
    check_values(solution)
    check_bounds(solution)
    check_arrays(solution)
    check_history(solution)


def check_finite(solution: Solution) -> None:
    """No NaN and no infinity in potentials, plan, values or errors; no NaN in the bounds.

    Args:
        solution: What a solver returned.
    """
    found = {"f": solution.f, "g": solution.g, "plan": solution.coupling.to_dense(), "value": solution.value}
    found |= {"entropy_value": solution.entropy_value, "transport_cost": solution.transport_cost}
    for name, array in found.items():
        bad = int((~torch.as_tensor(array).isfinite()).sum())
        require(bad == 0, f"`{name}` must be finite: {bad} entries are not, status {solution.status.outcome.value}")
    require(
        all(map(math.isfinite, solution.marginal_error)), f"`marginal_error` must be finite: {solution.marginal_error}"
    )
    bounds = _bounds(solution)
    require(not any(map(math.isnan, bounds.values())), f"bounds must not be NaN: {solution.certificate}")


def check_marginals(solution: Solution, *, tolerance: float | None = None) -> None:
    """The reported marginals and errors are those of the plan; a converged status keeps its promise.

    Args:
        solution: What a solver returned.
        tolerance: The L1 error, per unit of mass, that a converged status promises; 1e-4 when left out.
    """
    problem = solution.problem.double()
    plan, rounding = dense_plan(solution), _rounding(solution)
    wanted = (
        problem.a * (-solution.potentials[0].double() / problem.rho_a).exp(),
        problem.b * (-solution.potentials[1].double() / problem.rho_b).exp(),
    )
    nothing = plan.numel() * torch.finfo(solution.problem.geometry.dtype).tiny ** 0.9  # what sums count as zero
    sides = zip(("source", "target"), (plan.sum(1), plan.sum(0)), solution.coupling.marginals(), wanted, strict=True)
    for side, dense, reported, optimal in sides:
        mass = float(optimal.sum())
        apart = l1_distance(dense, torch.as_tensor(reported))
        require(apart <= rounding * float(dense.sum()) + nothing, f"{side} marginal is {apart:.1e} from the plan's")
        error = l1_distance(dense, optimal) / mass
        claimed = getattr(solution.marginal_error, side)
        require(
            abs(error - claimed) <= rounding * (1 + error), f"{side} error is {error:.2e}: {claimed:.2e} was reported"
        )
        if solution.status.is_converged:
            promised = (1e-4 if tolerance is None else tolerance) + rounding
            require(
                error <= promised, f"{side} marginal of a converged plan is off by {error:.1e}, {promised:.1e} allowed"
            )


def check_support(solution: Solution) -> None:
    """Masses are non-negative, and exactly zero where a weight or the reference is.

    Args:
        solution: What a solver returned.
    """
    problem = solution.problem
    plan = torch.as_tensor(solution.coupling.to_dense())
    require(bool((plan >= 0).all()), f"masses must be non-negative: the least is {float(plan.min()):.3e}")
    allowed = (problem.a > 0)[:, None] & (problem.b > 0)
    if problem.reference is not None:
        allowed = allowed & (problem.reference > 0)
    stray = plan[~allowed]
    require(bool((stray == 0).all()), f"pairs without reference mass must get none: got up to {largest(stray):.3e}")


def check_gauge(solution: Solution) -> None:
    """<b, g> = 0 where both marginals are enforced.

    Args:
        solution: What a solver returned.
    """
    if not solution.problem.is_balanced:
        return
    b, g = solution.problem.b.double(), solution.potentials[1]
    mean = float(b @ g.double() / b.sum())
    allowed = 8 * torch.finfo(g.dtype).eps * (exponent_scale(solution) + 1e-6 * solution.epsilon)
    require(abs(mean) <= allowed, f"the gauge is <b, g> = 0: got {mean:.3e}, rounding explains {allowed:.1e}")


def check_values(solution: Solution) -> None:
    """Potentials, plan and the three values belong together, and agree with the definitions in float64.

    Args:
        solution: What a solver returned.
    """
    problem, plan = solution.problem, dense_plan(solution)
    rounding, mass = _rounding(solution), max(float(plan.sum()), float(problem.reference_mass))
    if problem.epsilon > 0:
        apart = l1_distance(plan, gibbs_plan(problem, *solution.potentials)) / mass
        require(apart <= rounding, f"the plan must be kappa exp((f + g - C) / epsilon): it is {apart:.1e} off")
    paid = primal_values(problem, plan)
    unit = rounding * mass * (problem.epsilon + exponent_scale(solution))
    cost = float(solution.transport_cost)
    require(abs(cost - paid.transport_cost) <= unit, f"transport_cost is {paid.transport_cost:.10g}: got {cost:.10g}")
    if problem.epsilon == 0:
        require(float(solution.value) == cost, f"at epsilon = 0 value is transport_cost: got {float(solution.value)}")
        require(float(solution.entropy_value) == cost, "at epsilon = 0 entropy_value is transport_cost")
        return
    g = solution.potentials[1]
    dual, value = dense_dual_value(problem, dense_soft_transform(problem, g), g), float(solution.value)
    exact = 16 * torch.finfo(problem.geometry.dtype).eps * exponent_scale(solution) * mass
    exact += 1e-13 * problem.epsilon * mass
    require(abs(value - dual) <= exact, f"value is {dual:.10g}, the dual at softmin(g) and g: got {value:.10g}")
    error = sum(solution.marginal_error) * mass
    if solution.status.is_converged:
        slack = unit + error * exponent_scale(solution)
        require(abs(value - paid.value) <= slack, f"value is {paid.value:.10g}, what the plan pays: got {value:.10g}")
    expected = dual - problem.epsilon * (paid.relative_entropy + paid.entropy)
    unit = exact + (rounding * mass + error) * problem.epsilon * (1 + _largest_log(solution))
    entropy_value = float(solution.entropy_value)
    require(abs(entropy_value - expected) <= unit, f"entropy_value is {expected:.10g}: got {entropy_value:.10g}")


def check_bounds(solution: Solution, *, value: float | None = None, exact_cost: float | None = None) -> None:
    """Bounds are ordered, and enclose what is known.

    Args:
        solution: What a solver returned.
        value: The true value of the problem at its temperature, where known.
        exact_cost: The true value at temperature zero, where known.
    """
    bounds, slack = solution.certificate, bound_slack(solution)
    for name, low, high, truth in (
        ("entropic", bounds.entropic_lower, bounds.entropic_upper, value),
        ("exact", bounds.exact_lower, bounds.exact_upper, exact_cost),
    ):
        require(low <= high + slack, f"{name}_lower must not exceed {name}_upper: got {low!r} and {high!r}")
        if truth is not None:
            require(low <= truth + slack, f"{name}_lower must not exceed the truth {truth!r}: got {low!r}")
            require(truth <= high + slack, f"{name}_upper must not fall below the truth {truth!r}: got {high!r}")
    gap = bounds.entropic_upper - bounds.entropic_lower
    scale = max(abs(bounds.entropic_upper), abs(bounds.entropic_lower))
    expected = 0.0 if gap <= 0 else gap / scale if math.isfinite(gap) else math.inf
    require(bounds.relative_gap == expected, f"relative_gap is {expected!r}: got {bounds.relative_gap!r}")


def check_arrays(solution: Solution) -> None:
    """Every public output is of the library, dtype and device of the input.

    Args:
        solution: What a solver returned.
    """
    geometry, coupling = solution.problem.geometry, solution.coupling
    sources, targets = geometry.shape
    ones = torch.ones(targets, dtype=geometry.dtype, device=geometry.device)
    values = geometry.namespace.export(ones)
    found: dict[str, Any] = {"f": solution.f, "g": solution.g, "value": solution.value}
    found |= {"entropy_value": solution.entropy_value, "transport_cost": solution.transport_cost}
    found |= {"marginals().source": coupling.marginals().source, "marginals().target": coupling.marginals().target}
    found |= {"to_dense()": coupling.to_dense(), "apply()": coupling.apply(values), "entropy()": coupling.entropy()}
    found |= {"top_k().mass": coupling.top_k(1).mass, "to_sparse().mass": coupling.to_sparse().mass}
    found |= {"barycentric_map()": coupling.barycentric_map(values)}
    for name, array in found.items():
        kind = f"{geometry.namespace.value} {geometry.dtype}"
        require(_is_kind(array, geometry.namespace, geometry.dtype), f"`{name}` must be {kind}: got {_kind(array)}")
    shapes = {"f": (sources,), "g": (targets,), "to_dense()": (sources, targets), "value": (), "apply()": (sources,)}
    for name, shape in shapes.items():
        require(tuple(found[name].shape) == shape, f"`{name}` must have shape {shape}: got {tuple(found[name].shape)}")


def check_history(solution: Solution) -> None:
    """History, iterations, status and method tell one story.

    Args:
        solution: What a solver returned.
    """
    history, status = solution.history, solution.status
    require(
        bool(status.advice.strip()) and bool(solution.method.strip()), "status.advice and method must say something"
    )
    require(solution.seconds >= 0, f"seconds must not be negative: got {solution.seconds}")
    if solution.problem.epsilon == 0:
        return
    steps = [check.iteration for check in history]
    require(bool(history), "history must hold at least one look at the residual")
    require(all(one < two for one, two in pairwise(steps)), f"history must be in order: got {steps}")
    require(steps[-1] == solution.iterations, f"history ends at {steps[-1]}: iterations is {solution.iterations}")
    require(history[-1].epsilon == solution.epsilon, "history must end at the problem's temperature")
    temperatures = [check.epsilon for check in history]
    while len(temperatures) > 1 and temperatures[0] == solution.epsilon:  # a first look before it was heated
        temperatures.pop(0)
    require(temperatures == sorted(temperatures, reverse=True), "temperatures of a solve must not rise")


def check_dual_feasible(solution: Solution) -> None:
    """Potentials of an exact solution: f_i + g_j <= C_ij where a side has weight, with equality where there is mass.

    Args:
        solution: A solution at epsilon = 0.
    """
    cost = solution.problem.geometry.double().block(slice(None))
    f, g = (potential.double() for potential in solution.potentials)
    weighted = (solution.problem.a > 0)[:, None] | (solution.problem.b > 0)
    reduced, plan = torch.where(weighted, cost - f[:, None] - g, 0.0), dense_plan(solution)
    scale = float(cost.abs().max()) + largest(f) + largest(g)
    unit = scale * (1e-9 + 8 * torch.finfo(solution.potentials[0].dtype).eps)
    require(float(reduced.min()) >= -unit, f"f_i + g_j must not exceed C_ij: it does by {-float(reduced.min()):.1e}")
    slack = largest(reduced[plan > 1e-12 * float(plan.sum())])
    require(slack <= unit, f"f_i + g_j must equal C_ij where there is mass: a pair is {slack:.1e} below")


def dense_plan(solution: Solution) -> Tensor:
    return torch.as_tensor(solution.coupling.to_dense()).detach().double()


def exponent_scale(solution: Solution) -> float:
    """Size of what is added in the exponent, units of cost."""
    cost = solution.problem.geometry.block(slice(None))
    return sum(largest(tensor) for tensor in (cost, *solution.potentials))


def _rounding(solution: Solution) -> float:
    """Relative rounding error of a plan entry, with a margin of 16."""
    unit = 16 * torch.finfo(solution.problem.geometry.dtype).eps
    if not isinstance(solution.coupling, EntropicCoupling):
        return unit
    return unit * (1 + _largest_log(solution) + exponent_scale(solution) / solution.epsilon)


def _largest_log(solution: Solution) -> float:
    """Largest |log| among weights and reference, those of the exponents."""
    problem = solution.problem
    arrays = [problem.a, problem.b] + ([] if problem.reference is None else [problem.reference])
    return sum(largest(array[array > 0].log()) for array in arrays)


def bound_slack(solution: Solution) -> float:
    """Rounding of bounds, units of cost: that of float64, or of an exact plan's masses in their dtype."""
    problem = solution.problem
    mass = max(1.0, float(problem.reference_mass))
    unit = 1e-12 if problem.epsilon else 1e-12 + torch.finfo(problem.geometry.dtype).eps
    return unit * mass * (exponent_scale(solution) + problem.epsilon)


def _bounds(solution: Solution) -> dict[str, float]:
    return {setting.name: getattr(solution.certificate, setting.name) for setting in fields(solution.certificate)}


def l1_distance(one: Tensor, two: Tensor) -> float:
    return float((one.detach().double() - two.detach().double()).abs().sum())


def largest(tensor: Tensor) -> float:
    return float(tensor.detach().double().abs().max()) if tensor.numel() else 0.0


def _is_kind(array: Any, namespace: Namespace, dtype: torch.dtype) -> bool:
    if namespace is Namespace.TORCH:
        return isinstance(array, Tensor) and array.dtype == dtype
    return isinstance(array, np.ndarray | np.generic) and array.dtype.name == str(dtype).removeprefix("torch.")


def _kind(array: Any) -> str:
    return f"{type(array).__module__.partition('.')[0]} {getattr(array, 'dtype', '')}"


def require(holds: bool, message: str) -> None:  # noqa: FBT001 - reads as assert does
    if not holds:
        raise ContractError(message)
