"""How the time to an L1 error of 1e-3 grows with points, dimension and coldness; isotherm alone.

python -m benchmarks.workloads.scaling --output benchmarks/results/scaling.json
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import isotherm
from benchmarks.run import RESULTS, commit, processor_name
from benchmarks.workloads.tasks import Task, blobs, gaussians

TOLERANCE = 1e-3
SIZES = (300, 1000, 3000, 10_000, 30_000, 100_000)
DIMENSIONS = (2, 4, 8, 16, 32, 64, 128)
SHARES = (0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)


def measure(task: Task) -> dict[str, Any]:
    """Best of two solves in float32; of one where it is long."""
    best, solution = float("inf"), None
    for _ in range(2):
        began = time.perf_counter()
        points = [cloud.float() for cloud in task.points]
        solution = isotherm.solve(*points, epsilon=task.epsilon, tolerance=TOLERANCE, on_failure="ignore")
        best = min(best, time.perf_counter() - began)
        if best > 10.0:
            break
    assert solution is not None, "this is our bug: nothing was solved"
    return {
        "best_s": best,
        "iterations": solution.iterations,
        "is_converged": solution.status.is_converged,
        "method": solution.method,
    }


def main() -> None:
    """Measure the three axes, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workloads.scaling", description="Growth of the time.")
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--output", type=Path, default=RESULTS / "scaling.json")
    options = parser.parse_args()
    plan = [
        ("n", f"3-D, epsilon {s:.1%}", n, blobs(n, s)) for s in (0.05, 0.002) for n in SIZES if n <= options.largest
    ]
    plan += [
        ("d", f"N = 10,000, epsilon {s:.0%}", d, gaussians(10_000, d, s)) for s in (0.05, 0.01) for d in DIMENSIONS
    ]
    plan += [("cold", f"3-D, N = {n:,}", 1.0 / s, blobs(n, s)) for n in (1000, 10_000) for s in SHARES]
    rows = []
    for axis, series, at, tasks in plan:
        rows.append({"axis": axis, "series": series, "at": at, **measure(tasks[0])})
        print(rows[-1])
    machine = {"processor": processor_name(), "threads": torch.get_num_threads()}
    result = {"schema": 1, "kind": "scaling", "commit": commit(), "machine": machine, "rows": rows}
    options.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
