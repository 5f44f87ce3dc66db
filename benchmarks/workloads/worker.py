"""One library on one task, in a process of its own; prints a line of JSON for each of its settings.

    python -m benchmarks.workloads.worker isotherm "1 blobs 1k 5%" 1e-3

A number behind it leaves out that many settings, for going on after one that had to be ended. The clock starts with points (or stored costs) and weights in memory and stops with potentials in memory. The first call
is told apart: it may compile, unless the library has a function `prepare` that makes it do so before. The answer is judged outside the clock.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.workloads.judge import Verdict, judge
from benchmarks.workloads.libraries import NAMES
from benchmarks.workloads.observation import observed
from benchmarks.workloads.suite import Suite
from benchmarks.workloads.tasks import TASKS, Tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from benchmarks.workloads.libraries import Answer

ENOUGH_SECONDS = 3.0
REPEATS = 7  # after which calls are repeated only while they took `QUICK_SECONDS` together
QUICK_SECONDS = 1.0


def measure(
    suite: Suite,
    library: ModuleType,
    tasks: list[Any],
    setting: str,
    tolerance: float,
    tell: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Solve, tell how long the first time took, repeat while it is quick, judge."""
    threads, times = torch.get_num_threads(), list[float]()

    def solve() -> list[Answer]:
        started = time.perf_counter()
        answers = [library.solve(task, setting, tolerance) for task in tasks]
        times.append(time.perf_counter() - started)
        return answers

    answers: list[Answer] = []
    taken = observed(library, lambda: answers.extend(solve()))
    tell({"first_s": times[0]})
    if times[0] <= 2.0 * ENOUGH_SECONDS:
        while len(times) < 2 or sum(times) < (ENOUGH_SECONDS if len(times) < REPEATS else QUICK_SECONDS):
            answers = solve()
        if hasattr(library, "count_work"):  # what the first call takes includes what it loads
            taken = observed(library, lambda: [library.solve(task, setting, tolerance) for task in tasks])
    torch.set_num_threads(os.cpu_count() or 1)
    verdict = suite.worst(tasks, answers)
    torch.set_num_threads(threads)
    claims = [answer.claims for answer in answers if answer.claims is not None]
    return {
        "first_s": times[0],
        "best_s": min(times[1:] or times),
        "repeats": len(times) - 1,
        "iterations": None if answers[0].iterations is None else sum(answer.iterations or 0 for answer in answers),
        "pairs": sum(task.pairs for task in tasks),
        **taken,
        "claims": all(claims) if claims else None,
        **verdict.record(),
        "note": answers[0].note,
    }


def worst(tasks: Tasks, answers: list[Answer]) -> Verdict:
    """The least right of the answers."""
    verdicts = [judge(task, answer.f, answer.g) for task, answer in zip(tasks, answers, strict=True)]
    return max(verdicts, key=lambda verdict: (verdict.error != verdict.error, verdict.error))


WORKLOADS = Suite(package="benchmarks.workloads", tasks=TASKS, libraries=NAMES, result="workloads.json", worst=worst)


def main(suite: Suite = WORKLOADS) -> None:
    """Measure every setting, print. What libraries print goes to the standard error."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    name, task_name, tolerance = sys.argv[1], sys.argv[2], float(sys.argv[3])
    tasks = suite.tasks[task_name][0]()
    try:
        library = import_module(f"{suite.package}.libraries.{name}")
        settings = library.settings(tasks[0], tolerance)
        if hasattr(library, "prepare"):
            library.prepare(tasks[0], settings)
    except ImportError as problem:
        out.write(json.dumps({"setting": "-", "failure": f"not installed: {problem}"}) + "\n")
        return

    def tell(reply: dict[str, Any]) -> None:
        out.write(json.dumps(reply) + "\n")

    tell({"settings": settings})
    for setting in settings[int((sys.argv[4:] or ["0"])[0]) :]:
        try:
            reply = measure(suite, library, tasks, setting, tolerance, tell)
        except Exception as problem:  # whatever a library raises is a result, shown in the table
            reply = {"failure": f"{type(problem).__name__}: {problem}"[:200]}
        tell({"setting": setting} | reply)


if __name__ == "__main__":
    main()
