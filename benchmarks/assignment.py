"""Exact assignments between equally many, equally weighted points: `Exact`, SciPy's own, and POT's network simplex.

    python -m benchmarks.assignment [--points 500,2000] [--rounds 3] [--into docs/speed.md]

Costs are given, in float64; ours finds prices as well, POT's too, SciPy's none. All return the same cost.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import ot
import torch
from scipy.optimize import linear_sum_assignment

from benchmarks.run import commit, processor_name
from isotherm import CostMatrix, Exact, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

MARKS = "<!-- assignment table -->", "<!-- end of assignment table -->"
DIMENSION = 3


def solvers(costs: torch.Tensor) -> dict[str, Callable[[], float]]:
    """Name to the mean cost of the assignment that is found."""
    matrix, weights = costs.numpy(), np.full(len(costs), 1.0 / len(costs))

    def scipy() -> float:
        return float(matrix[linear_sum_assignment(matrix)].mean())

    def pot() -> float:
        return float((ot.emd(weights, weights, matrix, numItermax=10**7) * matrix).sum())

    def own() -> float:
        return float(Exact().run(Problem(CostMatrix(costs), epsilon=0.0)).transport_cost)

    return {"isotherm": own, "SciPy": scipy, "POT": pot}


def measured(points: int, rounds: int) -> dict[str, float]:
    """The least seconds of each, rounds outermost."""
    generator = torch.Generator().manual_seed(points)
    x, y = torch.randn(2, points, DIMENSION, generator=generator).double()
    found = solvers(torch.cdist(x, y + 1.0).square())
    values = {name: solve() for name, solve in found.items()}
    assert max(values.values()) - min(values.values()) < 1e-9 * max(values.values()), values
    best = dict.fromkeys(found, np.inf)
    for _ in range(rounds):
        for name, solve in found.items():
            began = time.perf_counter()
            solve()
            best[name] = min(best[name], time.perf_counter() - began)
    return best


def main() -> None:
    """Print the table, and write it between its marks."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assignment", description=__doc__)
    parser.add_argument("--points", default="500,1000,2000,4000", help="comma-separated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--into", type=Path, help="Markdown file with the marks of the table")
    options = parser.parse_args()
    rows = {points: measured(points, options.rounds) for points in map(int, options.points.split(","))}
    head = ["points", *next(iter(rows.values())), "best other / ours"]
    lines = ["| " + " | ".join(head) + " |", "|---:" * len(head) + "|"]
    for points, seconds in rows.items():
        ratio = min(seconds["SciPy"], seconds["POT"]) / seconds["isotherm"]
        lines.append(
            f"| {points} | " + " | ".join(f"{1e3 * each:.3g} ms" for each in seconds.values()) + f" | {ratio:.3g}x |"
        )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "scipy", "pot"))
    told = f"{datetime.now(UTC):%Y-%m-%d}, {processor_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, commit {commit()}; python {platform.python_version()}, {versions}."
    table = "\n\n".join([told, "\n".join(lines)])
    print(table)
    if options.into:
        text = options.into.read_text(encoding="utf-8")
        before, _, rest = text.partition(MARKS[0])
        _, found, after = rest.partition(MARKS[1])
        if not found:
            parser.error(f"--into must have the marks {MARKS[0]} and {MARKS[1]}: {options.into} has not")
        options.into.write_text(f"{before}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
