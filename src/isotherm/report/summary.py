"""A solution in plain numbers: for JSON, and for a table."""

from __future__ import annotations

import math
import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from isotherm.report.digits import certified, interval, number
from isotherm.report.temperature import mean_cost, relative_epsilon

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isotherm.solution import Solution


def versions() -> dict[str, str]:
    """What computed it: versions of this package, torch, NumPy and Python.

    Returns:
        Name to version.

    Example:
        >>> sorted(versions())
        ['isotherm', 'numpy', 'python', 'torch']
    """
    installed = {name: version(name) for name in ("isotherm", "torch", "numpy")}
    return {**installed, "python": platform.python_version()}


def summarise(solution: Solution) -> dict[str, Any]:
    """Everything about a solution that is a number or a word, ready for JSON.

    Args:
        solution: Converged or not.

    Returns:
        Nested dictionaries of Python numbers and strings; costs and values in units of cost, `seconds` in seconds,
        errors per unit of mass. NaN becomes None, infinities the strings "inf" and "-inf": JSON knows neither.
        Computes the certificate and the entropy if they were not yet: about a dozen passes over all pairs.
    """
    bounds, mean = solution.certificate, mean_cost(solution.problem)
    data = {
        "status": {
            "is_converged": solution.status.is_converged,
            "outcome": solution.status.outcome.value,
            "advice": solution.status.advice,
        },
        "epsilon": {"absolute": solution.epsilon, "relative_to_mean_cost": relative_epsilon(solution)},
        "mean_cost": mean,
        "value": float(solution.value),
        "entropy_value": float(solution.entropy_value),
        "transport_cost": float(solution.transport_cost),
        "certificate": {
            "entropic_lower": bounds.entropic_lower,
            "entropic_upper": bounds.entropic_upper,
            "exact_lower": bounds.exact_lower,
            "exact_upper": bounds.exact_upper,
            "relative_gap": bounds.relative_gap,
        },
        "normalised_entropy": solution.coupling.normalised_entropy(),
        "marginal_error": {"source": solution.marginal_error.source, "target": solution.marginal_error.target},
        "problem": _describe_problem(solution),
        "method": solution.method,
        "iterations": solution.iterations,
        "seconds": solution.seconds,
        "versions": versions(),
    }
    return _json_ready(data)


def summary_table(solutions: Sequence[Solution]) -> list[dict[str, str]]:
    """One row per solution, the cells as text with only the digits that are known.

    Args:
        solutions: In the order of the rows.

    Returns:
        Dictionaries with the same keys in the same order, the headers of the columns.
    """
    return [_table_row(solution) for solution in solutions]


def _table_row(solution: Solution) -> dict[str, str]:
    share, bounds = relative_epsilon(solution), solution.certificate
    return {
        "epsilon": number(solution.epsilon),
        "of mean cost": "–" if share is None else f"{number(100.0 * share, 2)} %",
        "status": ("exact" if solution.epsilon == 0 else "converged")
        if solution.status.is_converged
        else "NOT CONVERGED",
        "entropic value": certified(bounds.entropic_lower, bounds.entropic_upper) or value_range(solution),
        "transport cost": number(float(solution.transport_cost), 4),
        "exact cost": interval(bounds.exact_lower, bounds.exact_upper),
        "entropy": f"{solution.coupling.normalised_entropy():.2f}",
        "marginal error": number(max(solution.marginal_error), 2),
        "iterations": f"{solution.iterations:,}",
        "seconds": number(solution.seconds, 2),
    }


def value_range(solution: Solution) -> str:
    """The certified interval of the entropic value, as words."""
    return interval(solution.certificate.entropic_lower, solution.certificate.entropic_upper)


def _describe_problem(solution: Solution) -> dict[str, Any]:
    problem = solution.problem
    geometry = problem.geometry
    cost = getattr(geometry, "cost", None)
    features = None if geometry.source_points is None else geometry.source_points.shape[1]
    return {
        "sources": geometry.shape[0],
        "targets": geometry.shape[1],
        "features": features,
        "geometry": type(geometry).__name__,
        "cost": getattr(cost, "name", None),
        "dtype": str(geometry.dtype).removeprefix("torch."),
        "device": str(geometry.device),
        "source_mass": float(problem.a.double().sum()),
        "target_mass": float(problem.b.double().sum()),
        "rho_a": problem.rho_a,
        "rho_b": problem.rho_b,
        "has_reference": problem.reference is not None,
    }


def _json_ready(data: Any) -> Any:
    """The same data with NaN as None and infinities as strings, at any depth."""
    if isinstance(data, dict):
        return {key: _json_ready(value) for key, value in data.items()}
    if isinstance(data, float) and not math.isfinite(data):
        return None if math.isnan(data) else "inf" if data > 0 else "-inf"
    return data
