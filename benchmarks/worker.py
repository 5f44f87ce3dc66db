"""One implementation in a process of its own, at one number of threads: answers requests, a line of JSON each.

    python -m benchmarks.worker isotherm 2

A request names what to do ("time", "check", "peak", "limits", "loop", "versions") and the case; the answer holds
numbers or "failure".
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from benchmarks import limits
from benchmarks.cases import Case
from benchmarks.exact import error
from benchmarks.inputs import inputs_of
from benchmarks.memory import peak_of
from isotherm.kernels import compiled

MAX_TIMES = 100  # of one case in one turn
LOOP_STEPS = 4  # iterations of the training loop in one timing
LOOP_WIDTH = 1024  # its matrices are LOOP_WIDTH x LOOP_WIDTH

Reduction = Callable[[], tuple[Tensor, ...]]


class Worker:
    """Keeps the inputs and the bound reductions of the cases it has seen."""

    def __init__(self, name: str) -> None:
        self.implementation = import_module(f"benchmarks.implementations.{name}")
        self.prepared = lru_cache(maxsize=None)(self.prepare)
        self.answers: dict[Case, tuple[Tensor, ...]] = {}

    def prepare(self, case: Case) -> Reduction:
        """Bind a case, then run it once on a few points, so that nothing is compiled later."""
        small = replace(case, n=64)
        self.implementation.prepare(small, inputs_of(small))()
        return self.implementation.prepare(case, inputs_of(case))

    def time(self, case: Case, seconds: float) -> dict[str, Any]:
        """Run a case for about so many seconds, at least once.

        Each turn begins with one call that is not counted, unless it alone takes longer than the turn may.
        """
        call = self.prepared(case)
        start = time.perf_counter()
        self.answers[case] = call()
        times = [time.perf_counter() - start]
        if times[0] < seconds:
            times.clear()
        while not times or (time.perf_counter() - start < seconds and len(times) < MAX_TIMES):
            times.append(limits.timed(call))
        return {"times": times}

    def check(self, case: Case) -> dict[str, Any]:
        """True error of the last answer that was timed."""
        return {"error": error(case, self.answers[case])}

    def peak(self, case: Case) -> dict[str, Any]:
        """Peak resident memory of one run above what was resident before, inputs included in the latter."""
        call = self.prepare(case)
        try:
            return {"peak_mb": peak_of(call)[1]}
        except (OSError, KeyError, AttributeError) as problem:
            return {"failure": f"this system does not tell peak memory: {problem!r}"}

    def loop(self, case: Case) -> dict[str, Any]:
        """A training loop: a product of matrices, the reduction, a product again; beside its parts by themselves."""
        call = self.prepared(case)
        a = torch.randn(LOOP_WIDTH, LOOP_WIDTH)

        def product() -> Tensor:
            return a @ a

        def step() -> None:
            product()
            call()
            product()

        parts = {"product_s": product, "reduction_s": call, "step_s": step}
        best = dict.fromkeys(parts, float("inf"))
        for _ in range(6):
            for key, part in parts.items():
                took = limits.timed(lambda part=part: [part() for _ in range(LOOP_STEPS)])
                best[key] = min(best[key], took / LOOP_STEPS)
        return best

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for."""
        match request["do"]:
            case "versions":
                return self.implementation.versions()
            case "processor":
                return processor()
            case "limits":
                return limits.measure(torch.get_num_threads(), with_memory=request["with_memory"])
            case "time":
                return self.time(Case(**request["case"]), request["seconds"])
            case "check" | "peak" | "loop" as verb:
                return getattr(self, verb)(Case(**request["case"]))
        return {"failure": f"this is our bug: no answer to {request}"}


def processor() -> dict[str, Any]:
    """What the kernels found here."""
    extension = compiled.extension
    if extension is None:
        return {"instruction_set": "none", "threads_of": "torch", "reasons": compiled.why_missing()}
    return {"instruction_set": extension.instruction_set(), "threads_of": extension.thread_source(), "reasons": []}


def main() -> None:
    """Serve until the requests end. What libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    worker, failure = None, ""
    try:
        worker = Worker(name)
    except ImportError as problem:
        failure = f"not installed: {problem}"
    for line in sys.stdin:
        try:
            reply = worker.answer(json.loads(line)) if worker else {"failure": failure}
        except Exception as problem:  # whatever a peer raises is a result, shown in the table
            reply = {"failure": f"{type(problem).__name__}: {problem}"[:300]}
        answers.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
