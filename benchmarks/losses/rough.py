"""How long a rough gradient takes: the divergence of 100,000 points, tolerance against `scaling` of GeomLoss's multiscale.

    python -m benchmarks.losses.rough --peers-python .venv-peers/bin/python --into docs/losses.md

GeomLoss has no stopping rule, and its gradient cannot be judged by marginals. All gradients are compared with one whose
transports have marginals right to 1e-6.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from benchmarks.compare import seconds
from benchmarks.losses.tasks import TASKS
from benchmarks.run import ROOT

if TYPE_CHECKING:
    from torch import Tensor

TASK = "1 x 100k, 3-D"
TOLERANCES = (1e-2, 1e-3)
REFERENCE = 1e-6
SCALINGS = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
BEGIN, END = "<!-- rough table -->", "<!-- end of rough table -->"


def ours(x: Tensor, y: Tensor, epsilon: float, tolerance: float) -> Tensor:
    """The gradient by the points x."""
    import isotherm  # noqa: PLC0415 - the other library's Python has none

    points = x.clone().requires_grad_()
    isotherm.sinkhorn_divergence(points, y, epsilon=epsilon, tolerance=tolerance).backward()
    assert points.grad is not None, "this is our bug: nothing was differentiated"
    return points.grad


def theirs(x: Tensor, y: Tensor, epsilon: float, scaling: float) -> Tensor:
    """The same by GeomLoss, whose cost and temperature are half of ours."""
    from geomloss import SamplesLoss  # noqa: PLC0415  # pyright: ignore[reportMissingImports]

    points = x.clone().requires_grad_()
    settings = {"blur": math.sqrt(epsilon / 2.0), "scaling": scaling, "backend": "multiscale"}
    SamplesLoss("sinkhorn", p=2, **settings)(points, y).backward()
    assert points.grad is not None, "this is our bug: nothing was differentiated"
    return 2.0 * points.grad


def measure(library: str, folder: Path) -> list[dict[str, object]]:
    """Time and error of each setting; the reference is written, or read, in a folder."""
    task = TASKS[TASK][0]()[0]
    (x, y), *_ = ((x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])) for x, y in task.groups("float32"))
    call, settings, label = (theirs, SCALINGS, "scaling") if library == "geomloss" else (ours, TOLERANCES, "tolerance")
    path = folder / "reference.pt"
    if call is ours:
        torch.save(ours(x, y, task.epsilon, REFERENCE), path)
    else:
        theirs(x, y, task.epsilon, SCALINGS[0])  # compiles
    reference = torch.load(path)
    rows: list[dict[str, object]] = []
    for setting in settings:
        began = time.perf_counter()
        gradient = call(x, y, task.epsilon, setting)
        took = time.perf_counter() - began
        error = float((gradient - reference).norm() / reference.norm())
        rows.append({"setting": f"{library}, {label} {setting:g}", "seconds": took, "error": error})
    return rows


def main() -> None:
    """Measure both libraries, each on its Python; print, or write into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.losses.rough", description="Rough gradients.")
    parser.add_argument("--peers-python", default=sys.executable, help="Python that has GeomLoss and KeOps")
    parser.add_argument("--into", type=Path, help="page whose table, between its marks, is replaced")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker[0], Path(options.worker[1]))))
        return
    from benchmarks.workloads.report import markdown  # noqa: PLC0415 - it draws as well, which the other Python cannot

    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for library, python in (("isotherm", sys.executable), ("geomloss", options.peers_python)):
            command = [python, "-m", "benchmarks.losses.rough", "--worker", library, folder]
            told = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
            rows += json.loads(told.splitlines()[-1])
    table = [["setting", "step", "relative error of the gradient"]]
    table += [[str(row["setting"]), seconds(row["seconds"]), f"{row['error']:.1%}"] for row in rows]  # pyright: ignore[reportArgumentType]
    text = markdown(table)
    if options.into is None:
        print(text)
        return
    before, _, rest = options.into.read_text(encoding="utf-8").partition(BEGIN)
    options.into.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
