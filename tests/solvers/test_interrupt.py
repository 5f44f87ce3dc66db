"""An interrupt ends a solve with the best potentials so far, valid bounds and a status that says so."""

from __future__ import annotations

import math
import os
import signal
import threading
import time

import pytest
import torch

from isotherm import Annealed, Auto, LogSinkhorn, Outcome, PointCloud, Problem, Relative, Scaling, StopSolve
from isotherm.solvers import stopping
from isotherm.testing import check_solution, cube_to_blobs

ENDLESS = {"tolerance": 1e-13, "max_iterations": 10**6}
SOLVERS = {
    "log": LogSinkhorn(**ENDLESS),
    "scaling": Scaling(**ENDLESS),
    "annealed": Annealed(solver=LogSinkhorn(**ENDLESS)),
    "auto": Auto(**ENDLESS),
}
each_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)


def problem() -> Problem:
    return cube_to_blobs(60, generator=0, epsilon=Relative(0.003))


@each_solver
@pytest.mark.parametrize("when", [1, 3, 9, 40])
@pytest.mark.parametrize("signal_", [StopSolve, KeyboardInterrupt])
def test_callback_ends_a_solve(solver, when, signal_):
    seen = []

    def stop(check):
        seen.append(check)
        if len(seen) == when:
            raise signal_

    solution = solver.run(problem(), callback=stop)
    assert solution.status.outcome is Outcome.INTERRUPTED
    assert not solution.status.is_converged
    assert "interrupted after" in solution.status.advice
    assert solution.iterations == when == len(solution.history)
    check_solution(solution)
    assert math.isfinite(solution.certificate.entropic_upper)


@pytest.mark.parametrize("solver", [SOLVERS["log"], SOLVERS["annealed"], SOLVERS["auto"]])
def test_ctrl_c_ends_a_solve(solver):
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(400, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    has_begun, has_ended = threading.Event(), threading.Event()

    def press() -> None:
        has_begun.wait()
        time.sleep(0.05)
        while not has_ended.is_set():  # an exception raised within a callback of torch's own may get lost
            os.kill(os.getpid(), signal.SIGINT)
            has_ended.wait(2.0)

    finger = threading.Thread(target=press)
    finger.start()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        solution = solver.run(Problem(PointCloud(x, y), epsilon=1e-6), callback=lambda _: has_begun.set())
    finally:
        has_begun.set()
        has_ended.set()
        finger.join()
        signal.signal(signal.SIGINT, handler)
    assert solution.status.outcome is Outcome.INTERRUPTED
    assert solution.iterations >= 1
    check_solution(solution)


@each_solver
def test_interrupted_solve_goes_on_from_where_it_was(solver):
    seen = []

    def stop(check):
        seen.append(check)
        if check.epsilon == asked.epsilon and check.marginal_error < 1e-2 and check.iteration > 60:
            raise StopSolve

    asked = cube_to_blobs(60, generator=0, epsilon=Relative(0.01))
    half = solver.run(asked, callback=stop)
    whole = solver.with_tolerance(1e-6).run(asked)
    rest = solver.with_tolerance(1e-6).run(asked, init=half)
    assert half.status.outcome is Outcome.INTERRUPTED
    assert rest.status.is_converged
    assert rest.iterations < whole.iterations


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_during_the_judgement_repeats_it_and_the_second_means_it(monkeypatch, count):
    judge, calls = stopping.marginal_error, []

    def fail(*given):
        calls.append(given)
        if len(calls) in (1, 2)[:count]:
            raise KeyboardInterrupt
        return judge(*given)

    monkeypatch.setattr(stopping, "marginal_error", fail)
    if count == 2:
        with pytest.raises(KeyboardInterrupt):
            LogSinkhorn(max_iterations=3).run(problem())
    else:
        assert LogSinkhorn(max_iterations=3).run(problem()).status.outcome is Outcome.MAX_ITERATIONS
