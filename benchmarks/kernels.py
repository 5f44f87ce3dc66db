"""Pairs per second of every CPU kernel, beside this machine's own limits and plain torch, in one run.

    python benchmarks/kernels.py [--quick] [--output benchmarks/results/kernels.json]

Times are the best of several. A kernel's roofline is what the measured rates of exponentials and of fused
multiply-adds allow for the arithmetic it cannot avoid; one thread is held against one core's limits.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import isotherm
from isotherm import kernels
from isotherm.geometry import CostMatrix, PointCloud
from isotherm.kernels import RowUpdate, compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

DIMENSIONS = (2, 3, 8, 16, 32, 64)


def best(run: Callable[[], object], *, budget: float = 0.6, least: int = 3) -> float:
    """Shortest wall time of several calls, in seconds; other work on the machine only ever lengthens a call."""
    run()
    times, begun = [], time.perf_counter()
    while len(times) < least or time.perf_counter() - begun < budget:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def limits(dtype: torch.dtype) -> dict[str, float]:
    """This core's rates: fused multiply-adds and exponentials per second, bytes copied per second."""
    is_double, extension = dtype == torch.float64, compiled.extension
    fma, exponentials = 100_000, 20_000
    done_fma, done_exp = extension.probe_fma(fma, is_double), extension.probe_exp(exponentials, is_double)
    source = torch.rand(1 << 25)
    target = torch.empty_like(source)
    return {
        "fma_per_s": done_fma / best(lambda: extension.probe_fma(fma, is_double)),
        "exp_per_s": done_exp / best(lambda: extension.probe_exp(exponentials, is_double)),
        "copy_bytes_per_s": 8 * source.numel() / best(lambda: target.copy_(source)),
    }


def roofline(name: str, dimension: int, rates: dict[str, float]) -> float:
    """Pairs per second that the rates allow: cost, two operations for the exponent, what is done with it."""
    cost = 2 * dimension if dimension <= 8 else dimension
    extra = {
        "softmin": 0,
        "softmin, no guess": 1,
        "hard_min": 0,
        "sinkhorn_step": 1,
        "plan_apply, 3": 3,
        "plan_cost": 2,
    }
    operations = (0 if dimension == 0 else cost) + 2 + extra[name]
    exponentials = 0.0 if name == "hard_min" else 1.0 / rates["exp_per_s"]
    return 1.0 / (exponentials + operations / rates["fma_per_s"])


def calls(costs: PointCloud | CostMatrix, epsilon: float) -> dict[str, Callable[[], object]]:
    """Every kernel on one problem near its fixed point."""
    (sources, targets), dtype = costs.shape, costs.dtype
    log_a = torch.full((sources,), -epsilon * math.log(sources), dtype=dtype)
    h = torch.full((targets,), -epsilon * math.log(targets), dtype=dtype)
    f = kernels.softmin(costs, h, epsilon=epsilon)
    values: Tensor = torch.rand(targets, 3, dtype=dtype)
    update = RowUpdate()
    return {
        "softmin": lambda: kernels.softmin(costs, h, epsilon=epsilon, guess=f),
        "softmin, no guess": lambda: kernels.softmin(costs, h, epsilon=epsilon),
        "hard_min": lambda: kernels.hard_min(costs, h),
        "sinkhorn_step": lambda: kernels.sinkhorn_step(costs, f, h, log_a, update, epsilon=epsilon),
        "plan_apply, 3": lambda: kernels.plan_apply(costs, f + log_a, h, values, epsilon=epsilon),
        "plan_cost": lambda: kernels.plan_cost(costs, f + log_a, h, epsilon=epsilon),
    }


