"""Solutions to files that other programs read."""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from isotherm._arrays import Namespace
from isotherm.cli.read import Cloud
from isotherm.geometry import AbstractCost, BlockSparse, PointCloud
from isotherm.solution import Solution
from isotherm.solvers import TemperaturePath


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder to write to, whose files all move into the real one when the block ends well.

    A failure or an interrupt leaves the real folder as it was; if it did not exist, it still does not.

    Args:
        folder: Where the files will be; made if missing.

    Yields:
        A temporary folder within it.
    """
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".isotherm-", dir=folder))
    try:
        yield staging
        for file in sorted(staging.iterdir()):
            file.replace(folder / file.name)
        made.clear()
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        for parent in made:
            parent.rmdir()


def write_solution(path: Path, solution: Solution, source: Cloud, target: Cloud) -> None:
    """Everything about a solution that is an array or a number, as .npz.

    Holds x, y, a, b, cost, epsilon, rho_a, rho_b, f, g, which together determine the plan
    P_ij = a_i b_j exp((f_i + g_j - C_ij) / epsilon); value, entropy_value, transport_cost; barycentric_map of shape
    (N, D); is_converged; and the place of each point in its file, source_rows and target_rows.

    Args:
        path: The file.
        solution: Any solution made from NumPy arrays.
        source: Where the sources came from.
        target: Where the targets came from.
    """
    _save(
        path,
        **_problem_arrays(solution, source, target),
        epsilon=solution.epsilon,
        f=solution.f,
        g=solution.g,
        value=solution.value,
        entropy_value=solution.entropy_value,
        transport_cost=solution.transport_cost,
        barycentric_map=solution.coupling.barycentric_map(),
        is_converged=solution.status.is_converged,
    )


def write_path(path: Path, solutions: TemperaturePath, source: Cloud, target: Cloud) -> None:
    """The same at K temperatures: epsilons (K,), f (K, N), g (K, M), and the values, shape (K,) each.

    Args:
        path: The file.
        solutions: Solutions of one problem.
        source: Where the sources came from.
        target: Where the targets came from.
    """
    _save(
        path,
        **_problem_arrays(solutions[0], source, target),
        epsilons=np.array(solutions.epsilons),
        f=np.stack([solution.f for solution in solutions]),
        g=np.stack([solution.g for solution in solutions]),
        value=np.array([float(solution.value) for solution in solutions]),
        entropy_value=np.array([float(solution.entropy_value) for solution in solutions]),
        transport_cost=np.array(solutions.transport_costs),
        normalised_entropy=np.array(solutions.normalised_entropies),
        is_converged=np.array([solution.status.is_converged for solution in solutions]),
    )


def write_coupling(path: Path, solution: Solution, threshold: float) -> float:
    """The heavier pairs of the plan as a SciPy sparse matrix; load it with `scipy.sparse.load_npz`.

    Args:
        path: The file.
        solution: Any solution.
        threshold: Least share of its source's mass that a pair carries.

    Returns:
        Share of the plan's mass in those pairs.
    """
    sparse = solution.coupling.to_sparse(threshold)
    scipy.sparse.save_npz(path, sparse.to_scipy())
    total = float(np.sum(solution.coupling.marginals().source, dtype=float))
    return float(np.sum(sparse.mass, dtype=float)) / total


def write_matches(path: Path, solution: Solution, source: Cloud, target: Cloud, *, top_k: int) -> None:
    """The heaviest targets of each source, heaviest first, as a table.

    Columns: source and target (places in the files, from 0), mass, and probability, the share of the source's mass.
    Sources without mass, and pairs that got none, are left out.

    Args:
        path: The .csv file.
        solution: Any solution.
        source: Where the sources came from.
        target: Where the targets came from.
        top_k: Matches per source; at most all targets.
    """
    indices, mass = solution.coupling.top_k(min(top_k, len(target.points)))
    row_mass = solution.coupling.marginals().source
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("source", "target", "mass", "probability"))
        for i, total in enumerate(row_mass):
            if total > 0:
                writer.writerows(
                    (source.rows[i], target.rows[j], f"{m:.7g}", f"{m / total:.7g}")
                    for j, m in zip(indices[i], mass[i], strict=True)
                    if m > 0
                )


def _save(path: Path, **arrays: Any) -> None:
    np.savez_compressed(path, allow_pickle=False, **{name: np.asarray(array) for name, array in arrays.items()})


def _problem_arrays(solution: Solution, source: Cloud, target: Cloud) -> dict[str, Any]:
    problem = solution.problem
    geometry = problem.geometry.base if isinstance(problem.geometry, BlockSparse) else problem.geometry
    assert isinstance(geometry, PointCloud)  # commands read points
    assert isinstance(geometry.cost, AbstractCost)
    return {
        "x": source.points,
        "y": target.points,
        "a": Namespace.NUMPY.export(problem.a),
        "b": Namespace.NUMPY.export(problem.b),
        "cost": geometry.cost.name,
        "rho_a": problem.rho_a,
        "rho_b": problem.rho_b,
        "source_rows": source.rows,
        "target_rows": target.rows,
    }
