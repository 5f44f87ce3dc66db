"""The benchmark harness on a tiny suite: it runs, its JSON has all that the tables need, and failures are shown."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks import compare, exact
from benchmarks.cases import OPERATIONS, STORED, Case, suite, work
from benchmarks.implementations import isotherm, reference
from benchmarks.inputs import inputs_of
from benchmarks.run import Row

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "": {
        "schema",
        "kind",
        "suite",
        "date",
        "commit",
        "machine",
        "versions",
        "settings",
        "foreign_load",
        "limits",
        "rows",
    }
    | {"peaks", "loops", "wall_s"},
    "machine": {"processor", "cores", "instruction_set", "threads_of", "reasons"},
    "rows": {"implementation", "operation", "d", "n", "dtype", "threads", "repeats", "best_s", "median_s", "error"}
    | {"gpairs_per_s", "roofline_s", "of_roofline", "failure"},
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """The smoke suite on one thread, with a peer that no test environment has."""
    path = tmp_path_factory.mktemp("bench") / "result.json"
    command = [sys.executable, "-m", "benchmarks.run", "--suite", "smoke", "--threads", "1", "--rounds", "1"]
    command += ["--implementations", "isotherm,reference,geomloss", "--output", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)


@pytest.mark.slow
def test_result_has_every_key(result: dict) -> None:
    assert set(result) == KEYS[""]
    assert set(result["machine"]) == KEYS["machine"]
    assert all(set(row) == KEYS["rows"] for row in result["rows"])
    assert {"fma_f32", "exp_f32", "fma_f64", "exp_f64", "source"} <= set(result["limits"]["1"])


@pytest.mark.slow
def test_rows_have_times_and_true_errors_or_a_failure(result: dict) -> None:
    for row in result["rows"]:
        if row["implementation"] == "reference":
            assert row["failure"] is None
        if row["failure"] is None:
            assert 0.0 < row["best_s"] <= row["median_s"]
            assert row["error"] < (1e-4 if row["dtype"] == "float32" else 1e-11)
            assert row["of_roofline"] > 0.0


@pytest.mark.slow
def test_failures_are_shown(result: dict) -> None:
    missing = [row for row in result["rows"] if row["implementation"] == "geomloss"]
    assert all("not installed" in row["failure"] for row in missing)
    assert any("FAILED" in line for line in compare.report(result))
    assert any("failed: not installed" in line for line in compare.markdown(result))
    assert any("1.00" in line for line in compare.changes(result, result))


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("d", [3, 16, STORED])
def test_every_operation_is_judged_right(operation: str, d: int) -> None:
    case = Case(operation, d, 70, "float64")
    if case.is_possible:
        answer = reference.prepare(case, inputs_of(case))()
        assert exact.error(case, answer) < 1e-12
        assert exact.error(case, tuple(1.01 * part for part in answer)) > 1e-3
        assert math.isnan(exact.error(case, tuple(torch.full_like(part, torch.nan) for part in answer)))


def test_all_operations_are_bound_and_counted() -> None:
    case = Case("softmin", 3, 70)
    for operation in OPERATIONS:
        assert callable(isotherm.bind(Case(operation, 3, 70), inputs_of(case)))
        assert work(Case(operation, 3, 70)).operations > 0


def test_suites_hold_possible_cases_once() -> None:
    for name in ("smoke", "short", "peers", "full"):
        alone, duel = suite(name)
        assert len({*alone, *duel}) == len(alone) + len(duel)
        assert all(case.is_possible for case in (*alone, *duel))
    with pytest.raises(ValueError, match="A suite must be one of"):
        suite("long")


def test_gpu_rows_come_from_their_newest_result(tmp_path: Path) -> None:
    assert any("not measured: no GPU at hand" in line for line in compare.gpu_markdown(tmp_path))
    rows = [{"n": 10_000, "dimension": 3, "implementation": "isotherm", "seconds": 1e-3}]
    rows.append({"n": 10_000, "dimension": 3, "implementation": "other", "missing": "not installed"})
    (tmp_path / "gpu-any.json").write_text(json.dumps({"device": "any", "rows": rows}), encoding="utf-8")
    assert compare.gpu_markdown(tmp_path)[-1] == "| 10,000 | 3 | 1 ms | not installed |"


def test_row_without_times_has_no_rate() -> None:
    record = Row("isotherm", Case("softmin", 3, 70), 1, failure="no answer").record({})
    assert SimpleNamespace(**record).best_s is None
    assert record["of_roofline"] is None
