"""How long a solve still takes, said while it runs."""

from __future__ import annotations

import io
import math

import pytest
import rich.console

from isotherm import Check, LogSinkhorn, Relative, StopSolve, solve
from isotherm.solvers.progress import Forecast, progress_bar
from isotherm.testing import cube_to_blobs


def test_forecast_is_exact_for_a_geometric_residual():
    forecast = Forecast(1e-6)
    for k in range(1, 21):
        forecast(Check(k, 1.0, 10 ** (-k / 10)))
    assert forecast.iterations == pytest.approx(40)
    assert forecast.share == pytest.approx(20 / 60)
    assert 0 < forecast.seconds < math.inf


def test_forecast_starts_anew_at_another_temperature():
    forecast = Forecast(1e-3)
    assert forecast.iterations == forecast.seconds == math.inf
    assert forecast.share == 0.0
    forecast(Check(1, 2.0, 0.5))
    forecast(Check(2, 2.0, 1e-4))
    assert forecast.iterations == 0.0
    forecast(Check(3, 1.0, 0.5))
    assert forecast.iterations == math.inf
    assert forecast.share == 0.0


def test_forecast_of_plain_alternation_is_of_the_right_size():
    problem = cube_to_blobs(100, generator=0, epsilon=Relative(0.02))
    forecast, said = Forecast(1e-6), {}

    def listen(check: Check) -> None:
        forecast(check)
        said[check.iteration] = forecast.iterations

    solution = LogSinkhorn(tolerance=1e-6, relaxation=1.0).run(problem, callback=listen)
    half = solution.iterations // 2
    assert said[half] == pytest.approx(solution.iterations - half, rel=0.5)


def test_bar_names_the_time_that_is_left_and_passes_looks_on(monkeypatch):
    written, seen = io.StringIO(), []
    terminal = rich.console.Console(file=written, force_terminal=True, width=120)
    monkeypatch.setattr(rich.console, "Console", lambda **_: terminal)
    with progress_bar(1e-3, seen.append) as listen:
        for k in range(1, 9):
            listen(Check(k, 1.0, 0.5**k))
    assert len(seen) == 8
    assert "iteration 8" in written.getvalue()
    assert "predicted" in written.getvalue()


def test_front_door_shows_progress_and_still_calls_back():
    seen = []

    def enough(check: Check) -> None:
        seen.append(check)
        if len(seen) == 2:
            raise StopSolve

    geometry = cube_to_blobs(20, generator=0).geometry
    solution = solve(geometry, epsilon=1e-3, progress=True, callback=enough, on_failure="ignore")
    assert seen == list(solution.history)
    assert solution.status.outcome.value == "interrupted"