def measure(dtype: torch.dtype, size: int, rates: dict[str, float]) -> list[dict[str, object]]:
    """One row for each kernel, dimension and number of threads; dimension 0 is a stored matrix."""
    rows = []
    for dimension in (*DIMENSIONS, 0):
        points = [
            torch.rand(size, dimension or 3, dtype=dtype, generator=torch.Generator().manual_seed(k)) for k in (0, 1)
        ]
        cloud = PointCloud(*points)
        costs = cloud if dimension else CostMatrix(cloud.block(slice(None)))
        for name, run in calls(costs, 0.05 * max(dimension, 3)).items():
            for threads in (1, 2):
                torch.set_num_threads(threads)
                rate = size * size / best(run)
                row = {"kernel": name, "dimension": dimension, "dtype": str(dtype)[6:], "threads": threads}
                row |= {"pairs_per_s": rate, "of_roofline": rate / (threads * roofline(name, dimension, rates))}
                rows.append(row)
                sys.stderr.write(f"\r{name:20s} D = {dimension:3d} {rate / 1e9:6.2f} Gpair/s ")
    return rows


def against_torch(size: int) -> list[dict[str, object]]:
    """The fused kernels and the blocked torch reference, same inputs, same threads."""
    rows = []
    for dimension in (3, 30):
        points = [torch.rand(size, dimension, generator=torch.Generator().manual_seed(k)) for k in (0, 1)]
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for name, run in calls(PointCloud(*points), 0.05 * dimension).items():
                fused = best(run)
                with kernels.use("reference"):
                    plain = best(run, budget=0.0, least=2)
                row = {"kernel": name, "size": size, "dimension": dimension, "threads": threads}
                rows.append(row | {"fused_s": fused, "torch_s": plain, "ratio": plain / fused})
                sys.stderr.write(f"\r{name:20s} D = {dimension:3d} {plain / fused:6.1f} x torch ")
    return rows


def machine() -> dict[str, object]:
    """What the numbers were taken on."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line] if cpuinfo.exists() else []
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "instruction_set": compiled.extension.instruction_set(),
        "threads_from": compiled.extension.thread_source(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "isotherm": isotherm.__version__,
    }


def table(report: dict) -> str:
    """The numbers as text."""
    lines = [", ".join(f"{key} {value}" for key, value in report["machine"].items())]
    for dtype, rates in report["limits"].items():
        fma, exponentials, copy = (rates[key] / 1e9 for key in ("fma_per_s", "exp_per_s", "copy_bytes_per_s"))
        lines.append(f"{dtype}, one core: {fma:.1f} G fma/s, {exponentials:.2f} G exp/s, {copy:.1f} GB/s copied")
    lines.append(
        f"\n{'Gpair/s (share of roofline)':28s}"
        + "".join(f"{f'D = {d}' if d else 'stored':>15s}" for d in (*DIMENSIONS, 0))
    )
    groups: dict[tuple, dict[int, dict]] = {}
    for row in report["rates"]:
        groups.setdefault((row["dtype"], row["threads"], row["kernel"]), {})[row["dimension"]] = row
    for (dtype, threads, kernel), row in groups.items():
        cells = (f"{row[d]['pairs_per_s'] / 1e9:8.2f} ({row[d]['of_roofline']:4.0%})" for d in (*DIMENSIONS, 0))
        lines.append(f"{kernel:18s}{dtype[0] + dtype[5:]:>4s} x{threads}   " + " ".join(cells))
    lines.append("\nTimes as fast as blocked torch, float32")
    for row in report["against_torch"]:
        lines.append(
            f"{row['kernel']:18s} N = M = {row['size']}, D = {row['dimension']:2d}, {row['threads']} thread(s): "
            f"{row['ratio']:5.1f} x  ({row['fused_s'] * 1e3:.1f} ms, torch {row['torch_s'] * 1e3:.0f} ms)"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller problems, for a look")
    parser.add_argument("--output", type=Path, help="where to write the JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rates = {str(dtype)[6:]: limits(dtype) for dtype in (torch.float32, torch.float64)}
    size = 2048 if arguments.quick else 4096
    report = {"machine": machine(), "limits": rates, "size": size}
    report["rates"] = [
        row for dtype in (torch.float32, torch.float64) for row in measure(dtype, size, rates[str(dtype)[6:]])
    ]
    report["against_torch"] = against_torch(2000 if arguments.quick else 10_000)
    sys.stderr.write("\r" + " " * 60 + "\r")
    print(table(report))
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
